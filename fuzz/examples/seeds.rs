//! Writes what the fuzzer starts from into `corpus/`: run it from this folder when the file format has changed.

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
    for target in ["rillm_file", "prompt", "tokenizer_json"] {
        fs::create_dir_all(Path::new("corpus").join(target))?;
    }
    let llama = AttentionExtras::default();
    let qwen2 = AttentionExtras { qkv_bias: true, ..llama };
    let qwen3 = AttentionExtras { qk_norm: true, ..llama };
    for (name, attention) in [("llama", llama), ("qwen2", qwen2), ("qwen3", qwen3)] {
        model(attention, &seed("rillm_file", name))?;
    }
    fs::copy(TOKENIZER, seed("tokenizer_json", "tiny"))?;
    for (choice, text) in ["Once upon a time", "don't\r\n\t  1987 été", "👩‍👩‍👧‍👦 שלום <s>", "e\u{301}\u{323} 한국어 日本語"].iter().enumerate()
    {
        let mut input = vec![choice as u8];
        input.extend(text.as_bytes());
        fs::write(seed("prompt", &format!("text{choice}")), input)?;
    }
    Ok(())
}

/// A random model of one layer.
fn model(attention: AttentionExtras, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = LlamaConfig {
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
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        eos: vec![2],
    };
    let directory = tempfile::tempdir()?;
    rillm_convert::random::write(directory.path(), &config, Dtype::F32, 1)?;
    let checkpoint = Checkpoint::open(directory.path())?;
    let sections = Vocabulary::open(TOKENIZER.as_ref(), config.vocab_size)?.sections()?;
    convert(&checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), out)?;
    Ok(())
}
