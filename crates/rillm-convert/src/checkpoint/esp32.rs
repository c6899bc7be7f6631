//! A weight directory as StreamedInference_Edge writes it for the ESP32: one file a tensor, without headers, of a model
//! of one layer. With `quantization_scales.json` the matrices are signed bytes with a scale each, without it float32.

use std::collections::HashMap;
use std::path::Path;

use rillm::format::TensorKind;

use super::config_json::{self, Fields};
use super::tensor::{Dtype, LocatedTensor};
use super::{Checkpoint, CheckpointError, open_file};

/// The configuration's file, which tells such a directory.
pub(super) const CONFIG: &str = "model_config.json";
const SCALES: &str = "quantization_scales.json";

pub(super) fn open(directory: &Path) -> Result<Checkpoint, CheckpointError> {
    let fields = Fields::read(directory.join(CONFIG))?;
    let config = config_json::config(&fields)?.config;
    if config.n_layers != 1 {
        return Err(fields.error("num_hidden_layers", "1: the names of the weight files tell no layers apart"));
    }
    // By name, as the checkpoint's hash has them.
    let mut weights = Vec::new();
    for (kind, _) in config.tensors() {
        let Some(name) = file_name(kind) else {
            return Err(fields.error("attention_bias", "false: there are no weight files for a bias"));
        };
        weights.push((name, kind));
    }
    weights.sort_unstable_by_key(|&(name, _)| name);
    let missing: Vec<&str> =
        weights.iter().map(|&(name, _)| name).filter(|name| !directory.join(name).exists()).collect();
    if !missing.is_empty() {
        return Err(CheckpointError::MissingFiles { directory: directory.to_owned(), names: missing.join(", ") });
    }

    let scales = directory.join(SCALES);
    let scales = if scales.exists() { Some(Fields::read(scales)?) } else { None };
    if let Some(scales) = &scales {
        let matrices = weights.iter().filter(|(_, kind)| !kind.is_vector()).map(|(_, kind)| kind.to_string());
        let missing: Vec<String> = matrices.filter(|name| scales.get(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(scales.error(&missing.join(", "), "the scale of each matrix's bytes, a number"));
        }
    }
    let mut files = Vec::new();
    let mut tensors = HashMap::new();
    for (file, &(name, kind)) in weights.iter().enumerate() {
        let path = directory.join(name);
        let (rows, cols) = config.shape(kind);
        let dtype = match &scales {
            Some(scales) if !kind.is_vector() => Dtype::I8 { scale: scale(scales, &kind.to_string())? },
            _ => Dtype::F32,
        };
        let tensor = LocatedTensor { file, offset: 0, dtype, rows, cols, interleaved_head: None };
        let bytes = open_file(&path)?;
        let expected = tensor.byte_range().end;
        if bytes.len() != expected {
            return Err(CheckpointError::Size { path, found: bytes.len(), expected, shape: [rows, cols], dtype });
        }
        files.push(bytes);
        tensors.insert((kind, 0), tensor);
    }
    Ok(Checkpoint { path: directory.to_owned(), config, files, tensors })
}

fn scale(scales: &Fields, name: &str) -> Result<f32, CheckpointError> {
    let scale = scales.f32(name)?.filter(|&scale| scale.is_normal() && scale > 0.0);
    scale.ok_or_else(|| scales.error(name, "a positive number of single precision"))
}

/// The tensor's file, of those that there are any.
fn file_name(kind: TensorKind) -> Option<&'static str> {
    Some(match kind {
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
        _ => return None,
    })
}
