//! Output of the commands besides their results.

use std::io::{Write, stdout};

use console::style;

/// Prints text on standard output.
pub fn text(bytes: &[u8]) {
    // A closed pipe is ignored.
    let _ = stdout().write_all(bytes).and_then(|()| stdout().flush());
}

/// Prints a line on standard error, apart from the text.
pub fn note(line: &str) {
    eprintln!("{}", style(line).dim().for_stderr());
}

/// Prints console output of a board that is not the text.
pub fn words(words: &str) {
    eprint!("{}", style(words).dim().for_stderr());
}

/// Prints what is skipped, and why.
pub fn skipped(what: &str) {
    eprintln!("{} {what}", style("skipped").yellow().for_stderr());
}
