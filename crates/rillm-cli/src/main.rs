//! The `rillm` command: convert, inspect, run and evaluate language models for microcontrollers.

mod block_on;
mod convert;
mod eval;
mod inspect;
mod model_file;
mod number;
mod progress;
mod run;
mod source;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a program exits with that a signal ended, by the shells' convention.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(
    name = "rillm",
    version,
    about = "Language models for microcontrollers: weights streamed through kilobytes of RAM, integers only",
    after_help = "Examples:
  # The bundled model tells a story
  rillm
  # In 64 KiB of memory
  rillm run --prompt \"The little fox\" --ram 64K
  # A Hugging Face directory to a file for the card
  rillm convert Tiny-LLM/ tiny-llm.rillm
  # What is in it, and how it runs at a card's pace
  rillm inspect tiny-llm.rillm
  rillm run --model tiny-llm.rillm --source throttled

Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 ended by Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a prompt
    Run(run::Args),
    /// Make a .rillm file of a Llama checkpoint
    Convert(convert::Args),
    /// Show what a .rillm file holds
    Inspect(inspect::Args),
    /// Compare a .rillm file with its checkpoint in float32
    Eval(eval::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Run(run::Args::story()));
    let result = match command {
        Command::Run(args) => run::run(&args),
        Command::Convert(args) => convert::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        // A reader that went away, as in `rillm inspect | head`, is no failure to talk about.
        let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
        };
        if !error.chain().any(broken_pipe) {
            eprintln!("{} {}", console::style("error:").red().bold().for_stderr(), message(&error));
        }
        ExitCode::FAILURE
    })
}

/// An error and its causes. Some errors say their cause themselves: it is not said again.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !message.contains(&cause) {
            message.push_str(if message.is_empty() { "" } else { ": " });
            message.push_str(&cause);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::anyhow!("no such file").context("a.bin: no such file").context("in the checkpoint");
        assert_eq!(message(&error), "in the checkpoint: a.bin: no such file");
    }
}
