//! A weight directory as StreamedInference_Edge writes it for the ESP32: one file a tensor, without headers, of a model
//! of one layer. With `quantization_scales.json` the matrices are signed bytes with a scale each, without it float32.

use std::path::Path;

use rillm::format::TensorKind;

use super::config_json::{self, Fields};
use super::tensor::{Dtype, LocatedTensor};
use super::{Checkpoint, CheckpointError, all_tensors, map, tensor_index};

/// The configuration's file, which tells such a directory.
pub(super) const CONFIG: &str = "model_config.json";
const SCALES: &str = "quantization_scales.json";

pub(super) fn open(directory: &Path) -> Result<Checkpoint, CheckpointError> {
    let fields = Fields::read(directory.join(CONFIG))?;
    let config = config_json::config(&fields)?.config;
    if config.n_layers != 1 {
        return Err(fields.error("num_hidden_layers", "1: the names of the weight files tell no layers apart"));
    }
    let kinds: Vec<TensorKind> = all_tensors(config.n_layers).map(|(kind, _)| kind).collect();
    let missing: Vec<&str> =
        kinds.iter().map(|&kind| file_name(kind)).filter(|name| !directory.join(name).exists()).collect();
    if !missing.is_empty() {
        return Err(CheckpointError::MissingFiles { directory: directory.to_owned(), names: missing.join(", ") });
    }

    let scales = directory.join(SCALES);
    let scales = if scales.exists() { Some(read_scales(&Fields::read(scales)?, &kinds)?) } else { None };
    // By name, as the checkpoint's hash has them.
    let mut by_name = kinds;
    by_name.sort_by_key(|&kind| file_name(kind));
    let mut files = Vec::new();
    let mut tensors = vec![None; by_name.len()];
    for (file, &kind) in by_name.iter().enumerate() {
        let path = directory.join(file_name(kind));
        let scale = scales.as_ref().and_then(|scales| scales[tensor_index(kind, 0)]);
        let (rows, cols) = config.shape(kind);
        let dtype = scale.map_or(Dtype::F32, |scale| Dtype::I8 { scale });
        let tensor = LocatedTensor { file, offset: 0, dtype, rows, cols, interleaved_head: None };
        let bytes = map(&path)?;
        let expected = tensor.byte_range().end;
        if bytes.len() != expected {
            return Err(CheckpointError::Size { path, found: bytes.len(), expected, shape: [rows, cols], dtype });
        }
        files.push(bytes);
        tensors[tensor_index(kind, 0)] = Some(tensor);
    }
    Ok(Checkpoint { path: directory.to_owned(), config, files, tensors: tensors.into_iter().flatten().collect() })
}

/// The scales by [`tensor_index`]; norms have none.
fn read_scales(fields: &Fields, kinds: &[TensorKind]) -> Result<Vec<Option<f32>>, CheckpointError> {
    let matrices = kinds.iter().filter(|kind| !kind.is_norm()).map(|kind| kind.to_string());
    let missing: Vec<String> = matrices.filter(|name| fields.get(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(fields.error(&missing.join(", "), "the scale of each matrix's bytes, a number"));
    }
    let scale = |&kind: &TensorKind| {
        let name = kind.to_string();
        match fields.f32(&name)?.filter(|_| !kind.is_norm()) {
            Some(scale) if !(scale.is_normal() && scale > 0.0) => Err(fields.error(&name, "a positive float32")),
            scale => Ok(scale),
        }
    };
    kinds.iter().map(scale).collect()
}

fn file_name(kind: TensorKind) -> &'static str {
    match kind {
        TensorKind::Embedding => "embed_tokens.bin",
        TensorKind::AttentionNorm => "norm1.bin",
        TensorKind::KProj => "k_proj.bin",
        TensorKind::VProj => "v_proj.bin",
        TensorKind::QProj => "q_proj.bin",
        TensorKind::OProj => "o_proj.bin",
        TensorKind::MlpNorm => "norm2.bin",
        TensorKind::GateProj => "gate_proj.bin",
        TensorKind::UpProj => "up_proj.bin",
        TensorKind::DownProj => "down_proj.bin",
        TensorKind::FinalNorm => "final_norm.bin",
        TensorKind::Head => "lm_head.bin",
    }
}
