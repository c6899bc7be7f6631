//! The chip's memories.

use core::arch::asm;
use core::ptr;

use rillm_emulated::{Arena, Stack};

const PSRAM: usize = 0x0080_0000;

/// More bytes than any stack frame has.
const FRAME_MAX: u32 = 64 << 10;

unsafe extern "C" {
    static mut _stack_end: u32;
    static mut _stack_start_cpu0: u32;
    static mut _heap_start: u32;
    static mut _sram_end: u32;
}

/// The stack, with its unused part filled with a pattern.
pub fn stack() -> Stack {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack)) };
    // SAFETY: the linker places the stack there, and there are no interrupts. The save area of the caller's registers
    // below the stack pointer is smaller than the margin.
    unsafe { Stack::paint(&raw mut _stack_end, &raw const _stack_start_cpu0, pointer) }
}

/// Whether an address is just below the stack, where a frame that overflows it lies.
pub fn is_below_stack(address: u32) -> bool {
    let bottom = (&raw const _stack_end).addr() as u32;
    (bottom - FRAME_MAX..bottom).contains(&address)
}

/// The SRAM beside stack and variables. Must be called only once.
pub fn sram() -> Arena {
    let start = &raw mut _heap_start;
    // SAFETY: the linker places nothing there, and it is lent once.
    unsafe { Arena::paint(start, (&raw const _sram_end).addr() - start.addr()) }
}

/// `len` bytes of PSRAM. Must be called only once.
pub fn psram(len: usize) -> Arena {
    // SAFETY: the linker places nothing there, and it is lent once.
    unsafe { Arena::paint(ptr::with_exposed_provenance_mut(PSRAM), len) }
}
