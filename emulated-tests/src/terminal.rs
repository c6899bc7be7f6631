//! The terminal in raw mode, for the console of a board, which echoes and edits itself.

use std::io::{IsTerminal, stdin};
use std::process::{Command, Stdio};

/// A terminal that passes on keys one by one. Dropping it restores the previous mode.
pub struct Keys {
    before: String,
}

impl Keys {
    /// Switches the mode. None if standard input is not a terminal, or there is no `stty`: then lines are passed on as
    /// typed. Ctrl-C remains a signal.
    pub fn new() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let before = stty(&["-g"])?.trim().to_owned();
        stty(&["-icanon", "-echo", "min", "1"])?;
        Some(Self { before })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Nothing can be done if the terminal is gone.
        stty(&[&self.before]);
    }
}

/// Runs `stty` on standard input. None if it fails.
fn stty(arguments: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(arguments).stdin(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
