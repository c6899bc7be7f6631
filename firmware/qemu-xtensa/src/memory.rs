//! The chip's memories: what is the engine's, and what was touched indeed.

use core::arch::asm;
use core::{ptr, slice};

use crate::painted::{PAINT_LEN, Painted};

const PSRAM: usize = 0x0080_0000;
/// Bytes of PSRAM that the board can have.
pub const PSRAM_MAX: usize = 4 << 20;

/// More bytes than a function has on the stack.
const FRAME_MAX: u32 = 64 << 10;

unsafe extern "C" {
    static mut _stack_end: u32;
    static mut _stack_start_cpu0: u32;
    static mut _heap_start: u32;
    static mut _sram_end: u32;
}

/// The stack, of which what is not in use was painted.
pub struct Stack(Painted);

impl Stack {
    /// Paints what lies below the caller's frame.
    pub fn paint() -> Self {
        let bottom = &raw mut _stack_end;
        let words = ((&raw mut _stack_start_cpu0).addr() - bottom.addr()) / PAINT_LEN;
        let pointer: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack)) };
        // Below the stack pointer are 16 bytes for the caller's registers, and then nothing in use: there are no interrupts.
        // The loop itself, and the register windows that it may push out, take less than 64 words.
        let free = ((pointer - bottom.addr()) / PAINT_LEN).saturating_sub(64);
        // SAFETY: the words are the stack's, and those painted lie below its pointer.
        Self(unsafe { Painted::new(bottom, words, free) })
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The most bytes that were in use.
    pub fn peak(&self) -> usize {
        self.0.touched_from_end()
    }
}

/// Whether an address is one that a stack frame has which does not fit.
pub fn is_below_stack(address: u32) -> bool {
    let bottom = (&raw const _stack_end).addr() as u32;
    (bottom - FRAME_MAX..bottom).contains(&address)
}

/// A part of memory for the engine, painted; and a view of it that tells later how much of it was used.
pub type Arena = (&'static mut [u8], Painted);

/// The SRAM that the stack and the variables leave. To be called once.
pub fn sram() -> Arena {
    let start = &raw mut _heap_start;
    let words = ((&raw mut _sram_end).addr() - start.addr()) / PAINT_LEN;
    // SAFETY: the linker puts nothing there, and it is lent once.
    unsafe { arena(start, words) }
}

/// `len` bytes of PSRAM. To be called once.
pub fn psram(len: usize) -> Arena {
    // SAFETY: the linker puts nothing there, and it is lent once.
    unsafe { arena(ptr::with_exposed_provenance_mut(PSRAM), len / PAINT_LEN) }
}

/// # Safety
/// The words are memory that nothing else ever uses.
unsafe fn arena(start: *mut u32, words: usize) -> Arena {
    // SAFETY: the caller's; the bytes were just written.
    unsafe {
        let painted = Painted::new(start, words, words);
        (slice::from_raw_parts_mut(start.cast(), words * PAINT_LEN), painted)
    }
}
