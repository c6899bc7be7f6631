//! Changes of weights, and safetensors files.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A change. Tensors have the names of the kind of file that is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A tensor's name, and its new one.
    Rename(String, String),
    /// What names start with, and what they are to start with; of all tensors.
    Prefix(String, String),
    /// Leaves a tensor out.
    Drop(String),
    /// The end of tensors' names, and the type of their numbers.
    Cast(String, String),
    /// A tensor, and the name of its twin.
    Copy(String, String),
    /// A tensor of small numbers: its name and shape.
    Add(String, Vec<usize>),
    /// A tensor, the place of a number, and the number, which may be `"nan"` or `"inf"`.
    Set(String, usize, Value),
    /// A tensor, and the shape that it says it has.
    Reshape(String, Vec<usize>),
    /// Turns rows into columns.
    Transpose(String),
    /// Repeats the last row, so often.
    Pad(String, usize),
    /// Spreads the tensors over so many files, and writes an index.
    Shards(usize),
    /// The header's `__metadata__`.
    Metadata(Value),
    /// Bytes after the last tensor.
    Trailing(usize),
    /// Bytes that are missing at the end.
    Truncate(usize),
    /// The name of the file.
    File(String),
}

/// A tensor, row by row.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: String,
    pub values: Vec<f32>,
}

/// The tensors of a base, which are bfloat16.
pub fn read(directory: &Path) -> Vec<Tensor> {
    let bytes = fs::read(directory.join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| {
            let numbers = view.data().as_chunks().0.iter();
            let values = numbers.map(|&number| bf16::from_le_bytes(number).to_f32()).collect();
            Tensor { name: name.to_owned(), shape: view.shape().to_vec(), dtype: "BF16".to_owned(), values }
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// Changes what tensors there are and what is in them.
pub fn apply(tensors: &mut Vec<Tensor>, edits: &[Edit]) {
    fn named<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
        tensors.iter_mut().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
    }
    for edit in edits {
        match edit {
            Edit::Rename(from, to) => named(tensors, from).name.clone_from(to),
            Edit::Prefix(from, to) => {
                for tensor in tensors.iter_mut() {
                    if let Some(rest) = tensor.name.strip_prefix(from) {
                        tensor.name = format!("{to}{rest}");
                    }
                }
            }
            Edit::Drop(name) => {
                named(tensors, name);
                tensors.retain(|tensor| tensor.name != *name);
            }
            Edit::Cast(end, dtype) => {
                for tensor in tensors.iter_mut().filter(|tensor| tensor.name.ends_with(end)) {
                    tensor.dtype.clone_from(dtype);
                }
            }
            Edit::Copy(from, to) => {
                let twin = Tensor { name: to.clone(), ..named(tensors, from).clone() };
                tensors.push(twin);
            }
            Edit::Add(name, shape) => {
                let values = (0..shape.iter().product::<usize>()).map(|place| (place * 7 % 16) as f32 / 64.0 - 0.125);
                let dtype = "F32".to_owned();
                tensors.push(Tensor { name: name.clone(), shape: shape.clone(), dtype, values: values.collect() });
            }
            Edit::Set(name, place, number) => {
                let number = match number.as_str() {
                    Some(number) => number.parse().expect("a number"),
                    None => number.as_f64().expect("a number") as f32,
                };
                named(tensors, name).values[*place] = number;
            }
            Edit::Reshape(name, shape) => named(tensors, name).shape.clone_from(shape),
            Edit::Transpose(name) => {
                let tensor = named(tensors, name);
                let [rows, cols] = tensor.shape[..] else { panic!("{name} is no matrix") };
                let place = |place: usize| place % rows * cols + place / rows;
                tensor.values = (0..rows * cols).map(|at| tensor.values[place(at)]).collect();
                tensor.shape = vec![cols, rows];
            }
            Edit::Pad(name, rows) => {
                let tensor = named(tensors, name);
                let last = tensor.values[tensor.values.len() - tensor.shape[1]..].to_vec();
                tensor.values.extend(last.repeat(*rows));
                tensor.shape[0] += rows;
            }
            Edit::Shards(_) | Edit::Metadata(_) | Edit::Trailing(_) | Edit::Truncate(_) | Edit::File(_) => {}
        }
    }
}

/// Bytes that are added to or taken from the end of a file.
pub fn change_end(file: &mut Vec<u8>, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Trailing(bytes) => file.resize(file.len() + bytes, 0),
            Edit::Truncate(bytes) => file.truncate(file.len() - bytes),
            _ => {}
        }
    }
}

/// Writes a directory's weights anew.
pub fn rewrite(directory: &Path, edits: &[Edit]) {
    let mut tensors = read(directory);
    apply(&mut tensors, edits);
    fs::remove_file(directory.join("model.safetensors")).expect("weights");
    let (mut shards, mut metadata, mut single) = (1, Some(json!({"format": "pt"})), "model.safetensors".to_owned());
    for edit in edits {
        match edit {
            Edit::Shards(count) => shards = *count,
            Edit::Metadata(value) => metadata = (!value.is_null()).then(|| value.clone()),
            Edit::File(name) => single.clone_from(name),
            _ => {}
        }
    }
    let mut weight_map = Map::new();
    for shard in 0..shards {
        let part: Vec<&Tensor> = tensors.iter().skip(shard).step_by(shards).collect();
        let name = match shards {
            1 => single.clone(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", shard + 1),
        };
        weight_map.extend(part.iter().map(|tensor| (tensor.name.clone(), json!(name))));
        let mut file = safetensors(&part, metadata.as_ref());
        change_end(&mut file, edits);
        fs::write(directory.join(name), file).expect("a file");
    }
    if shards > 1 {
        let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
        fs::write(directory.join("model.safetensors.index.json"), index.to_string()).expect("a file");
    }
}

/// A file, whose header `safetensors` itself would not write for every type.
fn safetensors(tensors: &[&Tensor], metadata: Option<&Value>) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    header.extend(metadata.map(|metadata| ("__metadata__".to_owned(), metadata.clone())));
    for tensor in tensors {
        let start = data.len();
        data.extend(tensor.values.iter().flat_map(|&value| number(value, &tensor.dtype)));
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// A number in a type of one number a block.
pub fn number(value: f32, dtype: &str) -> Vec<u8> {
    match dtype {
        "F64" => f64::from(value).to_le_bytes().to_vec(),
        "F32" => value.to_le_bytes().to_vec(),
        "F16" => f16::from_f32(value).to_le_bytes().to_vec(),
        "BF16" => bf16::from_f32(value).to_le_bytes().to_vec(),
        "I64" => (value as i64).to_le_bytes().to_vec(),
        "I32" => (value as i32).to_le_bytes().to_vec(),
        // Whatever bytes: what has these types is refused.
        "I8" | "U8" | "F8_E4M3" => vec![(value * 64.0) as i8 as u8],
        other => panic!("no type {other}"),
    }
}
