//! `cargo xtask emulate`: boots a board's firmware in QEMU with a card image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rillm_firmware_builder::elf::Sections;

use crate::machine::{Board, Machine, Setup};
use crate::terminal::Keys;
use crate::{bundled_model, interrupt, say};

/// Boot a board's firmware in QEMU: with --prompt its text is printed on standard output, without it the console is
/// interactive.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask emulate rv32 --prompt \"Once upon a time\" --temperature 0 --max-tokens 20
  # The same on the board with the ESP32's instruction set
  cargo xtask emulate xtensa --prompt \"Once upon a time\" --temperature 0 --max-tokens 20
  # Count instructions exactly (slower), and write all SD commands to a file
  cargo xtask emulate rv32 --prompt Hello --icount --trace sd.log
  # 64 KiB for the engine and no PSRAM, with an interactive console; Ctrl-D ends it
  cargo xtask emulate rv32 --ram 64K --psram 0
  # A flipped bit in block 2000 that the card sends
  cargo xtask emulate rv32 --prompt Hello --fault flip@2000")]
pub struct Args {
    /// The board
    board: Board,
    /// The model, a .rillm file
    #[arg(long, value_name = "FILE", default_value_os_t = bundled_model())]
    model: PathBuf,
    /// Text to continue; without it, standard input and output are the console of the board
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Largest number of tokens to generate
    #[arg(long, short = 'n', value_name = "N")]
    max_tokens: Option<u32>,
    /// Higher is more random, 0 always takes the likeliest token
    #[arg(long, value_name = "T")]
    temperature: Option<String>,
    /// Seed of the random numbers: the same seed gives the same text
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    setup: Setup,
    /// Print one more line with the tokens and a fingerprint of the logits, for comparison with `rillm run --check`
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// A compiler or emulator is missing, or the board ends, hangs or traps.
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
    console.answer(prompt)
}

impl Args {
    /// The console settings for the arguments.
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
