//! What the commands print beside their results.

use std::io::{Write, stdout};

use console::style;

/// A text, on standard output.
pub fn text(bytes: &[u8]) {
    // Without a reader there is nobody to tell.
    let _ = stdout().write_all(bytes).and_then(|()| stdout().flush());
}

/// A line that is not the text.
pub fn note(line: &str) {
    eprintln!("{}", style(line).dim().for_stderr());
}

/// A board's words that are not the text, as they come.
pub fn words(words: &str) {
    eprint!("{}", style(words).dim().for_stderr());
}

/// What is left out, and why.
pub fn skipped(what: &str) {
    eprintln!("{} {what}", style("skipped").yellow().for_stderr());
}
