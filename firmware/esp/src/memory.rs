//! The chip's own memory: what is the engine's, and the stack.

use core::arch::asm;

use rillm_painted::Stack;
use static_cell::ConstStaticCell;

/// Bytes for the engine. The linker refuses what leaves the stack too little.
const FAST_LEN: usize = 144 << 10;

/// As DMA and caches like it.
#[repr(C, align(64))]
struct Aligned<T>(T);

static FAST: ConstStaticCell<Aligned<[u8; FAST_LEN]>> = ConstStaticCell::new(Aligned([0; FAST_LEN]));

unsafe extern "C" {
    /// Who writes to this word is stopped.
    static mut __stack_chk_guard: u32;
    static mut _stack_start: u32;
}

/// The engine's memory. To be called once.
pub fn fast() -> &'static mut [u8] {
    &mut FAST.take().0
}

/// The stack, of which what is not in use is painted.
pub fn stack() -> Stack {
    let pointer: usize;
    // SAFETY: reads a register.
    #[cfg(target_arch = "xtensa")]
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    // SAFETY: reads a register.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    let bottom = (&raw mut __stack_chk_guard).wrapping_add(1);
    // SAFETY: the linker has the stack there, above its guard.
    unsafe { Stack::paint(bottom, &raw const _stack_start, pointer) }
}
