//! What the `rillm` command makes for emulated boards: models, and cards with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rillm_firmware_builder::root;

/// Writes an SD card's image of this name with `model` on it and returns its path.
///
/// # Errors
/// `rillm card` fails, or the image cannot be written.
pub fn image(model: &Path, name: &str) -> Result<PathBuf> {
    let image = directory()?.join(name).with_extension("img");
    rillm(&["card".as_ref(), model, "--out".as_ref(), &image])?;
    Ok(image)
}

/// Converts the checkpoint in the directory `checkpoint` and returns the model's path.
///
/// # Errors
/// `rillm convert` fails.
pub fn convert(checkpoint: &Path, name: &str) -> Result<PathBuf> {
    let model = directory()?.join(name).with_extension("rillm");
    rillm(&["convert".as_ref(), checkpoint, &model])?;
    Ok(model)
}

fn directory() -> Result<PathBuf> {
    let dir = root().join("target/emulate");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Runs the `rillm` command.
fn rillm(arguments: &[&Path]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--release", "--package", "rillm-cli", "--"]).args(arguments);
    // Standard output is the command's own.
    let status = cargo.stdout(Stdio::null()).current_dir(root()).status().context("cannot start cargo")?;
    if !status.success() {
        let words: Vec<_> = arguments.iter().map(|word| word.display().to_string()).collect();
        bail!("`rillm {}` failed", words.join(" "));
    }
    Ok(())
}
