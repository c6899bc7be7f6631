//! `cargo xtask esp`: firmware for ESP32 boards.

mod proof;
mod rom;
mod simulate;

use std::process::ExitCode;

use anyhow::Result;

/// What can be done with it.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Chore {
    /// Boot it in a simulated ESP32, and prove that it computes what this computer does
    Simulate(simulate::Args),
}

/// Runs the chore.
pub fn run(chore: &Chore) -> Result<ExitCode> {
    match chore {
        Chore::Simulate(args) => simulate::run(args),
    }
}
