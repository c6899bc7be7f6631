//! Texts in files or on standard input.

use std::io::{IsTerminal, Read, stdin};
use std::path::Path;

use anyhow::{Context, Result};

use crate::{files, say};

/// The whole text of a file, or of standard input if it is named `-`.
pub fn read(path: &Path) -> Result<String> {
    if !files::is_dash(path) {
        return std::fs::read_to_string(path).with_context(|| format!("cannot read the text {}", path.display()));
    }
    read_stdin("text")
}

/// The whole of standard input, which is `what`. On a terminal it says that it reads.
pub fn read_stdin(what: &str) -> Result<String> {
    if stdin().is_terminal() {
        say::line(format!("reading the {what} from standard input, Ctrl-D ends"));
    }
    let mut text = String::new();
    let read = stdin().read_to_string(&mut text);
    read.with_context(|| format!("cannot read the {what} from standard input as UTF-8"))?;
    Ok(text)
}

/// The prompt on standard input, without the ends of lines after it.
pub fn read_prompt() -> Result<String> {
    let mut prompt = read_stdin("prompt")?;
    prompt.truncate(prompt.trim_end_matches(['\r', '\n']).len());
    Ok(prompt)
}
