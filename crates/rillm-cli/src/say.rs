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
    line(format_args!("{} {error:#}", style("error:").red().bold().for_stderr()));
}
