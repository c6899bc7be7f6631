//! Instructions as the unit of time, since QEMU does not count cycles.

use core::arch::asm;

/// Instructions for each tick of the 10 MHz counter, if QEMU counts an instruction as a nanosecond (`-icount shift=0`).
const INSTRUCTIONS_A_TICK: u32 = 100;

/// Instructions executed so far, in multiples of 100, modulo 2^32.
///
/// They are repeatable if QEMU counts instructions. Otherwise this is the host's time.
pub fn instructions() -> u32 {
    let ticks: u32;
    // SAFETY: reads a register.
    unsafe { asm!("rsr {}, ccount", out(reg) ticks, options(nomem, nostack)) };
    ticks.wrapping_mul(INSTRUCTIONS_A_TICK)
}
