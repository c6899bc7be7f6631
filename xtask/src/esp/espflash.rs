//! Images, flashing and the serial monitor, by espflash.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rillm_boards::BoardSpec;
use rillm_flash_image::FlashImage;

use super::firmware::{Firmware, chip};

/// Name of the program.
const ESPFLASH: &str = "espflash";
/// The default of esptool, which the USB bridges of all these boards support. espflash's default takes four times as
/// long.
const BAUD: u32 = 460_800;

/// The serial port.
#[derive(Clone, Debug, clap::Args)]
pub struct Line {
    /// The serial port, such as /dev/ttyUSB0 or COM3; without it, espflash finds it or asks
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
}

/// The speed of writing the flash.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Speed {
    /// Baud rate for writing the flash; lower it if writing fails
    #[arg(long, value_name = "N", default_value_t = BAUD)]
    baud: u32,
}

/// Checks that espflash is installed.
///
/// # Errors
/// It is missing. The error says how to install it.
pub fn look() -> Result<()> {
    let mut espflash = Command::new(ESPFLASH);
    if espflash.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return Ok(());
    }
    bail!("espflash is not installed; `cargo install espflash --locked` does that, in a few minutes")
}

/// Writes `elf` with bootloader and partition table to `image`, which belongs at address 0 of the flash, and in which another
/// model can take the place of the one that was built in.
///
/// # Errors
/// espflash is missing or fails.
pub fn save_image(firmware: &Firmware, elf: &Path, image: &Path) -> Result<()> {
    look()?;
    let mut espflash = command("save-image", firmware.board);
    espflash.args(["--merge", "--skip-padding"]).args(firmware.flash_options()).arg(elf).arg(image);
    let output = espflash.output().context("cannot start espflash")?;
    if !output.status.success() {
        bail!("espflash makes no image of {}: {}", elf.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let parsed = FlashImage::parse(&bytes).with_context(|| format!("in {}", image.display()))?;
    let same = parsed.with_model(parsed.model())? == bytes;
    ensure!(same, "rillm-flash-image lays {} out in another way than espflash does", image.display());
    let (most, planned) = (parsed.longest_model(), firmware.board.flash_model_len());
    ensure!(
        most >= planned,
        "the flash has room for a model of {most} bytes, and `rillm plan` calculates with {planned}"
    );
    Ok(())
}

/// Writes `elf` to the board's flash.
///
/// # Errors
/// espflash cannot be started.
pub fn flash(firmware: &Firmware, line: &Line, speed: Speed, elf: &Path, monitor: bool) -> Result<ExitCode> {
    let mut espflash = command("flash", firmware.board);
    espflash.args(["--baud", &speed.baud.to_string()]).args(firmware.flash_options());
    if monitor {
        espflash.arg("--monitor");
    }
    hand_over(espflash, line, Some(elf))
}

/// Shows the board's output and sends typed input.
///
/// # Errors
/// espflash cannot be started.
pub fn monitor(board: &BoardSpec, line: &Line) -> Result<ExitCode> {
    look()?;
    hand_over(command("monitor", board), line, None)
}

fn command(what: &str, board: &BoardSpec) -> Command {
    let mut espflash = Command::new(ESPFLASH);
    espflash.args([what, "--skip-update-check", "--chip", &chip(board)]);
    espflash
}

/// Runs espflash with the terminal until it ends.
fn hand_over(mut espflash: Command, line: &Line, file: Option<&Path>) -> Result<ExitCode> {
    if let Some(port) = &line.port {
        espflash.args(["--port", port]);
    }
    let status = espflash.args(file).status().context("cannot start espflash")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
