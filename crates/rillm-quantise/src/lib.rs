//! Float32 rows to the bytes of a `.rillm` file and back, and the float32 reference that judges the result.
//!
//! - [`config`] has a model's dimensions, [`rope`] its rotary angles.
//! - [`rows`] quantises a row, and restores it.
//! - [`weights`] has a model's tensors in float32. [`batch`] runs it over whole sequences, with gradients, by the products of
//!   [`matmul`].
//! - [`calibration`] has texts that a model writes itself, [`gptq`] quantises a matrix with its inputs on them, and [`model`] a
//!   whole model, to the bits of a [`mix`].
//! - [`distil`](mod@distil) trains scales, norms and biases of a quantised model towards the float model's predictions.
//! - [`mod@reference`] runs a model in float32 as the Llama paper has it, [`evaluate`] compares the predictions of two models.
//! - [`random`] is the random number generator of all that must be repeatable.

pub mod batch;
pub mod calibration;
pub mod config;
pub mod distil;
pub mod evaluate;
pub mod gptq;
pub mod matmul;
pub mod mix;
pub mod model;
pub mod random;
pub mod reference;
pub mod rope;
pub mod rows;
pub mod weights;

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
