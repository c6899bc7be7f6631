//! Random small models in memory, and test sources.

use std::collections::HashMap;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm::{Memory, Model, PlanOptions, Sector, Session, WeightSource};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert_quantised};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::{QuantisedModel, quantise};

/// More polls than any future of these tests needs.
const POLLS: u32 = 10_000_000;

/// Polls a future until it is ready.
///
/// # Panics
/// If the future is not ready after [`POLLS`] polls.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..POLLS {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("nothing goes on any more")
}

fn shape(
    n_layers: u32,
    [hidden_size, intermediate_size]: [u32; 2],
    [n_heads, n_kv_heads, head_dim]: [u32; 3],
    vocab_size: u32,
) -> LlamaConfig {
    LlamaConfig {
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        vocab_size,
        context_length: 64,
        attention: AttentionExtras::default(),
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: n_layers.is_multiple_of(2),
        bos: Some(1),
        eos: vec![2],
    }
}

/// Several deliberately odd shapes.
pub fn shapes() -> Vec<LlamaConfig> {
    vec![
        shape(3, [48, 172], [6, 3, 8], 1003),
        shape(2, [20, 36], [3, 1, 10], 401),
        shape(1, [100, 65], [2, 1, 96], 512),
        // Qwen2's biases, Qwen3's norms, and all of them together.
        LlamaConfig {
            attention: AttentionExtras { qkv_bias: true, o_bias: false, qk_norm: false },
            ..shape(2, [40, 52], [4, 2, 10], 401)
        },
        LlamaConfig {
            attention: AttentionExtras { qkv_bias: false, o_bias: false, qk_norm: true },
            ..shape(3, [36, 48], [4, 2, 14], 401)
        },
        LlamaConfig {
            attention: AttentionExtras { qkv_bias: true, o_bias: true, qk_norm: true },
            ..shape(1, [36, 48], [3, 3, 12], 401)
        },
    ]
}

/// Models of one to six layers with odd dimensions.
pub fn config() -> impl Strategy<Value = LlamaConfig> {
    (
        1u32..7,
        prop::sample::select(vec![[64, 172], [33, 70], [96, 200]]),
        prop::sample::select(vec![[8, 4, 8], [2, 1, 96], [3, 3, 6], [4, 1, 14]]),
        prop::sample::select(vec![1003, 401, 512]),
        prop::sample::select(vec![
            AttentionExtras::default(),
            AttentionExtras { qkv_bias: true, ..AttentionExtras::default() },
            AttentionExtras { qk_norm: true, ..AttentionExtras::default() },
            AttentionExtras { qkv_bias: true, o_bias: true, qk_norm: true },
        ]),
    )
        .prop_map(|(n_layers, widths, heads, vocab_size, attention)| LlamaConfig {
            attention,
            ..shape(n_layers, widths, heads, vocab_size)
        })
}

/// Every mix of widths: the embedding table, the layers, the head; and how many logits are computed again.
pub const MIXES: [(Mix, Option<u8>); 6] = {
    use Bits::{Eight, Four};
    [
        (Mix::all(Eight), None),
        (Mix::all(Four), Some(0)),
        (Mix { embedding: Eight, layers: Eight, head: Four }, None),
        (Mix { embedding: Four, layers: Eight, head: Four }, Some(5)),
        (Mix { embedding: Four, layers: Four, head: Eight }, None),
        (Mix { embedding: Eight, layers: Four, head: Four }, Some(255)),
    ]
};

/// A random model of this shape, converted, with a small tokenizer. The seed chooses the widths and the group size, too.
pub fn model_file(config: &LlamaConfig, seed: u64) -> Vec<u8> {
    let (mix, rescored_rows) = MIXES[(seed % 6) as usize];
    model_file_of(config, seed, mix, rescored_rows)
}

/// A random model of this shape, whose tensors have these widths.
pub fn model_file_of(config: &LlamaConfig, seed: u64, mix: Mix, rescored_rows: Option<u8>) -> Vec<u8> {
    file_of(config, seed, mix, rescored_rows, "crates/rillm-convert/tests/tiny_tokenizer.json")
}

/// A random 8-bit model of this shape, with a tokenizer of the fuzz targets.
pub fn model_file_with(config: &LlamaConfig, tokenizer: &str) -> Vec<u8> {
    file_of(config, 0, Mix::all(Bits::Eight), None, &format!("fuzz/tokenizers/{tokenizer}.json"))
}

/// Several tests use the same files, each of which is made once.
fn file_of(config: &LlamaConfig, seed: u64, mix: Mix, rescored_rows: Option<u8>, tokenizer: &str) -> Vec<u8> {
    type File = Arc<OnceLock<Vec<u8>>>;
    static FILES: LazyLock<Mutex<HashMap<String, File>>> = LazyLock::new(Mutex::default);
    let key = format!("{config:?} {seed} {mix:?} {rescored_rows:?} {tokenizer}");
    let file = Arc::clone(FILES.lock().unwrap().entry(key).or_default());
    file.get_or_init(|| new_file(config, seed, mix, rescored_rows, tokenizer)).clone()
}

fn new_file(config: &LlamaConfig, seed: u64, mix: Mix, rescored_rows: Option<u8>, tokenizer: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    rillm_convert::random::write(directory.path(), config, Dtype::F16, seed).unwrap();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let tokenizer = format!("{}/../../../{tokenizer}", env!("CARGO_MANIFEST_DIR"));
    let vocabulary = Vocabulary::open(tokenizer.as_ref(), config.vocab_size).unwrap();
    let group = if seed.is_multiple_of(2) { 32 } else { 16 };
    let options = Options::default().mix(mix).group(group).rescored_rows(rescored_rows);
    let out = directory.path().join("model.rillm");
    let quantised = match mix.has_int4() {
        true => {
            let text = (0..40).map(|token| token * 7 % config.vocab_size).collect();
            quantise(&mut checkpoint.weights(), mix, group, &[text], |_| ControlFlow::Continue(())).unwrap()
        }
        false => QuantisedModel::new(),
    };
    let sections = vocabulary.sections().unwrap();
    convert_quantised(&checkpoint, &sections, &quantised, options, |_| ControlFlow::Continue(()), &out).unwrap();
    std::fs::read(out).unwrap()
}

pub fn open<S: WeightSource<Error: std::fmt::Debug>>(mut source: S) -> (Model, S) {
    (block_on(Model::open(&mut source)).unwrap(), source)
}

pub fn session<'m, S: WeightSource>(
    model: &'m Model,
    source: S,
    options: &PlanOptions,
    memory: &'m mut [u8],
) -> Session<'m, S> {
    Session::new(model, source, Memory::internal(memory), options).unwrap()
}

/// A source that flips a bit of one byte of the file in some of the reads that contain this byte.
pub struct Flipping<S> {
    pub inner: S,
    pub reads: u64,
    pub flipped: std::ops::Range<u64>,
    /// The byte's offset in the file. Only reads that contain it count.
    pub byte: u64,
}

impl<S: WeightSource> WeightSource for Flipping<S> {
    type Error = S::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), S::Error> {
        self.inner.read(first, buf).await?;
        let start = u64::from(first.0) * 512;
        if (start..start + buf.len() as u64).contains(&self.byte) {
            if self.flipped.contains(&self.reads) {
                buf[(self.byte - start) as usize] ^= 0x10;
            }
            self.reads += 1;
        }
        Ok(())
    }
}

/// A source whose reads take several polls, like those of a card with DMA.
pub struct Late<S> {
    inner: S,
    reads: u64,
}

impl<S> Late<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, reads: 0 }
    }
}

impl<S: WeightSource> WeightSource for Late<S> {
    type Error = S::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), S::Error> {
        self.reads += 1;
        let mut polls = self.reads % 4;
        poll_fn(|_| {
            if polls == 0 {
                return Poll::Ready(());
            }
            polls -= 1;
            Poll::Pending
        })
        .await;
        self.inner.read(first, buf).await
    }
}
