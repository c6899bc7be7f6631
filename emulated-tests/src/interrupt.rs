//! Ctrl-C: the first one is for the board, the second one ends the emulation.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// From here on a Ctrl-C is only counted.
pub fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        COUNT.fetch_add(1, Ordering::Relaxed);
    })
    .context("cannot watch for Ctrl-C")
}

/// How many Ctrl-Cs there were.
pub fn count() -> u32 {
    COUNT.load(Ordering::Relaxed)
}
