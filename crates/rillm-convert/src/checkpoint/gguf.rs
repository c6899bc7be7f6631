//! Reads a GGUF file: its keys as a configuration, and its tensors under llama.cpp's names.

use std::collections::HashMap;
use std::path::Path;

use rillm::format::{AttentionExtras, MAX_EOS, Rope, RopeScaling, TensorKind};
use rillm_quantise::config::LlamaConfig;

use super::config_json::MAX_CONTEXT;
use super::tensor::LocatedTensor;
use super::{Checkpoint, CheckpointError, WeightFile, check, io_error, open_file};
use crate::gguf::{Gguf, GgufError, Tensor, Value};

/// The rotary embedding's divisors.
const ROPE_FREQS: &str = "rope_freqs.weight";
const SCALING_TYPE: &str = "rope.scaling.type";
/// Features that change the arithmetic unless they are absent, zero or false; after the architecture's name.
const MUST_BE_ZERO: [&str; 13] = [
    "expert_count",
    "attention.sliding_window",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "rope.scaling.yarn_log_multiplier",
    "use_parallel_residual",
    "nextn_predict_layers",
];
/// What [`LlamaConfig::check`] calls a field, and the key that it was read from; after the architecture's name, if it
/// does not say `tokenizer`.
const KEYS: [(&str, &str); 12] = [
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("factor", "rope.scaling.factor"),
    ("bos_token_id", "tokenizer.ggml.bos_token_id"),
    ("eos_token_id", "tokenizer.ggml.eos_token_id"),
];

pub(super) fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let file = open_file(path)?;
    let in_file = |problem| CheckpointError::Gguf { path: path.to_owned(), problem };
    let start = Gguf::start(&file).map_err(|source| io_error(path, source))?;
    let gguf = Gguf::parse_start(&start, file.len() as u64).map_err(in_file)?;
    let architecture = architecture(&gguf).map_err(in_file)?;
    let key = |name: &str| format!("{architecture}.{name}");
    let mut config = config(&gguf, key).map_err(in_file)?;
    config.attention = attention(&gguf, architecture);

    let mut rest = gguf.tensors().clone();
    if let Some(tensor) = rest.remove(ROPE_FREQS) {
        config.rope_divisors = divisors(&tensor, &file, &config, path)?;
        config.rope.scaling = RopeScaling::Divisors;
    }
    check(&config, path).map_err(|error| named_by_key(error, key))?;

    let mut tensors = HashMap::new();
    for (kind, layer) in config.tensors() {
        if kind == TensorKind::Head && config.tied_embeddings {
            tensors.insert((kind, layer), tensors[&(TensorKind::Embedding, 0)]);
            continue;
        }
        let name = tensor_name(kind, layer);
        let (rows, cols) = config.shape(kind);
        let shape = if kind.is_vector() { vec![cols] } else { vec![rows, cols] };
        let Some(Tensor { dtype, shape: found, offset }) = rest.remove(name.as_str()) else {
            if kind.is_bias() {
                continue;
            }
            return Err(CheckpointError::MissingTensor { path: path.to_owned(), name, shape });
        };
        if found != shape {
            return Err(CheckpointError::Shape { name, found, expected: shape });
        }
        // llama.cpp rotates neighbours in this architecture, and its converter orders the rows for that.
        let rotated = matches!(kind, TensorKind::QProj | TensorKind::KProj | TensorKind::QBias | TensorKind::KBias);
        let interleaved = architecture == "llama" && rotated;
        let interleaved_head = interleaved.then_some(config.head_dim as usize);
        tensors.insert((kind, layer), LocatedTensor { file: 0, offset, dtype, rows, cols, interleaved_head });
    }
    if let Some(name) = rest.keys().next() {
        return Err(CheckpointError::UnexpectedTensor { path: path.to_owned(), name: (*name).to_owned() });
    }
    Ok(Checkpoint { path: path.to_owned(), config, files: vec![file], tensors })
}

/// The architecture, which the names of its keys start with, of a file that is whole.
fn architecture<'a>(gguf: &Gguf<'a>) -> Result<&'a str, GgufError> {
    let (key, split) = ("general.architecture", "split.count");
    if gguf.u32(split)?.is_some_and(|count| count > 1) {
        return Err(gguf.error(split, "1: join the parts with llama-gguf-split --merge"));
    }
    match gguf.text(key)? {
        Some(known @ ("llama" | "qwen2" | "qwen3")) => Ok(known),
        _ => Err(gguf.error(key, "\"llama\", \"qwen2\" or \"qwen3\": rillm runs no other architecture")),
    }
}

/// The biases and norms of attention. A layer has biases if the file has them, as in llama.cpp.
fn attention(gguf: &Gguf, architecture: &str) -> AttentionExtras {
    let any = |biases: &[&str]| gguf.tensors().keys().any(|name| biases.iter().any(|bias| name.ends_with(bias)));
    AttentionExtras {
        qkv_bias: any(&[".attn_q.bias", ".attn_k.bias", ".attn_v.bias"]),
        o_bias: any(&[".attn_output.bias"]),
        qk_norm: architecture == "qwen3",
    }
}

/// The configuration without the biases and norms of attention and the divisors of the rotary embedding; `key` adds the
/// architecture before a key's name.
fn config(gguf: &Gguf, key: impl Fn(&str) -> String) -> Result<LlamaConfig, GgufError> {
    for name in MUST_BE_ZERO.map(&key) {
        if !matches!(gguf.get(&name), None | Some(Value::Integer(0) | Value::Float(0.0) | Value::Bool(false))) {
            return Err(gguf.error(&name, "nothing: rillm does not compute this"));
        }
    }
    let required = |name: &str| gguf.required_u32(&key(name));
    let hidden_size = required("embedding_length")?;
    let of_layers = |name: &str| gguf.u32_of_layers(&key(name))?.ok_or_else(|| gguf.error(&key(name), "an integer"));
    let n_heads = of_layers("attention.head_count")?;
    Ok(LlamaConfig {
        hidden_size,
        intermediate_size: of_layers("feed_forward_length")?,
        n_layers: required("block_count")?,
        n_heads,
        n_kv_heads: gguf.u32_of_layers(&key("attention.head_count_kv"))?.unwrap_or(n_heads),
        head_dim: head_dim(gguf, &key, hidden_size, n_heads)?,
        vocab_size: vocab_size(gguf, &key("vocab_size"))?,
        context_length: required("context_length")?.min(MAX_CONTEXT),
        rope: rope(gguf, &key)?,
        attention: AttentionExtras::default(),
        rope_divisors: Vec::new(),
        norm_eps: {
            let name = key("attention.layer_norm_rms_epsilon");
            gguf.f32(&name)?.ok_or_else(|| gguf.error(&name, "a number"))?
        },
        tied_embeddings: !gguf.tensors().contains_key(tensor_name(TensorKind::Head, 0).as_str()),
        bos: gguf.special("bos")?,
        // As many as there is room for, the keys' first.
        eos: gguf.tokens()?.ends.into_iter().take(MAX_EOS).collect(),
    })
}

/// The head width, which up to three keys contain.
fn head_dim(gguf: &Gguf, key: impl Fn(&str) -> String, hidden_size: u32, n_heads: u32) -> Result<u32, GgufError> {
    let name = key("attention.key_length");
    let head_dim = match gguf.u32(&name)? {
        Some(head_dim) => head_dim,
        None if n_heads > 0 && hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
        None => {
            let expected = format!("a divisor of the embedding's length, {hidden_size}, or an explicit {name}");
            return Err(gguf.error(&key("attention.head_count"), expected));
        }
    };
    for name in ["attention.value_length", "rope.dimension_count"].map(&key) {
        if gguf.u32(&name)?.is_some_and(|found| found != head_dim) {
            return Err(gguf.error(&name, format!("{head_dim}, the width of a head: rillm knows no other")));
        }
    }
    Ok(head_dim)
}

/// The vocabulary size: the rows of the embedding table. They may outnumber the tokenizer's tokens and differ from the
/// key.
fn vocab_size(gguf: &Gguf, key: &str) -> Result<u32, GgufError> {
    let embedding = gguf.tensors().get(tensor_name(TensorKind::Embedding, 0).as_str());
    let rows = embedding.filter(|table| table.shape.len() == 2).and_then(|table| u32::try_from(table.shape[0]).ok());
    match rows {
        Some(rows) => Ok(rows),
        None => gguf.required_u32(key),
    }
}

/// The rotary embedding. A scaling without a type is linear, and a factor of 0 means none, as in llama.cpp.
fn rope(gguf: &Gguf, key: impl Fn(&str) -> String) -> Result<Rope, GgufError> {
    let theta = gguf.f32(&key("rope.freq_base"))?.unwrap_or(10_000.0);
    let [kind, factor, older_factor, attention] =
        [SCALING_TYPE, "rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"].map(&key);
    if gguf.f32(&attention)?.is_some_and(|factor| factor != 1.0) {
        return Err(gguf.error(&attention, "1: rillm does not compute this"));
    }
    let scaling = match gguf.text(&kind)? {
        Some("none") => RopeScaling::None,
        None | Some("linear") => match gguf.f32(&factor)?.or(gguf.f32(&older_factor)?) {
            None | Some(0.0 | 1.0) => RopeScaling::None,
            Some(factor) => RopeScaling::Linear { factor },
        },
        Some(_) => return Err(gguf.error(&kind, "\"none\" or \"linear\": rillm knows no other scaling")),
    };
    Ok(Rope { theta, scaling })
}

/// The rotary embedding's divisors, one for each pair, which hold Llama 3.1's scaling. A linear scaling applies in
/// addition.
fn divisors(
    tensor: &Tensor,
    file: &WeightFile,
    config: &LlamaConfig,
    path: &Path,
) -> Result<Vec<f32>, CheckpointError> {
    let pairs = config.head_dim as usize / 2;
    if tensor.shape != [pairs] {
        let problem = GgufError::Tensor {
            name: ROPE_FREQS.to_owned(),
            field: "shape",
            found: format!("{:?}", tensor.shape),
            expected: format!("[{pairs}], half the width of a head"),
        };
        return Err(CheckpointError::Gguf { path: path.to_owned(), problem });
    }
    let (numbers, bytes) = tensor.dtype.block();
    let mut divisors = vec![0.0; pairs];
    let stored = file.bytes(tensor.offset..tensor.offset + pairs / numbers * bytes);
    tensor.dtype.to_f32(&stored.map_err(|source| io_error(path, source))?, &mut divisors);
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        divisors.iter_mut().for_each(|divisor| *divisor *= factor);
    }
    Ok(divisors)
}

/// The error with the key in place of the field's name.
fn named_by_key(error: CheckpointError, key: impl Fn(&str) -> String) -> CheckpointError {
    match error {
        CheckpointError::Field { path, field, found, expected } => {
            let known = KEYS.iter().find(|(name, _)| *name == field);
            let field = known
                .map_or(field, |(_, name)| if name.starts_with("tokenizer.") { (*name).to_owned() } else { key(name) });
            CheckpointError::Field { path, field, found, expected }
        }
        other => other,
    }
}

/// llama.cpp's name of a tensor.
fn tensor_name(kind: TensorKind, layer: u32) -> String {
    let of_layer = match kind {
        TensorKind::Embedding => return "token_embd.weight".to_owned(),
        TensorKind::FinalNorm => return "output_norm.weight".to_owned(),
        TensorKind::Head => return "output.weight".to_owned(),
        TensorKind::AttentionNorm => "attn_norm",
        TensorKind::QProj => "attn_q",
        TensorKind::KProj => "attn_k",
        TensorKind::VProj => "attn_v",
        TensorKind::OProj => "attn_output",
        TensorKind::MlpNorm => "ffn_norm",
        TensorKind::GateProj => "ffn_gate",
        TensorKind::UpProj => "ffn_up",
        TensorKind::DownProj => "ffn_down",
        TensorKind::QNorm => "attn_q_norm",
        TensorKind::KNorm => "attn_k_norm",
        TensorKind::QBias => "attn_q",
        TensorKind::KBias => "attn_k",
        TensorKind::VBias => "attn_v",
        TensorKind::OBias => "attn_output",
    };
    format!("blk.{layer}.{of_layer}.{}", if kind.is_bias() { "bias" } else { "weight" })
}
