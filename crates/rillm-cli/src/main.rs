//! The `rillm` command: convert, inspect, run and evaluate language models for microcontrollers.

mod answer;
mod bench;
mod board_bench;
mod board_check;
mod board_link;
mod board_screen;
mod card;
mod card_check;
mod chat;
mod choose;
mod conversion_report;
mod convert;
mod converter;
mod eval;
mod evaluation;
mod files;
mod flash_image;
mod inspect;
mod interrupt;
mod lines;
mod llama_bench;
mod memory_args;
mod mix_search;
mod model_file;
mod monitor;
mod number;
mod plan;
mod plot;
mod progress;
mod prompt_cache;
mod run;
mod say;
mod sections;
mod session_args;
mod source;
mod text;
mod threads;
mod tokenize;
mod usage;
mod verify;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
  # A chat model; models/fetch_smollm2.sh downloads this one
  rillm convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2.rillm
  rillm chat --model smollm2.rillm
  # One of several answers, and how likely each is
  rillm choose --prompt \"He looked at the \" --option moon --option sun
  # Convert a Hugging Face directory to a file for the card
  rillm convert Tiny-LLM/ tiny-llm.rillm
  # Show what the file holds, and run it at the pace of a card
  rillm inspect tiny-llm.rillm
  rillm run --model tiny-llm.rillm --source throttled
  # Measure its speed on this computer
  rillm bench --model tiny-llm.rillm
  # Estimate its speed on a board, and make a card for the board
  rillm plan --board esp32-cam --model tiny-llm.rillm
  rillm card tiny-llm.rillm -o card.img
  # Or put it into the flash of a board, with a release's firmware
  rillm flash-image my.rillm --image rillm-0.1.0-esp32-c3.bin -o board.bin
  # Talk with the board, and compare its texts with this computer's
  rillm monitor --port /dev/ttyUSB0 --model tiny-llm.rillm

Exit codes: 0 success, 1 failure or a closed output pipe, 2 invalid arguments,
130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Chat(chat::Args),
    Choose(choose::Args),
    Convert(convert::Args),
    Inspect(inspect::Args),
    Tokenize(tokenize::Args),
    Card(card::Args),
    FlashImage(flash_image::Args),
    Plan(plan::Args),
    Eval(eval::Args),
    Bench(bench::Args),
    Monitor(monitor::Args),
}

fn main() -> ExitCode {
    let command = match parse() {
        Ok(cli) => cli.command.unwrap_or_else(|| Command::Run(run::Args::story())),
        Err(error) => return usage_error(&error),
    };
    let result = match command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Choose(args) => choose::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tokenize(args) => tokenize::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Card(args) => card::run(&args),
        Command::FlashImage(args) => flash_image::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Plan(args) => plan::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Monitor(args) => monitor::run(&args),
    };
    result.unwrap_or_else(|error| failure(&error))
}

fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let matches = command.try_get_matches_from_mut(&arguments);
    let matches = matches.map_err(|error| usage::with_tip(error, &command, &arguments))?;
    usage::check(&command, &matches)?;
    Cli::from_arg_matches(&matches)
}

/// Prints a usage error, or the text of `--help` and `--version`, which clap returns as an error too.
fn usage_error(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(unwritten) if !error.use_stderr() => failure(&say::of_stdout(unwritten).into()),
        _ => ExitCode::from(error.exit_code() as u8),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    // A closed pipe, as in `rillm inspect | head`, is not reported.
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    if !error.chain().any(is_broken_pipe) {
        say::error(error);
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
