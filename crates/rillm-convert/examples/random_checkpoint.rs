//! A random checkpoint of SmolLM2-135M's dimensions in float32, 540 MB, to convert under a limit on memory:
//! `cargo run --release -p rillm-convert --example random_checkpoint -- DIRECTORY`

use std::error::Error;
use std::path::Path;

use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm_convert::checkpoint::Dtype;
use rillm_convert::random;
use rillm_quantise::config::LlamaConfig;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("give a directory")?;
    let config = LlamaConfig {
        hidden_size: 576,
        intermediate_size: 1536,
        n_layers: 30,
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 64,
        vocab_size: 49_152,
        context_length: 8192,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 100_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        eos: vec![2],
    };
    std::fs::create_dir_all(&directory)?;
    random::write(Path::new(&directory), &config, Dtype::F32, 1)?;
    Ok(())
}
