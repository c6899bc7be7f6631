//! The `rillm` command: convert, inspect, run and evaluate language models for microcontrollers.

mod answer;
mod block_on;
mod card;
mod card_check;
mod card_image;
mod chat;
mod convert;
mod eval;
mod inspect;
mod interrupt;
mod lines;
mod model_file;
mod number;
mod plan;
mod progress;
mod prompt_cache;
mod run;
mod session_args;
mod source;
mod tokenize;
mod whole;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
  # A model that was made for chats; models/fetch_smollm2.sh fetches this one
  rillm convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2.rillm
  rillm chat --model smollm2.rillm
  # A Hugging Face directory to a file for the card
  rillm convert Tiny-LLM/ tiny-llm.rillm
  # What is in it, and how it runs at a card's pace
  rillm inspect tiny-llm.rillm
  rillm run --model tiny-llm.rillm --source throttled
  # What to expect of it on a board, and a card for the board
  rillm plan --board esp32-cam --model tiny-llm.rillm
  rillm card tiny-llm.rillm -o card.img

Exit codes: 0 done, 1 failed, 2 arguments that make no sense, 130 ended by Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Chat(chat::Args),
    Convert(convert::Args),
    Inspect(inspect::Args),
    Tokenize(tokenize::Args),
    Card(card::Args),
    Plan(plan::Args),
    Eval(eval::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Run(run::Args::story()));
    let result = match command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tokenize(args) => tokenize::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Card(args) => card::run(&args),
        Command::Plan(args) => plan::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
