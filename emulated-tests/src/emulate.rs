//! `cargo xtask emulate`: a board's firmware in QEMU, from a card image to the text.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rillm_firmware_builder::elf::Sections;

use crate::machine::{Board, Machine, Setup};
use crate::terminal::Keys;
use crate::{bundled_model, interrupt, say};

/// Boot a board's firmware in QEMU: with a prompt its text comes on standard output, without one the console is yours.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask emulate rv32 --prompt \"Once upon a time\" --temperature 0 --max-tokens 20
  # The same with the ESP32's instructions
  cargo xtask emulate xtensa --prompt \"Once upon a time\" --temperature 0 --max-tokens 20
  # Count instructions exactly (slower), and have every SD command in a file
  cargo xtask emulate rv32 --prompt Hello --icount --trace sd.log
  # 64 KiB for the engine and no PSRAM; type prompts and commands yourself, Ctrl-D ends
  cargo xtask emulate rv32 --ram 64K --psram 0
  # Block 2000 that the card sends has a flipped bit
  cargo xtask emulate rv32 --prompt Hello --fault flip@2000")]
pub struct Args {
    /// The board
    board: Board,
    /// The model, a .rillm file
    #[arg(long, value_name = "FILE", default_value_os_t = bundled_model())]
    model: PathBuf,
    /// Text to continue; if absent, standard input and output are the board's console
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// End after so many tokens
    #[arg(long, short = 'n', value_name = "N")]
    max_tokens: Option<u32>,
    /// Above 1 bolder, below 1 safer, 0 always the likeliest token
    #[arg(long, value_name = "T")]
    temperature: Option<String>,
    /// The same seed gives the same text
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    setup: Setup,
    /// One more line that tells the tokens and what their logits add up to, to compare with `rillm run --check`
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// Something to build or to emulate with is missing, or the board ends, hangs or traps.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(trace) = &args.setup.trace {
        let is_model = same_file::is_same_file(trace, &args.model).unwrap_or(false);
        ensure!(!is_model, "{} is the model, which would be lost; name another file", trace.display());
        ensure!(trace != Path::new("-"), "QEMU writes the trace into a file; name one with --trace");
    }
    interrupt::watch()?;
    let machine = Machine::new(args.board, &args.model)?;
    say::note(&Sections::of(&machine.firmware)?.to_string());
    let mut console = machine.boot(&args.setup, say::words)?;
    say::note("");
    for (name, value) in args.settings() {
        say::note(&console.set(name, &value)?);
    }

    let Some(prompt) = &args.prompt else {
        say::note("Ctrl-C ends a text, Ctrl-D the board");
        let _keys = Keys::new();
        say::text(b"> ");
        console.into_board().interact(say::text)?;
        return Ok(ExitCode::SUCCESS);
    };
    let answer = console.ask(prompt, |text| say::text(text.as_bytes()))?;
    for line in answer.summary.iter().chain(&answer.check) {
        say::note(line);
    }
    console.into_board().hang_up(|words| say::words(&String::from_utf8_lossy(words)))?;
    Ok(if answer.summary.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    /// The console's settings that the arguments ask for.
    fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let settings = [
            self.max_tokens.map(|n| ("max", n.to_string())),
            self.temperature.clone().map(|t| ("temp", t)),
            self.seed.map(|seed| ("seed", seed.to_string())),
            self.check.then(|| ("check", "on".to_owned())),
        ];
        settings.into_iter().flatten()
    }
}
