//! rillm's firmware in QEMU and in a simulated ESP32, compared with this computer: what `cargo xtask` runs as `emulate`, `prove`,
//! `faults`, `measure`, `firmware-page` and `esp simulate`. `docs/emulation.md` says what is emulated and what is compared.
//!
//! A board with its firmware built and a card written is a `machine::Machine`; booted, it is an `emulator::Emulated`, with whose
//! console a `dialogue::Dialogue` talks.

mod command;
mod dialogue;
pub mod emulate;
mod emulator;
pub mod faults;
pub mod firmware_page;
mod interrupt;
mod jobs;
mod machine;
pub mod measure;
pub mod prove;
mod say;
pub mod simulate;
mod stats;
mod table;
mod terminal;

use std::path::PathBuf;

use rillm_firmware_builder::root;

/// The bundled model's file.
fn bundled_model() -> PathBuf {
    root().join("models/rill-tales-1m/model.rillm")
}
