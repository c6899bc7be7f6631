//! Input lines, from a line editor on a terminal or from a pipe.

use std::io::{self, BufRead, ErrorKind, IsTerminal, stdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::interrupt;

/// Polling interval for signals while waiting for a line.
const PATIENCE: Duration = Duration::from_millis(50);

/// A source of lines. A separate thread reads them, so that a signal can end the wait.
pub struct Lines {
    wanted: Sender<()>,
    lines: Receiver<io::Result<Line>>,
    is_terminal: bool,
    #[cfg(unix)]
    mode: Option<nix::sys::termios::Termios>,
}

/// The result of reading a line.
pub enum Line {
    /// A line. A pipe may deliver any encoding.
    Text(Vec<u8>),
    /// Typed bytes that are not UTF-8. They are lost.
    NotUtf8,
    /// The end of the input, or two Ctrl-C in a row.
    End,
}

impl Lines {
    /// Reads standard input.
    pub fn new() -> Result<Self> {
        let is_terminal = stdin().is_terminal();
        let (wanted, requests) = channel();
        let (found, lines) = channel();
        #[cfg(unix)]
        let mode = is_terminal.then(|| nix::sys::termios::tcgetattr(stdin()).ok()).flatten();
        thread::spawn(move || {
            let mut read = if is_terminal { typed() } else { Box::new(piped) };
            // Until the receiver is dropped.
            while requests.recv().is_ok() && found.send(read()).is_ok() {}
        });
        Ok(Self {
            wanted,
            lines,
            is_terminal,
            #[cfg(unix)]
            mode,
        })
    }

    /// Whether standard input is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line. Returns the end, too, if a signal arrives meanwhile.
    pub fn next(&mut self) -> Result<Line> {
        self.next_while(|| Ok(()))
    }

    /// Like [`next`](Self::next), and calls `work` time and again while it waits.
    pub fn next_while(&mut self, mut work: impl FnMut() -> Result<()>) -> Result<Line> {
        // The thread lives as long as requests can arrive.
        let gone = || anyhow!("nobody reads standard input");
        self.wanted.send(()).map_err(|_| gone())?;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => return line.context("cannot read from standard input"),
                Err(RecvTimeoutError::Timeout) if interrupt::requested() => return Ok(Line::End),
                Err(RecvTimeoutError::Timeout) => work()?,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }
}

#[cfg(unix)]
impl Drop for Lines {
    /// Restores the terminal's mode: the editor may be in the middle of a line, in a mode of its own.
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(mode) = &self.mode {
            // Nothing can be done if the terminal is gone.
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, mode);
        }
    }
}

/// Reads a line from a pipe or a file.
fn piped() -> io::Result<Line> {
    let mut line = Vec::new();
    let len = stdin().lock().read_until(b'\n', &mut line)?;
    Ok(if len > 0 { Line::Text(line) } else { Line::End })
}

/// A reader of lines with an editor, for a terminal.
fn typed() -> Box<dyn FnMut() -> io::Result<Line>> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Result<Editor<(), _>, _> = Editor::with_history(config, MemHistory::new());
    Box::new(move || {
        let editor = editor.as_mut().map_err(|error| io::Error::other(format!("no use of this terminal: {error}")))?;
        let mut interrupted = false;
        loop {
            return match editor.readline("> ") {
                Ok(line) => Ok(Line::Text(line.into_bytes())),
                Err(ReadlineError::Interrupted) if !interrupted => {
                    interrupted = true;
                    continue;
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(Line::End),
                // The window was resized, or the program was suspended.
                Err(ReadlineError::Signal(_)) => continue,
                #[cfg(windows)]
                Err(ReadlineError::Decode(_)) => Ok(Line::NotUtf8),
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => Ok(Line::NotUtf8),
                Err(ReadlineError::Io(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            };
        }
    })
}
