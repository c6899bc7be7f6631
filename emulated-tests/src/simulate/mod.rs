//! `cargo xtask esp simulate`: runs the ESP32 image in labwired, a simulated chip that executes every instruction of
//! it.

mod proof;
mod rom;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use rillm_firmware_builder::elf::Sections;
use rillm_firmware_builder::{esp, root, toolchain, xtensa_toolchain};

use crate::dialogue::Dialogue;
use crate::emulator::Emulated;
use crate::machine::Storage;
use crate::{bundled_model, command, interrupt, say};

/// Environment variable with the path of a Python that has labwired.
const PYTHON: &str = "RILLM_LABWIRED_PYTHON";
const INSTALL: &str = "pip install labwired==0.25.0";
/// Timeout without output. A simulated token takes several seconds.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Boot the ESP32-CAM's firmware in a simulated ESP32. With --prompt its text is printed on standard output. Without
/// it, the simulated board proves that it computes the same as this computer.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  # From flash and from a card, with PSRAM and without, on one core and on both
  cargo xtask esp simulate
  cargo xtask esp simulate --prompt \"Once upon a time\" -n 5
  cargo xtask esp simulate --prompt \"Once upon a time\" -n 5 --source card --psram --check

The simulator is labwired, a Python package: pip install labwired==0.25.0. RILLM_LABWIRED_PYTHON selects a Python other than python3.
docs/emulation.md describes its limits.")]
pub struct Args {
    /// Where the model is stored: in memory-mapped flash, or on a card with a FAT file system
    #[arg(long, value_enum, default_value_t = Storage::Flash)]
    source: Storage,
    /// Text to continue, greedily
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Largest number of tokens to generate
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5)]
    max_tokens: u32,
    /// Use the 4 MiB of PSRAM
    #[arg(long)]
    psram: bool,
    /// Do not use the second core
    #[arg(long)]
    one_core: bool,
    /// Print one more line with the tokens and a fingerprint of the logits, for comparison with `rillm run --check`
    #[arg(long)]
    check: bool,
}

/// The parts of the board to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Where the model is stored.
    pub source: Storage,
    /// Whether to use the PSRAM.
    pub psram: bool,
    /// Whether to leave the second core unused.
    pub one_core: bool,
}

/// A simulator with a firmware. It can be booted any number of times.
pub struct Simulator {
    python: OsString,
    /// The firmware, an ELF file.
    pub firmware: PathBuf,
    /// A card image with the bundled model.
    card: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::watch()?;
    let simulator = Simulator::new()?;
    say::note(&Sections::of(&simulator.firmware)?.to_string());
    let Some(prompt) = &args.prompt else { return proof::run(&simulator) };
    let Args { source, psram, one_core, .. } = *args;
    let (mut console, _) = simulator.boot(Setup { source, psram, one_core }, say::words)?;
    eprintln!();
    console.set("temp", "0")?;
    console.set("max", &args.max_tokens.to_string())?;
    if args.check {
        console.set("check", "on")?;
    }
    console.answer(prompt)
}

impl Simulator {
    /// Builds the firmware and writes a card.
    ///
    /// # Errors
    /// A compiler or the simulator is missing, or the firmware does not build.
    pub fn new() -> Result<Self> {
        let python = python()?;
        let firmware = build()?;
        let card = command::card(&bundled_model(), "esp32")?;
        Ok(Self { python, firmware, card })
    }

    /// Boots the board and waits for its prompt. Returns the output until then, which `show` receives, too.
    ///
    /// # Errors
    /// The board ends, hangs or traps before its prompt.
    pub fn boot(&self, setup: Setup, mut show: impl FnMut(&str)) -> Result<(Dialogue, String)> {
        let mut runner = Command::new(&self.python);
        runner.arg(root().join("emulated-tests/src/simulate/simulator.py")).arg(&self.firmware);
        if setup.source != Storage::Flash {
            runner.arg("--card").arg(&self.card);
        }
        runner.args((!setup.psram).then_some("--no-psram")).args(setup.one_core.then_some("--one-core"));
        let mut report = String::new();
        let dialogue = Dialogue::new(Emulated::start(runner, TIMEOUT)?, |words| {
            report += words;
            show(words);
        })?;
        Ok((dialogue, report))
    }
}

/// Path of the Python that has the simulator.
fn python() -> Result<OsString> {
    let python = env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let mut import = Command::new(&python);
    import.args(["-c", "import labwired"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match import.status() {
        Ok(status) if status.success() => Ok(python),
        Ok(_) => bail!(
            "{} has no labwired, the simulator; install it with `{INSTALL}`, or name a Python that has it in {PYTHON}",
            python.display()
        ),
        Err(error) => bail!("cannot start {} ({error}); {PYTHON} names a Python with labwired", python.display()),
    }
}

/// Builds the ESP32-CAM's firmware for the simulator.
fn build() -> Result<PathBuf> {
    let dir = esp::dir();
    let scripts = format!("-Zpre-link-args=-L{}", rom::shadowed(&dir)?.display());
    let mut cargo = esp::cargo(xtensa_toolchain::ESP32, &[scripts])?;
    cargo.args(["--example", "esp32-cam", "-Zbuild-std-features=compiler-builtins-mem"]);
    // The simulated core lacks MAC16.
    cargo.args(["--no-default-features", "--features", "esp32,simulator"]);
    // A separate target directory: the firmware for a real board is built in the default one.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| dir.join("target"), PathBuf::from);
    cargo.env("CARGO_TARGET_DIR", target.join("simulator"));
    toolchain::build(cargo, &dir)
}
