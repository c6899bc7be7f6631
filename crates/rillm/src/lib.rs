//! The engine of rillm: Llama-family language models in a few kilobytes of memory, in integers, from a stream of weights.
//!
//! A model is a `.rillm` file (`rillm convert` makes one). The engine reads it through a [`WeightSource`](source::WeightSource), plans
//! where its memory goes, and runs a [`Session`](session::Session) in it:
//!
//! ```
//! use rillm::{model::Model, plan::PlanOptions, sampler::Sampling, session::Session, source::WeightSource, tokenizer::Decoder};
//!
//! async fn continue_text<S: WeightSource>(mut card: S, ram: &mut [u8]) -> Result<(), rillm::error::Error<S::Error>> {
//!     let model = Model::open(&mut card).await?;
//!     let options = PlanOptions::new(ram.len());
//!     let mut session = Session::new(&model, card, &options, ram).expect("enough memory");
//!     session.push_text("Once upon a time").await?;
//!     // After a prompt the text goes on; one without a prompt starts: `model.tokenizer().decoder()`.
//!     let mut decoder = Decoder::new(false);
//!     loop {
//!         let token = session.next(&Sampling::GREEDY).await?;
//!         let ended = model.header().is_eos(token.id);
//!         for text in decoder.push(token.kind, token.text) {
//!             print(text);
//!         }
//!         if ended {
//!             print(decoder.finish());
//!             return Ok(());
//!         }
//!     }
//! }
//! # fn print(_: &str) {}
//! ```
//!
//! There is no allocator and no floating-point arithmetic in here, and no unsafe code but in the kernels of single processors; the
//! same input gives the same bits everywhere.
//! With a source that blocks every future is ready at once: [`block_on`] is all the executor that a session needs.
//!
//! The feature `mac16` multiplies with MAC16 on Xtensa processors that have it (ESP32, ESP32-S3). It wants Espressif's
//! compiler, for `asm!` on Xtensa is not stable, and rows at multiples of four bytes: a model in flash is to be aligned so.
//!
//! Someone who knows the Llama paper starts reading in `forward.rs`.
#![no_std]
#![cfg_attr(not(any(target_arch = "riscv32", target_arch = "xtensa")), forbid(unsafe_code))]
#![cfg_attr(any(target_arch = "riscv32", target_arch = "xtensa"), deny(unsafe_code))]
#![cfg_attr(all(target_arch = "xtensa", feature = "mac16"), feature(asm_experimental_arch))]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

mod attention;
mod block_on;
pub mod chat;
pub mod clock;
pub mod counted;
mod double_buffer;
pub mod error;
pub mod fingerprint;
mod fixed;
pub mod format;
mod forward;
pub mod kernels;
mod kv_cache;
mod matmul;
mod memory;
mod mlp;
pub mod model;
mod norm;
mod pins;
pub mod plan;
mod rope;
mod runner;
pub mod sampler;
pub mod session;
pub mod snapshot;
pub mod source;
pub mod sources;
mod tape;
pub mod tokenizer;
mod traffic;
mod vector;
mod verify;

pub use block_on::block_on;
