//! Tensors of a Hugging Face directory, to be changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;

/// A tensor as safetensors has it: type, shape, bytes.
pub type Stored = (safetensors::Dtype, Vec<usize>, Vec<u8>);

/// Changes the tensors of a Hugging Face directory.
pub fn edit_tensors(directory: &Path, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let path = directory.join("model.safetensors");
    let bytes = fs::read(&path).expect("weights");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: BTreeMap<String, Stored> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let stored = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, stored)
        })
        .collect();
    edit(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor");
        (name, view)
    });
    fs::write(path, safetensors::serialize(views, None).expect("safetensors")).expect("weights");
}
