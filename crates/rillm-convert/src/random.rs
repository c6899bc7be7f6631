//! Random models for tests: of any shape, of a few kilobytes, with logits that are neither flat nor concentrated on one
//! token.

use std::fs;
use std::io;
use std::path::Path;

use half::{bf16, f16};
use rillm::format::{AttentionExtras, RopeScaling, TensorKind};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::random::SplitMix64;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::checkpoint::{Dtype, tensor_name};

/// A tensor, `[rows, columns]`, of the random model with this configuration and seed.
///
/// Projections have the scale `1 / sqrt(columns)`, which keeps a vector's length. Queries and keys are slightly larger,
/// so that attention prefers some positions. The head and the embedding table are 2.5 times larger, so that the most
/// probable token stands out. Norm weights lie in 0.5 … 1.5; biases are normal with a deviation of 0.5. Every machine
/// gets the same bits.
pub fn tensor(config: &LlamaConfig, seed: u64, kind: TensorKind, layer: u32) -> Vec<f32> {
    let (rows, cols) = config.shape(kind);
    let stored_as = if kind == TensorKind::Head && config.tied_embeddings { TensorKind::Embedding } else { kind };
    let mut random = SplitMix64(seed ^ u64::from(layer) << 32 ^ (stored_as as u64) << 56);
    let unit = 1.0 / (cols as f32).sqrt();
    let scale = match kind {
        TensorKind::Embedding | TensorKind::Head => 2.5 * unit,
        TensorKind::QProj | TensorKind::KProj => 1.5 * unit,
        _ => unit,
    };
    let value = |_| match kind {
        _ if kind.is_norm() => 0.5 + random.uniform(),
        _ if kind.is_bias() => 0.5 * random.normal(),
        _ => scale * random.normal(),
    };
    (0..rows * cols).map(value).collect()
}

/// Writes the random model with this configuration and seed to a Hugging Face directory (`config.json` and
/// `model.safetensors`), in numbers of type `dtype`: F32, F16 or BF16. `directory` must exist; files with these names
/// are replaced.
///
/// # Errors
/// The operating system's error, or an unsupported `dtype`.
pub fn write(directory: &Path, config: &LlamaConfig, dtype: Dtype, seed: u64) -> Result<(), io::Error> {
    let mut kinds: Vec<(TensorKind, u32)> = config.tensors().collect();
    kinds.retain(|&(kind, _)| !(kind == TensorKind::Head && config.tied_embeddings));
    let tensors = kinds
        .into_iter()
        .map(|(kind, layer)| {
            let (rows, cols) = config.shape(kind);
            let shape = if kind.is_vector() { vec![cols] } else { vec![rows, cols] };
            let values = tensor(config, seed, kind, layer);
            Ok((tensor_name(kind, layer), shape, encode(&values, dtype)?))
        })
        .collect::<Result<Vec<_>, io::Error>>()?;
    let views = tensors
        .iter()
        .map(|(name, shape, (dtype, bytes))| TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name, view)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let file = safetensors::serialize(views, None).map_err(io::Error::other)?;
    fs::write(directory.join("model.safetensors"), file)?;
    fs::write(directory.join("config.json"), config_json(config).to_string())
}

fn encode(values: &[f32], dtype: Dtype) -> Result<(safetensors::Dtype, Vec<u8>), io::Error> {
    Ok(match dtype {
        Dtype::F32 => (safetensors::Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Dtype::F16 => (safetensors::Dtype::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()),
        Dtype::Bf16 => {
            (safetensors::Dtype::BF16, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect())
        }
        _ => return Err(io::Error::other(format!("{dtype} is asked for; expected F32, F16 or BF16"))),
    })
}

fn config_json(config: &LlamaConfig) -> Value {
    let rope_scaling = match config.rope.scaling {
        RopeScaling::None | RopeScaling::Divisors => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_context,
        }),
    };
    let (model_type, class) = match config.attention {
        AttentionExtras { qk_norm: true, .. } => ("qwen3", "Qwen3ForCausalLM"),
        AttentionExtras { qkv_bias: true, o_bias: false, .. } => ("qwen2", "Qwen2ForCausalLM"),
        _ => ("llama", "LlamaForCausalLM"),
    };
    json!({
        "architectures": [class],
        "model_type": model_type,
        "attention_bias": config.attention.o_bias,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "rope_theta": config.rope.theta,
        "rope_scaling": rope_scaling,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos,
    })
}
