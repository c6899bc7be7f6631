//! rillm's own chores, as `cargo xtask CHORE`.

mod card;
mod elf;
mod emulate;
mod esp;
mod faults;
mod interrupt;
mod jobs;
mod measure;
mod prove;
mod qemu;
mod terminal;
mod toolchain;
mod xtensa_toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "rillm's own chores",
    after_help = "Examples:
  # The bundled model on an emulated RISC-V chip with an SD card
  cargo xtask emulate rv32 --prompt \"Once upon a time\"
  # The same tokens on every emulated board as on this computer
  cargo xtask prove
  # Cards that fail in every way
  cargo xtask faults
  # Instructions a token
  cargo xtask measure"
)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Boot a board's firmware in QEMU and talk to it
    Emulate(emulate::Args),
    /// Prove on emulated boards that they compute what this computer does
    Prove(prove::Args),
    /// Have the cards of emulated boards fail in every way, and see how it ends
    Faults(faults::Args),
    /// Count the instructions of a token on emulated boards
    Measure(measure::Args),
    /// Firmware for ESP32 boards
    #[command(subcommand)]
    Esp(esp::Chore),
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Emulate(args) => emulate::run(&args),
        Chore::Prove(args) => prove::run(&args),
        Chore::Faults(args) => faults::run(&args),
        Chore::Measure(args) => measure::run(&args),
        Chore::Esp(chore) => esp::run(&chore),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{} {error:#}", console::style("error:").red().bold().for_stderr());
        ExitCode::FAILURE
    })
}

/// The repository.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
