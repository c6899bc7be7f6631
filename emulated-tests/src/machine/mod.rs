//! The emulated boards: how their firmware is built, and how they are booted.

mod rv32;
mod xtensa;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::dialogue::Dialogue;
use crate::emulator::{self, Emulated};
use crate::{command, say};

/// Bytes of the boards' PSRAM.
const PSRAM: u64 = 4 << 20;
/// As the engine has it.
const CHECK_EVERY: u32 = 64;
/// Seconds.
const TIMEOUT: u64 = 600;

/// How a board is booted.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// Where the model lies: on the SD card, or in memory-mapped flash
    #[arg(long, value_enum, default_value_t = Source::Card)]
    pub source: Source,
    /// Fast memory for the engine, at most what the board has left: 64K; all of that if absent
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub ram: Option<u64>,
    /// External memory: 0 to 4M
    #[arg(long, value_name = "BYTES", default_value_t = PSRAM, value_parser = bytes)]
    pub psram: u64,
    /// Tokens to make room for; if absent, as many as the model was made for, or as fit
    #[arg(long, value_name = "N")]
    pub context: Option<u32>,
    /// Compare the weights with their checksum in every so many passes; 0 for never
    #[arg(long, value_name = "PASSES", default_value_t = CHECK_EVERY)]
    pub check_every: u32,
    /// What goes wrong with the card: error@N, late@N:POLLS, gone@N:TRANSFERS, flip@N, flip@N:always; N counts the
    /// blocks that the card sends, from 1 on
    #[arg(long, value_name = "FAULT")]
    pub fault: Option<String>,
    /// Have the card's driver check every block's CRC
    #[arg(long)]
    pub crc: bool,
    /// Count the chip's instructions exactly; slower
    #[arg(long)]
    pub icount: bool,
    /// Multiply as the engine's definition has it, not by the instructions that the chip has for it; the same bits
    #[arg(long)]
    pub generic: bool,
    /// Write every command that the SD card gets, and every block that it sends, into a file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Give up on a board that says nothing for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    pub timeout: u64,
}

/// Where a board reads the model from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// An SD card with a FAT file system.
    Card,
    /// Flash that is mapped into memory.
    Flash,
}

/// A board that QEMU knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// A 32-bit RISC-V chip with 520 KiB of SRAM, 4 MiB of PSRAM and an SD card over SPI
    Rv32,
    /// A chip with the ESP32's instruction set, 520 KiB of SRAM and 4 MiB of PSRAM; a file takes a card's place
    Xtensa,
}

impl Board {
    /// What it is called on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Looks whether QEMU and a compiler for the board are here.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    pub fn look(self) -> Result<()> {
        match self {
            Self::Rv32 => rv32::compiler().and_then(|_| emulator::look(rv32::QEMU)),
            Self::Xtensa => xtensa::compiler().and_then(|_| emulator::look(xtensa::QEMU)),
        }
    }

    /// Builds its firmware and returns the ELF file.
    ///
    /// # Errors
    /// A compiler is missing, or the firmware does not build.
    pub fn build(self) -> Result<PathBuf> {
        match self {
            Self::Rv32 => rv32::build(),
            Self::Xtensa => xtensa::build(),
        }
    }

    /// It reads the model from an SD card, block by block.
    pub fn has_card(self) -> bool {
        self == Self::Rv32
    }

    /// It can have the model in memory-mapped flash.
    pub fn has_flash(self) -> bool {
        self == Self::Rv32
    }
}

/// The boards named, or all that can be emulated here.
///
/// # Errors
/// Something is missing for a board that was named, or for every board.
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

/// A board with its firmware built and its card written: it can be booted again and again.
pub struct Machine {
    board: Board,
    /// The firmware, an ELF file.
    pub firmware: PathBuf,
    model: PathBuf,
    /// Its image; empty where the board has no card.
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

    /// With a firmware that is built already, and a card whose image is called `card`: machines with cards of different
    /// names do not disturb each other.
    ///
    /// # Errors
    /// The model cannot be read, or the card not be written.
    pub fn with_firmware(board: Board, firmware: PathBuf, model: &Path, card: &str) -> Result<Self> {
        if !model.is_file() {
            bail!("there is no model {}; `rillm convert` makes one", model.display());
        }
        let card = if board.has_card() { command::card(model, card)? } else { PathBuf::new() };
        Ok(Self::with_files(board, firmware, model.to_owned(), card))
    }

    /// With a model and a card's image that may be anything, or not be there.
    pub fn with_files(board: Board, firmware: PathBuf, model: PathBuf, card: PathBuf) -> Self {
        Self { board, firmware, model, card }
    }

    /// Switches the board on and waits for its prompt. `show` gets what it says until then.
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
    /// What the options' defaults are.
    fn default() -> Self {
        Self {
            source: Source::Card,
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
    /// What every board's firmware is told, as words.
    fn words(&self) -> Vec<String> {
        let mut words = vec![format!("psram={}", self.psram), format!("icount={}", u8::from(self.icount))];
        words.extend(self.ram.map(|bytes| format!("ram={bytes}")));
        words.extend(self.context.map(|n| format!("context={n}")));
        words.push(format!("check_every={}", self.check_every));
        words.push(format!("generic={}", u8::from(self.generic)));
        words
    }
}

/// Bytes: `65536`, `64K`, `4M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 10),
        None => text.strip_suffix(['M', 'm']).map_or((text, 0), |digits| (digits, 20)),
    };
    let number: u32 =
        digits.parse().map_err(|_| "it is no number of bytes; write it as 65536, 64K or 4M".to_owned())?;
    Ok(u64::from(number) << shift)
}
