//! Tests of rillm's firmware in QEMU and in a simulated ESP32, compared with this computer. `cargo xtask` runs them as
//! `emulate`, `prove`, `faults`, `measure`, `firmware-page`, `c-examples` and `esp simulate`. `docs/emulation.md` describes what is
//! emulated and compared.
//!
//! A `machine::Machine` is a board with its firmware and card. Booting it gives an `emulator::Emulated`; a
//! `dialogue::Dialogue` talks to its console.

pub mod c_examples;
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

/// Path of the bundled model.
fn bundled_model() -> PathBuf {
    root().join("models/rill-tales-1m/model.rillm")
}
