//! The terminal, handed over to a board's console, which echoes and edits by itself.

use std::io::{IsTerminal, stdin};
use std::process::{Command, Stdio};

/// A terminal whose keys go to the program one by one. It is as it was before when this is dropped.
pub struct Keys {
    before: String,
}

impl Keys {
    /// Takes the terminal over; none where standard input is none, or there is no `stty`: lines then come as they are typed.
    /// Ctrl-C stays a signal.
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
        // There is nothing to do about a terminal that has gone.
        stty(&[&self.before]);
    }
}

/// Runs `stty` on standard input; none where that fails.
fn stty(arguments: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(arguments).stdin(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
