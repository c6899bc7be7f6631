//! Lines that are typed, with an editor, or that come through a pipe.

use std::io::{self, BufRead, ErrorKind, IsTerminal, stdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::interrupt;

/// How soon a signal is noticed that comes while a line is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where lines come from. They are read by a thread of its own, so that a signal ends the wait for one.
pub struct Lines {
    wanted: Sender<()>,
    lines: Receiver<io::Result<Line>>,
    is_terminal: bool,
    #[cfg(unix)]
    mode: Option<nix::sys::termios::Termios>,
}

/// What comes next.
pub enum Line {
    /// A line, which a pipe may bring in any encoding.
    Text(Vec<u8>),
    /// What was typed is not UTF-8, and is lost.
    NotUtf8,
    /// There is no more: it was ended, or there were two Ctrl-C in a row.
    End,
}

impl Lines {
    /// Standard input.
    pub fn new() -> Result<Self> {
        let is_terminal = stdin().is_terminal();
        let (wanted, requests) = channel();
        let (found, lines) = channel();
        #[cfg(unix)]
        let mode = is_terminal.then(|| nix::sys::termios::tcgetattr(stdin()).ok()).flatten();
        thread::spawn(move || {
            let mut read = if is_terminal { typed() } else { Box::new(piped) };
            // Until nobody wants a line any more.
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

    /// Whether somebody types.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line; the end, too, where the program is interrupted meanwhile.
    pub fn next(&mut self) -> Result<Line> {
        // The thread is there as long as it is asked.
        let gone = || anyhow!("nobody reads standard input");
        self.wanted.send(()).map_err(|_| gone())?;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => return line.context("cannot read from standard input"),
                Err(RecvTimeoutError::Timeout) if interrupt::requested() => return Ok(Line::End),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }
}

#[cfg(unix)]
impl Drop for Lines {
    /// The editor may be in the middle of a line, and has the terminal in a mode of its own then.
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(mode) = &self.mode {
            // There is nothing to do about a terminal that has gone.
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, mode);
        }
    }
}

/// A line of a pipe or of a file.
fn piped() -> io::Result<Line> {
    let mut line = Vec::new();
    let len = stdin().lock().read_until(b'\n', &mut line)?;
    Ok(if len > 0 { Line::Text(line) } else { Line::End })
}

/// An editor for a terminal's lines.
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
                // The window's size has changed, or the program was stopped for a while.
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
