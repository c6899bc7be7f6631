//! Lines that are typed, with an editor, or that come through a pipe.

use std::io::{BufRead, IsTerminal, stdin};

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

/// Where lines come from.
pub enum Lines {
    /// A terminal.
    Typed(Box<Editor<(), MemHistory>>),
    /// A pipe or a file.
    Piped,
}

impl Lines {
    /// Standard input.
    pub fn new() -> Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self::Piped);
        }
        let config = Config::builder().auto_add_history(true).build();
        let editor = Editor::with_history(config, MemHistory::new()).context("cannot use this terminal")?;
        Ok(Self::Typed(Box::new(editor)))
    }

    /// Whether somebody types.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Typed(_))
    }

    /// The next line, which a pipe may bring in any encoding; none at the end, or after two Ctrl-C in a row.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let reading = "cannot read from standard input";
        let Self::Typed(editor) = self else {
            let mut line = Vec::new();
            let len = stdin().lock().read_until(b'\n', &mut line).context(reading)?;
            return Ok((len > 0).then_some(line));
        };
        let mut interrupted = false;
        loop {
            match editor.readline("> ") {
                Ok(line) => return Ok(Some(line.into_bytes())),
                Err(ReadlineError::Interrupted) if !interrupted => interrupted = true,
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error).context(reading),
            }
        }
    }
}
