//! Instructions as the measure of time: QEMU has no cycles.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The counter counts at 10 MHz, and `-icount shift=10` gives each instruction 1,024 ns.
const INSTRUCTIONS: u64 = 100;
const TICKS: u64 = 1024;

/// Instructions executed so far, modulo 2^32.
///
/// They are exact and repeatable where QEMU counts (`-icount shift=10`); elsewhere this is the host's time. The counter must
/// not go round between two calls: it does every 419 million instructions.
pub fn instructions() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    /// Ticks, a hundredfold, that make no whole instruction yet.
    static REST: AtomicU32 = AtomicU32::new(0);
    static TOTAL: AtomicU32 = AtomicU32::new(0);

    let now: u32;
    // SAFETY: reads a register.
    unsafe { asm!("rsr {}, ccount", out(reg) now, options(nomem, nostack)) };
    let ticks = now.wrapping_sub(LAST.load(Relaxed));
    let hundredths = u64::from(ticks) * INSTRUCTIONS + u64::from(REST.load(Relaxed));
    let total = TOTAL.load(Relaxed).wrapping_add((hundredths / TICKS) as u32);
    LAST.store(now, Relaxed);
    REST.store((hundredths % TICKS) as u32, Relaxed);
    TOTAL.store(total, Relaxed);
    total
}
