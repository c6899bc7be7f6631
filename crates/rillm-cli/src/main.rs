//! The `rillm` command: convert, inspect, run and evaluate language models for microcontrollers.

mod block_on;
mod convert;
mod eval;
mod inspect;
mod model_file;
mod number;
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
  rillm                                            the bundled model tells a story
  rillm run --prompt \"The little fox\" --ram 64K    in 64 KiB of memory
  rillm convert Tiny-LLM/ tiny-llm.rillm           a Hugging Face directory to a file for the card
  rillm run --model tiny-llm.rillm --source throttled   at a card's pace
  rillm inspect tiny-llm.rillm                     what is in it

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
    let result = match Cli::parse().command {
        None => run::run(&run::Args::bundled()),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Convert(args)) => convert::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Inspect(args)) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Eval(args)) => eval::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        // A reader that went away, as in `rillm inspect | head`, is no failure to talk about.
        let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
        };
        if !error.chain().any(broken_pipe) {
            eprintln!("{} {error:#}", console::style("error:").red().bold().for_stderr());
        }
        ExitCode::FAILURE
    })
}
