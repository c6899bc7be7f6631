//! The engine of rillm: it runs Llama-family language models in a few kilobytes of memory, with integer arithmetic, and
//! streams the weights.
//!
//! A model is a `.rillm` file, made by `rillm convert`. The engine reads the file through a [`WeightSource`], plans the
//! memory and runs a [`Session`] in it:
//!
//! ```
//! use rillm::{Decoder, Error, Memory, Model, PlanOptions, Sampling, Session, WeightSource};
//!
//! async fn write<S: WeightSource>(mut card: S, ram: &mut [u8]) -> Result<(), Error<S::Error>> {
//!     let model = Model::open(&mut card).await?;
//!     let mut session = Session::new(&model, card, Memory::internal(ram), &PlanOptions::default())?;
//!     session.push_text("Once upon a time").await?;
//!     let mut decoder = Decoder::default();
//!     loop {
//!         let token = session.next(&Sampling::default()).await?;
//!         decoder.push(token.kind, token.text).for_each(print);
//!         if model.header().is_eos(token.id) {
//!             print(decoder.finish());
//!             return Ok(());
//!         }
//!     }
//! }
//! # fn print(_: &str) {}
//! ```
//!
//! The engine uses no allocator and no floating-point arithmetic. Only the kernels for specific processors contain
//! unsafe code. The same input gives the same bits on every target. A blocking source makes every future ready at the
//! first poll: [`block_on()`] is then a sufficient executor.
//!
//! The feature `mac16` multiplies with MAC16 on Xtensa processors that have it (ESP32, ESP32-S3). It requires
//! Espressif's compiler, because `asm!` on Xtensa is not stable, and rows that start at multiples of four bytes: a
//! model in flash must be aligned to four bytes.
//!
//! Readers who know the Llama paper can start in `forward.rs`.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(all(target_arch = "xtensa", feature = "mac16"), feature(asm_experimental_arch))]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

mod attention;
mod block_on;
mod chat;
mod double_buffer;
mod error;
mod fingerprint;
mod fixed;
pub mod format;
mod forward;
pub mod kernels;
mod kv_cache;
mod likelihood;
mod logits;
mod matmul;
mod mlp;
mod model;
mod noise;
mod norm;
mod plan;
mod rescoring;
mod rope;
mod sampler;
mod sampling;
mod session;
mod source;
mod stats;
mod tape;
mod temperature;
pub mod tokenizer;
mod vector;
mod verify;

/// Whether this is the processor of a computer, with wide registers, caches, and memory for tables, or of a page in its browser. Others
/// are those of microcontrollers.
const COMPUTER: bool = cfg!(any(target_pointer_width = "64", target_arch = "wasm32"));

pub use block_on::block_on;
pub use chat::{Chat, ChatError};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use format::{FormatError, Header, TokenKind};
pub use kernels::{Multiply, Rows};
pub use likelihood::Nats;
pub use logits::Logit;
pub use model::{Int4Weights, Model};
pub use plan::{Allocation, Buffer, Memory, MemoryError, MemoryLen, Plan, PlanError, PlanOptions, Region, Residency};
pub use sampling::{Q16, Sampling};
pub use session::{CHECK_EVERY, CHECK_LENT_EVERY, Choice, Choose, ChooseError, RestoreError, Session, Token};
pub use source::{Bytes, Counted, Fault, Faulty, PastTheEnd, SECTOR_LEN, Sector, SectorReader, WeightSource};
pub use stats::{Clock, Stage, StageTimes, Stats, Traffic};
pub use tokenizer::{Decoder, Tokenizer};

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
