//! The clock for measurements.

use esp_hal::clock::cpu_clock;
use rillm_console::Clock;
use rillm_generate::Unit;

use crate::platform;

/// Binary logarithm of the cycles of a tick. At 240 MHz, a counter of 32 bits then wraps after 75 minutes.
const CYCLES_LOG2: u32 = 8;

/// The clock for the console.
pub fn clock() -> Clock {
    Clock { ticks, unit: Unit::Time { per_second: cpu_clock().as_hz() >> CYCLES_LOG2 } }
}

fn ticks() -> u32 {
    platform::enter();
    (cycles() >> CYCLES_LOG2) as u32
}

/// Cycles of this core since reset. Must be called at least once in 2^32 cycles, and on one core only.
#[cfg(target_arch = "xtensa")]
pub fn cycles() -> u64 {
    use core::arch::asm;
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static LAST: AtomicU32 = AtomicU32::new(0);
    static ROUNDS: AtomicU32 = AtomicU32::new(0);

    let low: u32;
    // SAFETY: reads a register.
    unsafe { asm!("rsr {}, ccount", out(reg) low, options(nomem, nostack)) };
    let mut rounds = ROUNDS.load(Relaxed);
    if low < LAST.load(Relaxed) {
        rounds = rounds.wrapping_add(1);
        ROUNDS.store(rounds, Relaxed);
    }
    LAST.store(low, Relaxed);
    u64::from(rounds) << u32::BITS | u64::from(low)
}

/// Cycles of this core since reset, from a timer in microseconds: programs on these cores cannot read a cycle counter.
#[cfg(target_arch = "riscv32")]
pub fn cycles() -> u64 {
    esp_hal::time::Instant::now().duration_since_epoch().as_micros() * u64::from(cpu_clock().as_mhz())
}
