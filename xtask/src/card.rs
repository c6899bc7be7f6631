//! Card images for emulated boards, made by the `rillm` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::root;

/// Writes an SD card's image with `model` on it and returns its path.
///
/// # Errors
/// `rillm card` fails, or the image cannot be written.
pub fn image(model: &Path) -> Result<PathBuf> {
    let dir = root().join("target/emulate");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let image = dir.join("card.img");
    let status = Command::new("cargo")
        .args(["run", "--release", "--package", "rillm-cli", "--", "card"])
        .arg(model)
        .arg("--out")
        .arg(&image)
        .stdout(Stdio::null())
        .current_dir(root())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("`rillm card` made no card of {}", model.display());
    }
    Ok(image)
}
