//! Instructions as the measure of time: QEMU has no cycles.

/// Instructions executed so far, modulo 2^32.
///
/// They are exact and repeatable where QEMU counts (`-icount shift=0`); elsewhere this is the host's time.
pub fn instructions() -> u32 {
    riscv::register::minstret::read() as u32
}
