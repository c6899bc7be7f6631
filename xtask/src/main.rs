//! rillm's own tasks, run as `cargo xtask TASK`.

mod component;
mod esp;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use emulated_tests::{c_examples, emulate, faults, firmware_page, measure, prove};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "rillm's own tasks",
    after_help = "Examples:
  # Run the bundled model on an emulated RISC-V chip with an SD card
  cargo xtask emulate rv32 --prompt \"Once upon a time\"
  # Compare the tokens of every emulated board with this computer's
  cargo xtask prove
  # Inject every kind of card failure
  cargo xtask faults
  # Count the instructions of a token
  cargo xtask measure"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boot a board's firmware in QEMU, with a prompt or an interactive console
    Emulate(emulate::Args),
    /// Prove that emulated boards compute the same as this computer
    Prove(prove::Args),
    /// Inject every kind of card failure on emulated boards, and check the reaction
    Faults(faults::Args),
    /// Count the instructions of a token on emulated boards
    Measure(measure::Args),
    /// Build and boot the firmware of docs/firmware.md and docs/choose.md, and compare it with this computer
    FirmwarePage,
    /// Compile the examples of the C interface for RISC-V, run them in QEMU, and compare them with this computer
    CExamples,
    /// Write the C library as a component of ESP-IDF, or as a library of PlatformIO and Arduino
    Component(component::Args),
    /// Firmware for ESP32 boards
    #[command(subcommand)]
    Esp(esp::Task),
    Web(web::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Emulate(args) => emulate::run(&args),
        Task::Prove(args) => prove::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Measure(args) => measure::run(&args),
        Task::FirmwarePage => firmware_page::run(),
        Task::CExamples => c_examples::run(),
        Task::Component(args) => component::run(&args),
        Task::Esp(task) => esp::run(&task),
        Task::Web(args) => web::run(&args),
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
