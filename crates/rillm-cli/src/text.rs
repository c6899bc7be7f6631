//! Texts in files or on standard input.

use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, Result};

use crate::files;

/// The whole text of a file, or of standard input if it is named `-`.
pub fn read(path: &Path) -> Result<String> {
    if !files::is_dash(path) {
        return std::fs::read_to_string(path).with_context(|| format!("cannot read the text {}", path.display()));
    }
    let mut text = String::new();
    stdin().read_to_string(&mut text).context("cannot read the text from standard input as UTF-8")?;
    Ok(text)
}
