//! Ctrl-C, and the signals that end a program, for commands that have something to finish or to tidy up.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// What a program exits with that Ctrl-C ended, by the shells' convention: 128, and the signal's number.
const CTRL_C: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C, and the signals that end a program, are only noted; a second Ctrl-C ends the program.
pub fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(CTRL_C.into());
        }
    })
    .context("cannot watch for Ctrl-C")?;
    signals::watch().context("cannot watch for signals")
}

/// There was a Ctrl-C, or a signal.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) || ended()
}

/// The program is to end: there was a signal other than Ctrl-C.
pub fn ended() -> bool {
    signals::received() != 0
}

/// Takes note of a Ctrl-C back: what it was to end has ended.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// What to exit with.
pub fn exit_code() -> u8 {
    match signals::received() {
        0 => CTRL_C,
        signal => 128 + signal,
    }
}

#[cfg(unix)]
mod signals {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, LazyLock};

    use signal_hook::consts::{SIGHUP, SIGTERM};
    use signal_hook::flag::register_usize;

    static RECEIVED: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

    pub fn watch() -> io::Result<()> {
        let signals: &[i32] = if ignores_hangup() { &[SIGTERM] } else { &[SIGTERM, SIGHUP] };
        for &signal in signals {
            register_usize(signal, RECEIVED.clone(), signal as usize)?;
        }
        Ok(())
    }

    pub fn received() -> u8 {
        RECEIVED.load(Ordering::Relaxed) as u8
    }

    /// `nohup` has a program ignore that its terminal goes away. Linux tells; where it is not known, the signal counts.
    fn ignores_hangup() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (SIGHUP - 1) & 1 == 1
    }
}

#[cfg(not(unix))]
mod signals {
    pub fn watch() -> std::io::Result<()> {
        Ok(())
    }

    pub fn received() -> u8 {
        0
    }
}
