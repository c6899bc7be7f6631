//! Instructions as the unit of time, since QEMU does not count cycles.

/// Instructions executed so far, modulo 2^32.
///
/// They are exact and repeatable if QEMU counts instructions (`-icount shift=0`). Otherwise this is the host's time.
pub fn instructions() -> u32 {
    riscv::register::minstret::read() as u32
}
