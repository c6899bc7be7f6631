//! rillm's own tasks, as `cargo xtask TASK`.

mod esp;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use emulated_tests::{emulate, faults, firmware_page, measure, prove};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "rillm's own tasks",
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
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boot a board's firmware in QEMU and talk to it
    Emulate(emulate::Args),
    /// Prove on emulated boards that they compute what this computer does
    Prove(prove::Args),
    /// Have the cards of emulated boards fail in every way, and see how it ends
    Faults(faults::Args),
    /// Count the instructions of a token on emulated boards
    Measure(measure::Args),
    /// Build and boot the firmware of docs/firmware.md as the page has it, and compare its text with this computer's
    FirmwarePage,
    /// Firmware for ESP32 boards
    #[command(subcommand)]
    Esp(esp::Task),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Emulate(args) => emulate::run(&args),
        Task::Prove(args) => prove::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Measure(args) => measure::run(&args),
        Task::FirmwarePage => firmware_page::run(),
        Task::Esp(task) => esp::run(&task),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{} {error:#}", console::style("error:").red().bold().for_stderr());
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
