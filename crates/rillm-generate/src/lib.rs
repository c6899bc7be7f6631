//! The generation loop of rillm, one step at a time. The console of a board, the `rillm` command and the C interface
//! share it. It uses no allocator.
//!
//! A [`Generation`] takes a session from its prompt to the end of the text. The caller performs the steps, and handles
//! errors, Ctrl-C and progress between them:
//!
//! ```
//! use rillm::{Error, Model, Sampling, Session, WeightSource};
//! use rillm_generate::{Generation, Step, StopReason, StopStrings};
//!
//! /// Prints the continuation of a prompt, up to the end of its first sentence.
//! async fn tell<S: WeightSource>(
//!     model: &Model,
//!     session: &mut Session<'_, S>,
//!     prompt: &str,
//! ) -> Result<StopReason, Error<S::Error>> {
//!     session.push_text(prompt).await?;
//!     let stops = StopStrings::new(&["."]).expect("one short string");
//!     let mut generation = Generation::new(model, prompt, Sampling::GREEDY).max_tokens(40).stop_strings(stops);
//!     print!("{prompt}");
//!     loop {
//!         match generation.step(session).await? {
//!             Step::Prefill => {}
//!             Step::Token(text) => print!("{text}"),
//!             Step::Done(reason) => {
//!                 println!("{}", generation.finish());
//!                 return Ok(reason);
//!             }
//!         }
//!     }
//! }
//! # use rillm::{Bytes, Memory, PlanOptions};
//! # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));
//! # let mut source = Bytes::copied(file);
//! # let model = rillm::block_on(Model::open(&mut source)).unwrap();
//! # let mut ram = vec![0; 1 << 18];
//! # let mut session = Session::new(&model, source, Memory::internal(&mut ram), &PlanOptions::default()).unwrap();
//! # let reason = rillm::block_on(tell(&model, &mut session, "Once upon a time")).unwrap();
//! # assert_eq!(reason, StopReason::StopString);
//! ```
//!
//! [`Metrics`] averages time and traffic over the tokens, [`Summary`] formats them as one line, and [`Check`] formats a
//! line that is equal wherever the same was computed. [`number`] parses and formats numbers for people, in integers.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

mod generation;
mod metrics;
pub mod number;
mod stop_strings;
mod summary;

pub use generation::{Generation, Step, StopReason, Text};
pub use metrics::{Averages, Metrics, Unit, micros};
pub use stop_strings::{LONGEST_STOP_STRING, MOST_STOP_STRINGS, StopError, StopStrings};
pub use summary::{Check, ForgottenTurns, Ram, Summary};

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
