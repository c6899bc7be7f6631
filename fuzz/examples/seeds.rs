//! Writes what the fuzzer starts from into `corpus/`: run it from this folder when the file format has changed.

#[path = "../../crates/rillm-convert/tests/support/gguf.rs"]
mod gguf;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm_convert::checkpoint::{Checkpoint, Dtype, LlamaConfig};
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert};

const TOKENIZER: &str = "../crates/rillm-convert/tests/tiny_tokenizer.json";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = |target: &str, name: &str| Path::new("corpus").join(target).join(name);
    for target in ["rillm_file", "prompt", "tokenizer_json", "gguf"] {
        fs::create_dir_all(Path::new("corpus").join(target))?;
    }
    let llama = AttentionExtras::default();
    let qwen2 = AttentionExtras { qkv_bias: true, ..llama };
    let qwen3 = AttentionExtras { qk_norm: true, ..llama };
    for (name, attention) in [("llama", llama), ("qwen2", qwen2), ("qwen3", qwen3)] {
        model(attention, &seed("rillm_file", name))?;
    }
    for (name, attention) in [("llama", llama), ("qwen3", qwen3)] {
        fs::write(seed("gguf", name), gguf_file(attention))?;
    }
    fs::copy(TOKENIZER, seed("tokenizer_json", "tiny"))?;
    for (choice, text) in
        ["Once upon a time", "don't\r\n\t  1987 été", "👩‍👩‍👧‍👦 שלום <s>", "e\u{301}\u{323} 한국어 日本語"].iter().enumerate()
    {
        let mut input = vec![choice as u8];
        input.extend(text.as_bytes());
        fs::write(seed("prompt", &format!("text{choice}")), input)?;
    }
    Ok(())
}

/// A random model of one layer.
fn config(attention: AttentionExtras) -> LlamaConfig {
    LlamaConfig {
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 1,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 8,
        vocab_size: 400,
        context_length: 16,
        attention,
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        eos: vec![2],
    }
}

fn model(attention: AttentionExtras, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = config(attention);
    let directory = tempfile::tempdir()?;
    rillm_convert::random::write(directory.path(), &config, Dtype::F32, 1)?;
    let checkpoint = Checkpoint::open(directory.path())?;
    let sections = Vocabulary::open(TOKENIZER.as_ref(), config.vocab_size)?.sections()?;
    convert(&checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), out)?;
    Ok(())
}

/// The model with the bytes as tokens: by themselves where it is Qwen's, spelled in hexadecimal where it is Llama's.
fn gguf_file(attention: AttentionExtras) -> Vec<u8> {
    use gguf::Value;

    let tokens: Vec<String> = match attention.qk_norm {
        true => ('!'..='~').map(String::from).chain(["ab".to_owned()]).collect(),
        false => (0..256).map(|byte| format!("<0x{byte:02X}>")).chain(["a", "b", "ab"].map(String::from)).collect(),
    };
    let vocab_size = tokens.len() as u32;
    let config = LlamaConfig { hidden_size: 32, intermediate_size: 32, n_heads: 4, vocab_size, ..config(attention) };
    let (mut file, _) = gguf::random(&config, 1);
    let kind = |token: &String| if token.starts_with("<0x") { 6 } else { 1 };
    file.set("tokenizer.ggml.token_type", Value::I32s(tokens.iter().map(kind).collect()));
    if attention.qk_norm {
        file.set("tokenizer.ggml.model", Value::Text("gpt2".to_owned()));
        file.set("tokenizer.ggml.pre", Value::Text("qwen2".to_owned()));
        file.set("tokenizer.ggml.merges", Value::Texts(vec!["a b".to_owned()]));
    } else {
        file.set("tokenizer.ggml.model", Value::Text("llama".to_owned()));
        file.set("tokenizer.ggml.scores", Value::F32s((0..tokens.len()).map(|rank| -(rank as f32)).collect()));
        file.set("llama.rope.scaling.factor", Value::F32(2.0));
        file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    }
    file.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    file.to_bytes()
}
