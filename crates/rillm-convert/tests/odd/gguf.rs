//! A base as a GGUF file, the way llama.cpp's converter writes one.

use std::fs;
use std::path::Path;

use half::f16;
use serde_json::{Map, Value as Json, json};

use super::checkpoint::merge;
use super::weights::{self, Edit, Tensor, number};
use crate::support::gguf::{Gguf, Tensor as GgufTensor, Value};

/// Types of values by number, GGUF's.
const TYPES: [&str; 13] = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "array", "u64", "i64", "f64"];

/// The file's bytes, its keys changed by `keys` and its tensors by `edits`.
pub fn file(base: &Path, keys: &Map<String, Json>, edits: &[Edit]) -> Vec<u8> {
    let read =
        |name: &str| -> Json { serde_json::from_slice(&fs::read(base.join(name)).expect("a file")).expect("JSON") };
    let (config, tokenizer, tokenizer_config) =
        (read("config.json"), read("tokenizer.json"), read("tokenizer_config.json"));
    let mut all = Json::Object(base_keys(&config, &tokenizer, &tokenizer_config));
    merge(&mut all, &Json::Object(keys.clone()));
    let mut file = Gguf { version: 3, keys: Vec::new(), tensors: Vec::new() };
    for (key, value) in all.as_object().expect("keys") {
        match key.as_str() {
            "$version" => file.version = value.as_u64().expect("a version") as u32,
            key => file.keys.push((key.to_owned(), typed(value))),
        }
    }

    let head_dim = config["hidden_size"].as_u64().unwrap() / config["num_attention_heads"].as_u64().unwrap();
    let interleaved = config["model_type"] == "llama";
    let mut tensors: Vec<Tensor> = weights::read(base)
        .into_iter()
        .map(|tensor| renamed(tensor, interleaved.then_some(head_dim as usize)))
        .collect();
    weights::apply(&mut tensors, edits);
    file.tensors = tensors.iter().map(stored).collect();
    let mut bytes = file.to_bytes();
    weights::change_end(&mut bytes, edits);
    bytes
}

/// The keys, each with its type.
fn base_keys(config: &Json, tokenizer: &Json, tokenizer_config: &Json) -> Map<String, Json> {
    let architecture = config["model_type"].as_str().expect("a model_type");
    let head_dim = config["hidden_size"].as_u64().unwrap() / config["num_attention_heads"].as_u64().unwrap();
    let mut keys = Map::new();
    let mut set = |key: &str, kind: &str, value: Json| keys.insert(key.to_owned(), json!([kind, value]));
    set("general.architecture", "str", json!(architecture));
    for (key, kind, value) in [
        ("context_length", "u32", &config["max_position_embeddings"]),
        ("embedding_length", "u32", &config["hidden_size"]),
        ("block_count", "u32", &config["num_hidden_layers"]),
        ("feed_forward_length", "u32", &config["intermediate_size"]),
        ("attention.head_count", "u32", &config["num_attention_heads"]),
        ("attention.head_count_kv", "u32", &config["num_key_value_heads"]),
        ("rope.dimension_count", "u32", &json!(head_dim)),
        ("rope.freq_base", "f32", &config["rope_theta"]),
        ("attention.layer_norm_rms_epsilon", "f32", &config["rms_norm_eps"]),
    ] {
        set(&format!("{architecture}.{key}"), kind, value.clone());
    }

    let vocab = tokenizer["model"]["vocab"].as_object().expect("a vocabulary");
    let mut tokens = vec![String::new(); config["vocab_size"].as_u64().unwrap() as usize];
    let mut types = vec![1; tokens.len()];
    for (piece, id) in vocab {
        let id = id.as_u64().unwrap() as usize;
        tokens[id].clone_from(piece);
        if piece.starts_with("<0x") {
            types[id] = 6;
        }
    }
    for added in tokenizer["added_tokens"].as_array().expect("added tokens") {
        let id = added["id"].as_u64().unwrap() as usize;
        tokens[id] = added["content"].as_str().unwrap().to_owned();
        types[id] = if added["special"] == true { 3 } else { 4 };
    }
    for (id, token) in tokens.iter_mut().enumerate().filter(|(_, token)| token.is_empty()) {
        (*token, types[id]) = (format!("[PAD{id}]"), 5);
    }
    let bytes = tokenizer["model"]["byte_fallback"] == false;
    if bytes {
        set("tokenizer.ggml.model", "str", json!("gpt2"));
        set("tokenizer.ggml.pre", "str", json!(if architecture == "qwen2" { "qwen2" } else { "llama-bpe" }));
        set("tokenizer.ggml.merges", "[str]", tokenizer["model"]["merges"].clone());
    } else {
        let first = types.iter().rposition(|&kind| kind == 6).expect("byte tokens") + 1;
        let scores: Vec<f64> = (0..tokens.len()).map(|id| first as f64 - id.max(first) as f64).collect();
        types[0] = 2;
        set("tokenizer.ggml.model", "str", json!("llama"));
        set("tokenizer.ggml.pre", "str", json!("default"));
        set("tokenizer.ggml.scores", "[f32]", json!(scores));
        set("tokenizer.ggml.unknown_token_id", "u32", json!(0));
    }
    let id = |name: &str| tokens.iter().position(|token| tokenizer_config[name] == json!(token));
    for name in ["bos", "eos"] {
        if let Some(id) = id(&format!("{name}_token")) {
            set(&format!("tokenizer.ggml.{name}_token_id"), "u32", json!(id));
        }
    }
    set("tokenizer.ggml.add_bos_token", "bool", json!(architecture == "llama"));
    set("tokenizer.ggml.tokens", "[str]", json!(tokens));
    set("tokenizer.ggml.token_type", "[i32]", json!(types));
    set("tokenizer.chat_template", "str", tokenizer_config["chat_template"].clone());
    keys
}

/// A value of `[type, value]`; `[type]` is an array of that type.
fn typed(json: &Json) -> Value {
    let (kind, value) = (json[0].as_str().expect("a type"), &json[1]);
    let number =
        |kind: &str| TYPES.iter().position(|&name| name == kind).unwrap_or_else(|| panic!("no type {kind}")) as u32;
    match kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        Some(kind) => {
            let values = value.as_array().unwrap_or_else(|| panic!("no array: {value}"));
            let head = [&number(kind).to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
            Value::Raw(9, head.into_iter().chain(values.iter().flat_map(|value| bytes(kind, value))).collect())
        }
        // As such, so that the writer knows the alignment.
        None if kind == "u32" => Value::U32(value.as_u64().expect("a number") as u32),
        None => Value::Raw(number(kind), bytes(kind, value)),
    }
}

fn bytes(kind: &str, value: &Json) -> Vec<u8> {
    let integer = || value.as_i64().unwrap_or_else(|| panic!("no integer: {value}"));
    let float = || match value.as_str() {
        Some(text) => text.parse().expect("a number"),
        None => value.as_f64().unwrap_or_else(|| panic!("no number: {value}")),
    };
    match kind {
        "u8" | "i8" => vec![integer() as u8],
        "u16" | "i16" => (integer() as u16).to_le_bytes().to_vec(),
        "u32" | "i32" => (integer() as u32).to_le_bytes().to_vec(),
        "u64" | "i64" => integer().to_le_bytes().to_vec(),
        "f32" => (float() as f32).to_le_bytes().to_vec(),
        "f64" => float().to_le_bytes().to_vec(),
        "bool" => vec![u8::from(value.as_bool().expect("true or false"))],
        _ => {
            let text = value.as_str().unwrap_or_else(|| panic!("no text: {value}"));
            [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
        }
    }
}

/// The tensor under llama.cpp's name; of the architecture `llama` with the rows of queries and keys in its order.
fn renamed(tensor: Tensor, head_dim: Option<usize>) -> Tensor {
    let mut name = tensor.name.replace("model.layers.", "blk.").replace("self_attn.", "").replace("mlp.", "ffn_");
    for (from, to) in [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("q_proj", "attn_q"),
        ("k_proj", "attn_k"),
        ("v_proj", "attn_v"),
        ("o_proj", "attn_output"),
        ("_proj", ""),
    ] {
        name = name.replace(from, to);
    }
    let (mut values, dtype) = (tensor.values, "F32".to_owned());
    if let Some(head_dim) = head_dim.filter(|_| name.contains("attn_q.") || name.contains("attn_k.")) {
        let cols = values.len() / tensor.shape[0];
        let order = (0..tensor.shape[0]).map(|row| {
            let (head, in_head) = (row / head_dim, row % head_dim);
            head * head_dim + in_head / 2 + in_head % 2 * (head_dim / 2)
        });
        values = order.flat_map(|row| values[row * cols..][..cols].to_vec()).collect();
    }
    Tensor { name, values, dtype, shape: tensor.shape }
}

/// A tensor's bytes, and ggml's number of its type.
fn stored(tensor: &Tensor) -> GgufTensor {
    let plain = |dtype: &str| tensor.values.iter().flat_map(|&value| number(value, dtype)).collect();
    let (kind, bytes): (u32, Vec<u8>) = match tensor.dtype.as_str() {
        "F32" => (0, plain("F32")),
        "F16" => (1, plain("F16")),
        "Q8_0" => (8, tensor.values.chunks(32).flat_map(q8_0).collect()),
        // No number of these is read.
        "Q2_K" => (10, vec![0; tensor.values.len() / 256 * 84]),
        "IQ4_NL" => (20, vec![0; tensor.values.len() / 32 * 18]),
        "F64" => (28, plain("F64")),
        "BF16" => (30, plain("BF16")),
        other => panic!("no type {other}"),
    };
    let dimensions = tensor.shape.iter().rev().map(|&len| len as u64).collect();
    GgufTensor { name: tensor.name.clone(), dimensions, kind, bytes }
}

/// 32 numbers: a scale and signed bytes.
fn q8_0(values: &[f32]) -> Vec<u8> {
    let scale = values.iter().fold(0.0f32, |max, value| max.max(value.abs())) / 127.0;
    let bytes = values.iter().map(|value| (value / scale).round() as i8 as u8);
    f16::from_f32(scale).to_le_bytes().into_iter().chain(bytes).collect()
}
