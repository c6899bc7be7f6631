//! `cargo xtask esp`: firmware for ESP32 boards.

mod espflash;
mod firmware;
mod image;
mod size;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use console::style;
use emulated_tests::simulate;
use rillm_boards::BoardSpec;
use rillm_firmware_builder::root;
use serde_json::json;

use self::espflash::{Line, Speed};
pub use self::firmware::target;
use self::firmware::{BoardParser, Firmware};
use self::size::Size;

/// The tasks for ESP32 boards.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Task {
    /// Build a board's firmware: an ELF file, and the image for the flash
    #[command(after_help = "Examples:
  cargo xtask esp build --board esp32-cam
  # With your own model in flash
  cargo xtask esp build --board esp32-s3-devkitc --model my-model.rillm")]
    Build(Firmware),
    /// Build the firmware and write it to a board's flash
    #[command(after_help = "Examples:
  cargo xtask esp flash --board esp32-cam --monitor
  cargo xtask esp flash --board esp32-cam --port /dev/ttyUSB0 --baud 115200
  # A board that does not start with its flash at 80 MHz
  cargo xtask esp flash --board esp32-cam --flash-freq 40mhz

An ESP32-CAM has no USB. With a USB-serial adapter, connect GPIO0 to GND while the board is switched on or reset, and disconnect it
afterwards. docs/boards has the wiring.")]
    Flash(Flash),
    /// Show a board's output and send typed input; Ctrl-X ends a text, Ctrl-R resets the board, Ctrl-C ends the monitor
    Monitor(Monitor),
    /// Build boards' firmware as images for the page and for releases, with a manifest
    #[command(after_help = "Examples:
  cargo xtask esp image --all
  cargo xtask esp image --board esp32-c3 --board esp32-c6

target/esp/images has the images, each with bootloader, partition table and the bundled model, and manifest.json with chip, flash
size, SHA-256 and the version of rillm. An image belongs at address 0: `espflash write-bin 0x0 IMAGE`.")]
    Image(image::Args),
    /// Build the firmware and report its use of flash and RAM
    Size(SizeArgs),
    /// Boot the firmware in a simulated ESP32, and prove that it computes the same as this computer
    Simulate(simulate::Args),
}

/// The options of `flash`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flash {
    #[command(flatten)]
    firmware: Firmware,
    #[command(flatten)]
    line: Line,
    #[command(flatten)]
    speed: Speed,
    /// Show the board's output afterwards
    #[arg(long)]
    monitor: bool,
}

/// The options of `monitor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Monitor {
    /// The board, for example esp32-cam; `list` prints all boards
    #[arg(long, value_name = "BOARD", value_parser = BoardParser)]
    board: &'static BoardSpec,
    #[command(flatten)]
    line: Line,
}

/// The options of `size`.
#[derive(Clone, Debug, clap::Args)]
pub struct SizeArgs {
    #[command(flatten)]
    firmware: Firmware,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the task.
///
/// # Errors
/// A tool to build or flash with is missing or fails.
pub fn run(task: &Task) -> Result<ExitCode> {
    match task {
        Task::Build(firmware) => build(firmware),
        Task::Flash(args) => {
            espflash::look()?;
            let elf = args.firmware.build()?;
            espflash::flash(&args.firmware, &args.line, args.speed, &elf, args.monitor)
        }
        Task::Monitor(args) => espflash::monitor(args.board, &args.line),
        Task::Image(args) => image::run(args),
        Task::Size(args) => tell_size(args),
        Task::Simulate(args) => simulate::run(args),
    }
}

fn build(firmware: &Firmware) -> Result<ExitCode> {
    let elf = firmware.build()?;
    print!("{}", Size::of(&elf)?);
    println!("\nELF file: {}", elf.display());
    let image = write_image(firmware, &elf)?;
    println!("image:    {}", image.display());
    let id = firmware.board.id;
    let hint = format!("`cargo xtask esp flash --board {id} --monitor` writes it into the board");
    eprintln!("{}", style(hint).dim().for_stderr());
    Ok(ExitCode::SUCCESS)
}

fn tell_size(args: &SizeArgs) -> Result<ExitCode> {
    let elf = args.firmware.build()?;
    let image = fs::metadata(write_image(&args.firmware, &elf)?)?.len();
    let size = Size { image: Some(image), ..Size::of(&elf)? };
    if args.json {
        let json = json!({ "board": args.firmware.board.id, "size": size.json() });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        print!("{size}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the image for the flash.
fn write_image(firmware: &Firmware, elf: &Path) -> Result<PathBuf> {
    let dir = root().join("target/esp");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let image = dir.join(firmware.board.id).with_extension("bin");
    espflash::save_image(firmware, elf, &image)?;
    Ok(image)
}
