//! From a Llama checkpoint to a `.rillm` file.
//!
//! A conversion opens a [`Checkpoint`](checkpoint::Checkpoint), makes the tokenizer's sections of its
//! [`Vocabulary`](vocabulary::Vocabulary), and calls [`convert`](write::convert). The checkpoint of this example is random, in
//! the place of one from Hugging Face, and the engine opens the result:
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use rillm::{Bytes, Model, block_on};
//! use rillm_convert::checkpoint::Checkpoint;
//! use rillm_convert::vocabulary::Vocabulary;
//! use rillm_convert::write::{Options, convert};
//! # use rillm::format::{AttentionExtras, Rope, RopeScaling};
//! # use rillm_convert::checkpoint::Dtype;
//! # use rillm_quantise::config::LlamaConfig;
//! # let config = LlamaConfig {
//! #     hidden_size: 48,
//! #     intermediate_size: 96,
//! #     n_layers: 2,
//! #     n_heads: 4,
//! #     n_kv_heads: 2,
//! #     head_dim: 12,
//! #     vocab_size: 401,
//! #     context_length: 64,
//! #     attention: AttentionExtras::default(),
//! #     rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
//! #     rope_divisors: Vec::new(),
//! #     norm_eps: 1e-5,
//! #     tied_embeddings: true,
//! #     bos: Some(1),
//! #     eos: vec![2],
//! # };
//! # let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny_tokenizer.json");
//!
//! let directory = tempfile::tempdir()?;
//! let from = directory.path();
//! rillm_convert::random::write(from, &config, Dtype::Bf16, 7)?;
//! std::fs::copy(tokenizer, from.join("tokenizer.json"))?;
//!
//! let checkpoint = Checkpoint::open(from)?;
//! let vocabulary = Vocabulary::open(from, checkpoint.config().vocab_size)?;
//! let to = from.join("model.rillm");
//! // The closure shows progress, and may break off.
//! let report = convert(&checkpoint, &vocabulary.sections()?, Options::default(), |_| ControlFlow::Continue(()), &to)?;
//! for tensor in &report.tensors {
//!     println!("{:?}: {} bytes, SNR {:.1} dB", tensor.tensor.kind, tensor.bytes, tensor.snr_db);
//! }
//!
//! let file = std::fs::read(&to)?;
//! let model = block_on(Model::open(&mut Bytes::copied(&file)))?;
//! assert_eq!(model.header().n_layers, checkpoint.config().n_layers);
//! # assert_eq!(report.file_len, file.len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules in the order in which data passes through them:
//!
//! 1. [`checkpoint`] opens a Hugging Face directory, a GGUF or llama2.c file or a directory of the ESP32 project
//!    StreamedInference and hands out rows of float32.
//! 2. [`vocabulary`] reads the checkpoint's tokenizer and makes the file's sections of it.
//! 3. [`chat`] turns the checkpoint's chat template into tokens that a device puts between what is said.
//! 4. [`calibrate`] quantises to fewer bits, if that is wanted, with text of the model's own.
//! 5. [`mod@write`] lays the rows out in the order in which a token uses them, quantised by [`rillm_quantise`].
//!
//! Beside the path: [`gguf`] takes GGUF files apart, [`random`] makes small models for tests. [`rillm_quantise`] also has
//! the float32 reference that judges a conversion.
//!
//! Checkpoints are checked before they are used: a file that is damaged, or a model that rillm cannot run, is an error that
//! names the file and the field.

pub mod calibrate;
pub mod chat;
pub mod checkpoint;
pub mod gguf;
mod json;
pub mod random;
pub mod vocabulary;
pub mod write;

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
