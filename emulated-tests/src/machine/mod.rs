//! The emulated boards: how to build their firmware, and how to boot them.

mod rv32;
mod xtensa;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rillm::CHECK_EVERY;

use crate::dialogue::Dialogue;
use crate::emulator::{self, Emulated};
use crate::{command, say};

/// Bytes of PSRAM on the boards.
const PSRAM: u64 = 4 << 20;
/// Default timeout in seconds.
const TIMEOUT: u64 = 600;

/// The options for booting a board.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// Where the model is stored
    #[arg(long, value_enum, default_value_t = Storage::Card)]
    pub source: Storage,
    /// Internal memory for the engine, at most what the board has left: for example 64K; without it, all of that
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub ram: Option<u64>,
    /// External memory: 0 to 4M
    #[arg(long, value_name = "BYTES", default_value_t = PSRAM, value_parser = bytes)]
    pub psram: u64,
    /// Tokens to make room for; without it, as many as the model supports and the memory holds
    #[arg(long, value_name = "N")]
    pub context: Option<u32>,
    /// Verify the checksum of the weights once in this many passes; 0 for never
    #[arg(long, value_name = "PASSES", default_value_t = CHECK_EVERY)]
    pub check_every: u32,
    /// Fault of the card: error@N, late@N:POLLS, gone@N:TRANSFERS, flip@N, flip@N:always; N counts the blocks that the
    /// card sends, from 1 on
    #[arg(long, value_name = "FAULT")]
    pub fault: Option<String>,
    /// Verify the CRC of every block in the card's driver
    #[arg(long)]
    pub crc: bool,
    /// Count the chip's instructions exactly; slower
    #[arg(long)]
    pub icount: bool,
    /// Use the engine's generic kernel, not the one with the chip's special instructions; the result is the same
    #[arg(long)]
    pub generic: bool,
    /// Write every command that the SD card receives, and every block that it sends, to a file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Give up if the board prints nothing for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    pub timeout: u64,
}

/// Where a board reads the model from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Storage {
    /// An SD card with a FAT file system.
    Card,
    /// Memory-mapped flash.
    Flash,
    /// Both: the board takes the model in flash if no file of the card can be used.
    Both,
}

/// An emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// A 32-bit RISC-V chip with 520 KiB of SRAM, 4 MiB of PSRAM and an SD card over SPI
    Rv32,
    /// A chip with the ESP32's instruction set, 520 KiB of SRAM and 4 MiB of PSRAM; a file takes a card's place
    Xtensa,
}

impl Board {
    /// Name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Checks that QEMU and a compiler for the board are installed.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    pub fn look(self) -> Result<()> {
        match self {
            Self::Rv32 => rv32::compiler().and_then(|_| emulator::look(rv32::QEMU)),
            Self::Xtensa => xtensa::compiler().and_then(|_| emulator::look(xtensa::QEMU)),
        }
    }

    /// Builds the firmware and returns the path of the ELF file.
    ///
    /// # Errors
    /// A compiler is missing, or the firmware does not build.
    pub fn build(self) -> Result<PathBuf> {
        match self {
            Self::Rv32 => rv32::build(),
            Self::Xtensa => xtensa::build(),
        }
    }

    /// Whether the board reads the model from an SD card, block by block.
    pub fn has_card(self) -> bool {
        self == Self::Rv32
    }

    /// Whether the board can have the model in memory-mapped flash.
    pub fn has_flash(self) -> bool {
        self == Self::Rv32
    }
}

/// The named boards, or all boards that can be emulated here.
///
/// # Errors
/// Something is missing for a named board, or for every board.
pub fn boards(named: &[Board]) -> Result<Vec<Board>> {
    if !named.is_empty() {
        for board in named {
            board.look().with_context(|| format!("cannot emulate {}", board.name()))?;
        }
        return Ok(named.to_vec());
    }
    let mut boards = Vec::new();
    for &board in Board::value_variants() {
        match board.look() {
            Ok(()) => boards.push(board),
            Err(error) => say::skipped(&format!("{}: {error:#}", board.name())),
        }
    }
    if boards.is_empty() {
        bail!("no board can be emulated here")
    }
    Ok(boards)
}

/// A board with its firmware built and its card written. It can be booted any number of times.
pub struct Machine {
    board: Board,
    /// The firmware, an ELF file.
    pub firmware: PathBuf,
    model: PathBuf,
    /// The card image. Empty if the board has no card.
    card: PathBuf,
}

impl Machine {
    /// Builds the firmware of `board` and writes a card with `model`.
    ///
    /// # Errors
    /// A compiler or a tool is missing, the firmware does not build, or the model cannot be read.
    pub fn new(board: Board, model: &Path) -> Result<Self> {
        Self::with_firmware(board, board.build()?, model, "card")
    }

    /// Uses an existing firmware, and a card image of the name `card`. Machines with different card names do not
    /// interfere.
    ///
    /// # Errors
    /// The model cannot be read, or the card cannot be written.
    pub fn with_firmware(board: Board, firmware: PathBuf, model: &Path, card: &str) -> Result<Self> {
        if !model.is_file() {
            bail!("there is no model {}; `rillm convert` makes one", model.display());
        }
        let card = if board.has_card() { command::card(model, card)? } else { PathBuf::new() };
        Ok(Self::with_files(board, firmware, model.to_owned(), card))
    }

    /// Uses a model and a card image that may be anything, or missing.
    pub fn with_files(board: Board, firmware: PathBuf, model: PathBuf, card: PathBuf) -> Self {
        Self { board, firmware, model, card }
    }

    /// Boots the board and waits for its prompt. `show` receives the output until then.
    ///
    /// # Errors
    /// QEMU is missing, or the board ends, hangs or traps before its prompt.
    pub fn boot(&self, setup: &Setup, show: impl FnMut(&str)) -> Result<Dialogue> {
        let qemu = match self.board {
            Board::Rv32 => rv32::qemu(&self.firmware, &self.model, &self.card, setup)?,
            Board::Xtensa => xtensa::qemu(&self.firmware, &self.model, setup)?,
        };
        Dialogue::new(Emulated::start(qemu, Duration::from_secs(setup.timeout))?, show)
    }
}

impl Default for Setup {
    /// The defaults of the options.
    fn default() -> Self {
        Self {
            source: Storage::Card,
            ram: None,
            psram: PSRAM,
            context: None,
            check_every: CHECK_EVERY,
            fault: None,
            crc: false,
            icount: false,
            generic: false,
            trace: None,
            timeout: TIMEOUT,
        }
    }
}

impl Setup {
    /// The arguments that every board's firmware understands.
    fn words(&self) -> Vec<String> {
        let mut words = vec![format!("psram={}", self.psram), format!("icount={}", u8::from(self.icount))];
        words.extend(self.ram.map(|bytes| format!("ram={bytes}")));
        words.extend(self.context.map(|n| format!("context={n}")));
        words.push(format!("check_every={}", self.check_every));
        words.push(format!("generic={}", u8::from(self.generic)));
        words
    }
}

/// Parses a number of bytes: `65536`, `64K`, `4M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 10),
        None => text.strip_suffix(['M', 'm']).map_or((text, 0), |digits| (digits, 20)),
    };
    let number: u32 =
        digits.parse().map_err(|_| "it is no number of bytes; write it as 65536, 64K or 4M".to_owned())?;
    Ok(u64::from(number) << shift)
}
