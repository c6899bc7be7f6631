//! Ctrl-C and termination signals, for commands that must finish or clean up.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Exit code after Ctrl-C, by the convention of shells: 128 plus the signal number.
const CTRL_C: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handlers. From here on the first Ctrl-C, and every termination signal, only sets a flag. A second
/// Ctrl-C ends the program.
pub fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(CTRL_C.into());
        }
    })
    .context("cannot watch for Ctrl-C")?;
    signals::watch().context("cannot watch for signals")
}

/// Whether Ctrl-C or a termination signal has arrived.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) || ended()
}

/// Whether a signal other than Ctrl-C has arrived: the program must end.
pub fn ended() -> bool {
    signals::received() != 0
}

/// Resets the Ctrl-C flag, after the work that it was meant for has ended.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// The exit code for the signal that has arrived.
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

    /// Whether SIGHUP is ignored, as under `nohup`. Only Linux reports this; elsewhere the signal counts.
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
