//! Images of several boards with a manifest, for the page and for releases.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use rillm_boards::{ALL, BoardSpec};
use rillm_firmware_builder::root;
use rillm_flash_image::FlashImage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::espflash;
use super::firmware::{BoardParser, Firmware};

/// The options of `image`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A board, for example esp32-cam; may be given several times. `list` prints all boards
    #[arg(long, value_name = "BOARD", value_parser = BoardParser, required_unless_present = "all")]
    board: Vec<&'static BoardSpec>,
    /// All boards
    #[arg(long, conflicts_with = "board")]
    all: bool,
}

/// Builds the boards' firmware with the bundled model, and writes images and manifest to `target/esp/images`. Images that are
/// there already are replaced.
///
/// # Errors
/// A compiler or espflash is missing or fails.
pub fn run(args: &Args) -> Result<ExitCode> {
    espflash::look()?;
    let boards = if args.all { &ALL[..] } else { &args.board };
    let dir = root().join("target/esp/images");
    let made = dir.with_extension("new");
    // Complete or as it was.
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot remove {}", made.display()))?;
    }
    fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    let images = boards.iter().map(|board| image(board, &made)).collect::<Result<Vec<_>>>()?;
    let manifest = json!({ "version": env!("CARGO_PKG_VERSION"), "images": images });
    fs::write(made.join("manifest.json"), format!("{manifest:#}\n"))
        .context("cannot write the manifest of the images")?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::rename(&made, &dir).with_context(|| format!("cannot make {}", dir.display()))?;
    println!("{}", dir.join("manifest.json").display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the image of a board. Returns its entry of the manifest, whose `chipFamily` and `parts` are those of ESP Web Tools.
fn image(board: &'static BoardSpec, dir: &Path) -> Result<Value> {
    let firmware = Firmware { board, model: None, flash_freq: None, bootloader: None, one_core: false };
    let elf = firmware.build()?;
    let name = format!("rillm-{}-{}.bin", env!("CARGO_PKG_VERSION"), board.id);
    let path = dir.join(&name);
    espflash::save_image(&firmware, &elf, &path)?;
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let flash = FlashImage::parse(&bytes)?;
    let model =
        json!({ "bytes": flash.model().len(), "longest": flash.longest_model(), "sha256": sha256(flash.model()) });
    println!("{:>9} bytes  {name}", bytes.len());
    Ok(entry(board, &name, bytes.len(), &sha256(&bytes), model))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(board: &BoardSpec, file: &str, len: usize, sha256: &str, model: Value) -> Value {
    json!({
        "board": board.id,
        "name": board.name,
        "chipFamily": board.chip.name,
        "flash": board.flash,
        "bytes": len,
        "sha256": sha256,
        "model": model,
        "parts": [{ "path": file, "offset": 0 }],
    })
}
