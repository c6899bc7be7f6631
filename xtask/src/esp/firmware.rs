//! Builds a board's firmware: selects compiler, example and model.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::{Command, exit};

use anyhow::{Result, bail};
use clap::ValueEnum;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use rillm_boards::{ALL, BoardSpec};
use rillm_firmware_builder::{esp, toolchain};

/// A board and the options of its firmware.
#[derive(Clone, Debug, clap::Args)]
pub struct Firmware {
    /// The board, for example esp32-cam; `list` prints all boards
    #[arg(long, value_name = "BOARD", value_parser = BoardParser)]
    pub board: &'static BoardSpec,
    /// A .rillm file for the flash, in place of the bundled model
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Clock of the flash; take 40mhz for a flash that does not start at 80 MHz. Without it, what `rillm plan` calculates
    /// with
    #[arg(long, value_enum, value_name = "FREQ")]
    pub flash_freq: Option<FlashFreq>,
    /// A bootloader of ESP-IDF in place of espflash's: one that was built for QIO reads the flash over four lines
    #[arg(long, value_name = "FILE")]
    pub bootloader: Option<PathBuf>,
    /// Leave the second core free for your own program
    #[arg(long)]
    pub one_core: bool,
}

/// A clock of the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FlashFreq {
    /// 20 MHz
    #[value(name = "20mhz")]
    Mhz20,
    /// 26 MHz
    #[value(name = "26mhz")]
    Mhz26,
    /// 40 MHz
    #[value(name = "40mhz")]
    Mhz40,
    /// 80 MHz
    #[value(name = "80mhz")]
    Mhz80,
}

impl Firmware {
    /// espflash's options about the flash: its length, its clock, and the bootloader.
    pub fn flash_options(&self) -> Vec<OsString> {
        let frequency = match self.flash_freq.and_then(|freq| freq.to_possible_value()) {
            Some(value) => value.get_name().to_owned(),
            None => format!("{}mhz", self.board.chip.flash_mode.mhz),
        };
        let size = format!("{}mb", self.board.flash >> 20);
        let options = ["--flash-size", &size, "--flash-freq", &frequency].map(OsString::from);
        let bootloader = self.bootloader.iter().flat_map(|path| ["--bootloader".into(), path.clone().into()]);
        options.into_iter().chain(bootloader).collect()
    }

    /// Builds the firmware and returns the path of its ELF file.
    ///
    /// # Errors
    /// A compiler is missing, the model is invalid or too long for the board's flash, or the firmware does not build.
    pub fn build(&self) -> Result<PathBuf> {
        let features = if self.one_core { &["one-core"][..] } else { &[] };
        let mut cargo = self.cargo(features)?;
        cargo.env_remove("RILLM_MODEL");
        if let Some(model) = self.checked_model()? {
            cargo.env("RILLM_MODEL", model);
        }
        toolchain::build(cargo, &esp::dir())
    }

    /// The cargo command that builds the firmware, with additional features of the package.
    fn cargo(&self, features: &[&str]) -> Result<Command> {
        let chip = chip(self.board);
        let mut cargo = esp::cargo(target(&chip), &[])?;
        let features: Vec<&str> = [chip.as_str()].into_iter().chain(features.iter().copied()).collect();
        cargo.args(["--example", self.board.id, "--features", &features.join(",")]);
        // Configuration for this chip only.
        let own = format!(".cargo/{chip}.toml");
        if esp::dir().join(&own).is_file() {
            cargo.args(["--config", &own]);
        }
        Ok(cargo)
    }

    /// The absolute path of the model, after a check.
    fn checked_model(&self) -> Result<Option<PathBuf>> {
        let Some(model) = &self.model else { return Ok(None) };
        let path = model.display();
        let Ok(file) = model.metadata() else { bail!("there is no model {path}; `rillm convert` makes one") };
        let most = self.board.flash_model_len() as u64;
        if file.len() > most {
            let (len, name) = (file.len(), self.board.name);
            bail!("{path} has {len} bytes, and the flash of {name} room for {most}; put it on a card instead");
        }
        Ok(Some(env::current_dir()?.join(model)))
    }
}

/// Parses the name of a board. `list` prints all names and ends the program.
#[derive(Clone)]
pub struct BoardParser;

impl TypedValueParser for BoardParser {
    type Value = &'static BoardSpec;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let id = value.to_string_lossy();
        if let Some(board) = BoardSpec::named(&id) {
            return Ok(board);
        }
        if id == "list" {
            // clap would treat it as an error. A closed pipe is not an error.
            let _ = write!(stdout(), "{}", boards());
            exit(0);
        }
        let message = format!("there is no board {id}; the boards are\n{}", boards());
        Err(clap::Error::raw(ErrorKind::InvalidValue, message).with_cmd(command))
    }
}

/// The list of boards, one in each line.
fn boards() -> String {
    ALL.iter().map(|board| format!("  {:<20} {}\n", board.id, board.name)).collect()
}

/// The chip of a board, as espflash and the features of the package name it: `esp32s3`.
pub fn chip(board: &BoardSpec) -> String {
    board.chip.name.to_lowercase().replace('-', "")
}

/// The target of a chip, as rustc names it.
pub fn target(chip: &str) -> &'static str {
    match chip {
        "esp32" => "xtensa-esp32-none-elf",
        "esp32s3" => "xtensa-esp32s3-none-elf",
        "esp32c3" => "riscv32imc-unknown-none-elf",
        "esp32c6" => "riscv32imac-unknown-none-elf",
        _ => "riscv32imafc-unknown-none-elf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_board_is_told_the_known_ones() {
        let parse = |id: &str| BoardParser.parse_ref(&clap::Command::new("test"), None, OsStr::new(id));
        let told = parse("esp8266").expect_err("no board");
        assert_eq!(told.exit_code(), 2);
        assert!(told.to_string().lines().any(|line| line.starts_with("  esp32-cam ")), "{told}");
        assert_eq!(parse("esp32-cam").map(chip).ok().as_deref(), Some("esp32"));
    }

    #[test]
    fn the_flash_is_as_fast_as_the_plan_says_unless_told_otherwise() {
        let options = |board: &'static BoardSpec, flash_freq, bootloader: Option<&str>| {
            let bootloader = bootloader.map(PathBuf::from);
            let firmware = Firmware { board, model: None, flash_freq, bootloader, one_core: false };
            firmware.flash_options().join(OsStr::new(" "))
        };
        assert_eq!(options(&rillm_boards::ESP32_CAM, None, None), "--flash-size 4mb --flash-freq 80mhz");
        assert_eq!(options(&rillm_boards::ESP32_C6_SPI, None, None), "--flash-size 4mb --flash-freq 40mhz");
        let told = options(&rillm_boards::ESP32_S3_DEVKITC, Some(FlashFreq::Mhz40), Some("qio.bin"));
        assert_eq!(told, "--flash-size 16mb --flash-freq 40mhz --bootloader qio.bin");
    }

    #[test]
    fn every_board_has_an_example() {
        for board in ALL {
            let example = esp::dir().join("examples").join(board.id).with_extension("rs");
            assert!(example.is_file(), "{}", example.display());
        }
    }
}
