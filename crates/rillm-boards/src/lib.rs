//! The boards of rillm's firmware, and a model of their speed. `rillm plan --board` prints its estimates, and a board
//! prints its own.
//!
//! ```
//! use rillm::{Model, Plan, WeightSource};
//! use rillm_boards::{ESP32_CAM, Estimate, Pace, Range, ModelPlace, options};
//!
//! /// Microseconds that a token takes on an ESP32-CAM with the model on its card.
//! fn token(model: &Model, card: &impl WeightSource) -> Option<Range> {
//!     let (pace, place) = (Pace::of(&ESP32_CAM), ModelPlace::Card);
//!     let options = options(&pace, model, place);
//!     let plan = Plan::new(model, card, ESP32_CAM.memory(), &options).ok()?;
//!     Some(Estimate { model, plan: &plan, pace, place }.token(64))
//! }
//! # use rillm::{Bytes, block_on};
//! # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));
//! # let model = block_on(Model::open(&mut Bytes::copied(file))).unwrap();
//! # let Range { low, high } = token(&model, &Bytes::copied(file)).unwrap();
//! # assert!(10_000 < low && low < high && high < 1_000_000);
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

mod boards;
mod estimate;
mod figure;
mod instructions;

pub use boards::{
    ALL, BoardSpec, Bus, Chip, DIO_40, DIO_80, ESP32, ESP32_C3, ESP32_C3_SPI, ESP32_C6, ESP32_C6_SPI, ESP32_CAM,
    ESP32_P4, ESP32_P4_EV, ESP32_S3, ESP32_S3_DEVKITC, ESP32_WROVER, FlashMode, Psram, XIAO_ESP32S3_SENSE,
};
pub use estimate::{Estimate, ModelPlace, Pace, options};
pub use figure::{Figure, Range};
pub use instructions::{Cpu, Instructions};

#[cfg(test)]
static BUNDLED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
