//! Ctrl-C: the first one is passed to the board, the second one ends the emulation.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Installs the handler. From here on a Ctrl-C is only counted.
pub fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        COUNT.fetch_add(1, Ordering::Relaxed);
    })
    .context("cannot watch for Ctrl-C")
}

/// The number of Ctrl-C so far.
pub fn count() -> u32 {
    COUNT.load(Ordering::Relaxed)
}
