//! A small random model with a chat template, for the tests of the console and of the C interface.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert};
use rillm_quantise::config::LlamaConfig;

const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content | trim + '<|end|>' }}{% endfor %}assistant:";

/// The model file, with a context of 96.
pub static MODEL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let config = LlamaConfig {
        hidden_size: 20,
        intermediate_size: 36,
        n_layers: 1,
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 10,
        vocab_size: 401,
        context_length: 96,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        eos: vec![2],
    };
    rillm_convert::random::write(directory.path(), &config, Dtype::F16, 3).unwrap();
    let tokenizer = directory.path().join("tokenizer.json");
    std::fs::write(&tokenizer, include_bytes!("../../../rillm-convert/tests/tiny_tokenizer.json")).unwrap();
    let mut vocabulary = Vocabulary::open(&tokenizer, config.vocab_size).unwrap();
    vocabulary.chat_template = TEMPLATE.to_owned();
    vocabulary.special_tokens = vec![("bos_token".to_owned(), "<s>".to_owned())];
    let (out, checkpoint) = (directory.path().join("model.rillm"), Checkpoint::open(directory.path()).unwrap());
    let sections = vocabulary.sections().unwrap();
    convert(&checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), &out).unwrap();
    std::fs::read(out).unwrap()
});
