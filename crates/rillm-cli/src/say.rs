//! Standard output and standard error. A write may fail because the disk is full or a pipe is closed; it must not
//! panic.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write, stderr, stdout};

use console::style;

/// Standard output. Its errors name it, so that they are not taken for errors of a file.
pub struct Out(StdoutLock<'static>);

/// Locks standard output.
pub fn out() -> Out {
    Out(stdout().lock())
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

/// Marks an error as one of standard output.
pub fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

/// Prints a line on standard error. A failure is ignored: these lines are for people and affect neither the output nor
/// the exit code.
pub fn line(text: impl Display) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Prints a note, which is not part of the output.
pub fn note(text: impl Display) {
    line(style(text).dim().for_stderr());
}

/// Prints an error.
pub fn error(error: &anyhow::Error) {
    line(format_args!("{} {}", style("error:").red().bold().for_stderr(), causes(error)));
}

/// An error and its causes, but for those that the error before them already quotes.
pub fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text.push_str(&cause);
        } else if before != cause && !before.contains(&format!(": {cause}")) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        before = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_that_is_quoted_is_not_repeated() {
        let read = || rillm::Error::Source(io::Error::other("the disk is gone"));
        assert_eq!(causes(&read().into()), "cannot read the model: the disk is gone");
        let error = Err::<(), _>(read()).context("in the bundled model").unwrap_err();
        assert_eq!(causes(&error), "in the bundled model: cannot read the model: the disk is gone");
        assert_eq!(causes(&anyhow::anyhow!("no").context("not now")), "not now: no");
        assert_eq!(causes(&anyhow::anyhow!("no").context("no")), "no");
    }
}
