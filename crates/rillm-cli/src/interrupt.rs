//! Ctrl-C, for commands that have something to finish or to tidy up.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// What a program exits with that a signal ended, by the shells' convention.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C is only noted; the second one ends the program.
pub fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
    })
    .context("cannot watch for Ctrl-C")
}

/// There was a Ctrl-C.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Takes note of a Ctrl-C back: what it was to end has ended.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}
