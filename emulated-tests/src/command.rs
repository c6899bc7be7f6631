//! The `rillm` command: makes models and cards for emulated boards, and generates texts to compare with theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rillm_firmware_builder::root;
use serde_json::Value;

/// Writes a card image with `model` on it and returns its path. `name` is the name of the image.
///
/// # Errors
/// `rillm card` fails, or the image cannot be written.
pub fn card(model: &Path, name: &str) -> Result<PathBuf> {
    let image = directory()?.join(name).with_extension("img");
    rillm(&["card".as_ref(), model, "--out".as_ref(), &image])?;
    Ok(image)
}

/// Converts the checkpoint in the directory `checkpoint` with these options of `rillm convert`, and returns the path of
/// the model.
///
/// # Errors
/// `rillm convert` fails.
pub fn convert(checkpoint: &Path, name: &str, options: &[&str]) -> Result<PathBuf> {
    let model = directory()?.join(name.replace(' ', "-")).with_extension("rillm");
    let options = options.iter().map(Path::new);
    rillm(&["convert".as_ref(), checkpoint, &model].into_iter().chain(options).collect::<Vec<_>>())?;
    Ok(model)
}

/// Continues `prompt` greedily, with these options of `rillm run`, and returns the prompt and the text.
///
/// # Errors
/// `rillm run` fails.
pub fn text(prompt: &str, options: &[&str]) -> Result<String> {
    let arguments = ["run", "--temperature", "0", "--prompt", prompt].into_iter().chain(options.iter().copied());
    let text = rillm(&arguments.map(Path::new).collect::<Vec<_>>())?;
    String::from_utf8(text).context("`rillm run` writes no UTF-8")
}

/// The likelihood of each of `texts` after `prompt`: the object that `rillm choose --json` prints.
///
/// # Errors
/// `rillm choose` fails.
pub fn choose(prompt: &str, texts: &[&str]) -> Result<Value> {
    let options = texts.iter().flat_map(|text| ["--option", text]);
    let arguments: Vec<&Path> =
        ["choose", "--json", "--prompt", prompt].into_iter().chain(options).map(Path::new).collect();
    serde_json::from_slice(&rillm(&arguments)?).context("`rillm choose` writes no JSON")
}

fn directory() -> Result<PathBuf> {
    let dir = root().join("target/emulate");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Runs the `rillm` command and returns its standard output.
fn rillm(arguments: &[&Path]) -> Result<Vec<u8>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--release", "--package", "rillm-cli", "--"]).args(arguments);
    let output = cargo.stderr(Stdio::inherit()).current_dir(root()).output().context("cannot start cargo")?;
    if !output.status.success() {
        let words: Vec<_> = arguments.iter().map(|word| word.display().to_string()).collect();
        bail!("`rillm {}` failed", words.join(" "));
    }
    Ok(output.stdout)
}
