//! A Hugging Face directory: `config.json`, and `model.safetensors` or the shards that
//! `model.safetensors.index.json` lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rillm::format::TensorKind;
use rillm_quantise::config::LlamaConfig;
use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;

use super::tensor::{Dtype, LocatedTensor};
use super::{Checkpoint, CheckpointError, WeightFile, config_json, io_error, open_file};
use crate::json;

/// The longest header that the safetensors crate reads.
const LONGEST_HEADER: usize = 100_000_000;

/// A tensor as a safetensors header describes it.
struct Listed {
    file: usize,
    offset: usize,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
}

pub(super) fn open(directory: &Path) -> Result<Checkpoint, CheckpointError> {
    let config_json::ConfigJson { mut config, ties_are_explicit } = config_json::read(directory)?;
    let (files, mut listed) = list_tensors(directory)?;

    let head_name = tensor_name(TensorKind::Head, 0);
    // A model that was saved without its head has no `model.` before its names.
    let embedding_name = tensor_name(TensorKind::Embedding, 0);
    if !listed.contains_key(&embedding_name) && listed.contains_key(embedding_name.trim_start_matches("model.")) {
        let whole = |name: String| if name == head_name { name } else { format!("model.{name}") };
        listed = listed.into_iter().map(|(name, tensor)| (whole(name), tensor)).collect();
    }
    if !ties_are_explicit {
        config.tied_embeddings = !listed.contains_key(&head_name);
    }
    if config.tied_embeddings && !listed.contains_key(&embedding_name) {
        // One table, by the head's name.
        let head = listed.remove(&head_name);
        listed.extend(head.map(|head| (embedding_name.clone(), head)));
    }
    if !config.tied_embeddings && listed.contains_key(&embedding_name) && !listed.contains_key(&head_name) {
        return Err(CheckpointError::Field {
            path: directory.join("config.json"),
            field: "tie_word_embeddings".to_owned(),
            found: "false".to_owned(),
            expected: format!("true, as the weights have no {head_name}; or is a file of them missing?"),
        });
    }
    let mut tensors = HashMap::new();
    for (kind, layer) in config.tensors() {
        let name = tensor_name(kind, layer);
        let repeated = kind == TensorKind::Head && config.tied_embeddings && !listed.contains_key(&name);
        let tensor = match repeated {
            true => tensors[&(TensorKind::Embedding, 0)],
            false => locate(directory, &config, kind, &name, &mut listed)?,
        };
        tensors.insert((kind, layer), tensor);
    }
    let [embedding, head] = [TensorKind::Embedding, TensorKind::Head].map(|kind| tensors[&(kind, 0)]);
    if config.tied_embeddings {
        let same = same_bytes(&files, &embedding, &head).map_err(|source| io_error(directory, source))?;
        if !same {
            return Err(CheckpointError::TiedHeadDiffers { path: directory.join("config.json") });
        }
    }
    // Older checkpoints contain the rotary embedding's frequencies or values derived from them, which follow from the
    // configuration.
    let rest = listed.keys().filter(|name| !name.contains(".rotary_emb."));
    if let Some(name) = rest.min() {
        return Err(CheckpointError::UnexpectedTensor { path: directory.to_owned(), name: name.clone() });
    }
    Ok(Checkpoint { path: directory.to_owned(), config, files, tensors })
}

/// Whether two tensors have the same bytes.
fn same_bytes(files: &[WeightFile], a: &LocatedTensor, b: &LocatedTensor) -> io::Result<bool> {
    if (a.file, a.byte_range()) == (b.file, b.byte_range()) {
        return Ok(true);
    }
    let pieces = |tensor: &LocatedTensor| files[tensor.file].pieces(tensor.byte_range());
    for (a_piece, b_piece) in pieces(a).zip(pieces(b)) {
        if a_piece? != b_piece? {
            return Ok(false);
        }
    }
    Ok(a.byte_range().len() == b.byte_range().len())
}

/// Takes the tensor called `name` out of the list, with its shape and type checked.
fn locate(
    directory: &Path,
    config: &LlamaConfig,
    kind: TensorKind,
    name: &str,
    listed: &mut HashMap<String, Listed>,
) -> Result<LocatedTensor, CheckpointError> {
    let (rows, cols) = config.shape(kind);
    let shape = if kind.is_vector() { vec![cols] } else { vec![rows, cols] };
    let Some(tensor) = listed.remove(name) else {
        return Err(CheckpointError::MissingTensor { path: directory.to_owned(), name: name.to_owned(), shape });
    };
    if tensor.shape != shape {
        return Err(CheckpointError::Shape { name: name.to_owned(), found: tensor.shape, expected: shape });
    }
    let dtype = match tensor.dtype {
        safetensors::Dtype::F64 => Dtype::F64,
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::Bf16,
        other => {
            return Err(CheckpointError::Dtype { name: name.to_owned(), found: format!("{other:?}") });
        }
    };
    Ok(LocatedTensor { file: tensor.file, offset: tensor.offset, dtype, rows, cols, interleaved_head: None })
}

/// The name of a tensor in a Hugging Face checkpoint.
pub(crate) fn tensor_name(kind: TensorKind, layer: u32) -> String {
    match kind {
        TensorKind::Head => format!("{kind}.weight"),
        TensorKind::Embedding | TensorKind::FinalNorm => format!("model.{kind}.weight"),
        TensorKind::AttentionNorm | TensorKind::MlpNorm => {
            format!("model.layers.{layer}.{kind}.weight")
        }
        TensorKind::QProj
        | TensorKind::KProj
        | TensorKind::VProj
        | TensorKind::OProj
        | TensorKind::QNorm
        | TensorKind::KNorm => format!("model.layers.{layer}.self_attn.{kind}.weight"),
        // Their names end in `.bias`.
        TensorKind::QBias | TensorKind::KBias | TensorKind::VBias | TensorKind::OBias => {
            format!("model.layers.{layer}.self_attn.{kind}")
        }
        TensorKind::GateProj | TensorKind::UpProj | TensorKind::DownProj => {
            format!("model.layers.{layer}.mlp.{kind}.weight")
        }
    }
}

/// Opens the weights files, ordered by name, and lists their tensors by name.
fn list_tensors(directory: &Path) -> Result<(Vec<WeightFile>, HashMap<String, Listed>), CheckpointError> {
    let single = directory.join("model.safetensors");
    let index = directory.join("model.safetensors.index.json");
    let mut files = Vec::new();
    let mut listed = HashMap::new();
    if single.exists() {
        files.push(add_file(&single, 0, |_| true, &mut listed)?);
    } else if index.exists() {
        let weight_map = read_index(&index)?;
        let shards: BTreeSet<&String> = weight_map.values().collect();
        for (number, shard) in shards.into_iter().enumerate() {
            let belongs = |name: &str| weight_map.get(name) == Some(shard);
            let path = directory.join(shard);
            if !path.exists() {
                return Err(CheckpointError::MissingShard { path: index, shard: shard.clone() });
            }
            files.push(add_file(&path, number, belongs, &mut listed)?);
        }
    } else {
        let other =
            ["pytorch_model.bin", "pytorch_model.bin.index.json"].iter().any(|name| directory.join(name).exists());
        let found = match other {
            true => "a directory with pytorch_model.bin, which rillm does not read: save it with safetensors",
            false => "a directory without model.safetensors and model.safetensors.index.json",
        };
        return Err(CheckpointError::Unrecognised { path: directory.to_owned(), found: found.to_owned() });
    }
    Ok((files, listed))
}

/// Opens a safetensors file and lists those of its tensors that belong to the checkpoint.
fn add_file(
    path: &Path,
    number: usize,
    belongs: impl Fn(&str) -> bool,
    listed: &mut HashMap<String, Listed>,
) -> Result<WeightFile, CheckpointError> {
    let file = open_file(path)?;
    let read = read_metadata(&file).map_err(|source| io_error(path, source))?;
    let (header_len, metadata) =
        read.map_err(|source| CheckpointError::Safetensors { path: path.to_owned(), source })?;
    let data_start = size_of::<u64>() + header_len;
    for (name, info) in metadata.tensors() {
        if belongs(&name) {
            let tensor = Listed {
                file: number,
                offset: data_start + info.data_offsets.0,
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            listed.insert(name, tensor);
        }
    }
    Ok(file)
}

/// The length of a safetensors file's header, and its tensors, which fill the file to its last byte.
fn read_metadata(file: &WeightFile) -> io::Result<Result<(usize, Metadata), SafeTensorError>> {
    const LEN: usize = size_of::<u64>();
    let start = file.start(LEN)?;
    let header_len = start.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
    let header_len = usize::try_from(header_len).unwrap_or(usize::MAX);
    let start = if header_len <= LONGEST_HEADER { file.start(LEN + header_len)? } else { start };
    Ok(match SafeTensors::read_metadata(&start) {
        // The header is valid, and the rest was not read.
        Err(SafeTensorError::MetadataIncompleteBuffer) if start.len() < file.len() => {
            match serde_json::from_slice::<Metadata>(&start[LEN..]) {
                Ok(metadata) if start.len() + metadata.data_len() == file.len() => Ok((header_len, metadata)),
                Ok(_) => Err(SafeTensorError::MetadataIncompleteBuffer),
                Err(error) => Err(SafeTensorError::InvalidHeaderDeserialization(error)),
            }
        }
        read => read,
    })
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// Of each tensor, the file that holds it.
    weight_map: BTreeMap<String, String>,
}

fn read_index(path: &PathBuf) -> Result<BTreeMap<String, String>, CheckpointError> {
    let text = fs::read(path).map_err(|source| io_error(path, source))?;
    let index: Index = json::read(&text).map_err(|source| CheckpointError::Json { path: path.clone(), source })?;
    for (tensor, shard) in &index.weight_map {
        // A shard lies beside its index: a path that leads elsewhere is no checkpoint's.
        if Path::new(shard).file_name() != Some(shard.as_ref()) {
            return Err(CheckpointError::Field {
                path: path.clone(),
                field: format!("weight_map.{tensor}"),
                found: format!("{shard:?}"),
                expected: "the name of a file in the same directory".to_owned(),
            });
        }
    }
    Ok(index.weight_map)
}
