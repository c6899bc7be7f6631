//! The engine of rillm.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

pub mod counted;
pub mod format;
pub mod source;
pub mod tokenizer;
