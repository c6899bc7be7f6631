//! Instructions as the measure of time: QEMU has no cycles.

use core::arch::asm;

/// Where QEMU counts an instruction as a nanosecond (`-icount shift=0`), the counter's 10 MHz are one tick in so many.
const INSTRUCTIONS_A_TICK: u32 = 100;

/// Instructions executed so far, in hundreds, modulo 2^32.
///
/// They are repeatable where QEMU counts; elsewhere this is the host's time.
pub fn instructions() -> u32 {
    let ticks: u32;
    // SAFETY: reads a register.
    unsafe { asm!("rsr {}, ccount", out(reg) ticks, options(nomem, nostack)) };
    ticks.wrapping_mul(INSTRUCTIONS_A_TICK)
}
