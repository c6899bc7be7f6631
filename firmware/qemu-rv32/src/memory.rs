//! The chip's memories: what may be touched, what is the engine's, and what was touched indeed.

use core::arch::asm;
use core::ptr;

use riscv::register::{
    Permission, Range, pmpaddr0, pmpaddr1, pmpaddr2, pmpaddr3, pmpaddr4, pmpaddr5, pmpaddr6, pmpaddr7, pmpaddr8,
    pmpcfg0, pmpcfg1, pmpcfg2,
};

/// Flash as the chip sees it, program and model.
const FLASH: (usize, usize) = (0x2000_0000, 0x3000_0000);
const SRAM: (usize, usize) = (0x0800_0000, 0x0808_2000);
const PSRAM: usize = 0x8000_0000;
/// The UART, and the SPI controller of the card.
const DEVICES: (usize, usize) = (0x1001_0000, 0x1005_1000);

/// Bytes of PSRAM that the board can have.
pub const PSRAM_MAX: usize = 4 << 20;

/// More bytes than a function has on the stack.
const FRAME_MAX: usize = 64 << 10;

/// What memory holds that nobody has written to.
const PAINT: u32 = 0xa5c3_965a;
const PAINT_LEN: usize = size_of::<u32>();

unsafe extern "C" {
    static __estack: u32;
    static __sstack: u32;
    static __sheap: u32;
    static _sram_end: u32;
}

/// Makes everything but flash (not writable), the SRAM, `psram` bytes of PSRAM and the devices unreachable until the next
/// reset: any other access traps.
pub fn protect(psram: usize) {
    // SAFETY: each range is used by the program as its permission says; the entries are locked so that they bind machine
    // mode, in which we run.
    unsafe {
        // A top-of-range entry reaches from the address of the entry before it.
        pmpaddr0::write(SRAM.0 >> 2);
        pmpaddr1::write(SRAM.1 >> 2);
        pmpcfg0::set_pmp(1, Range::TOR, Permission::RW, true);
        pmpaddr2::write(DEVICES.0 >> 2);
        pmpaddr3::write(DEVICES.1 >> 2);
        pmpcfg0::set_pmp(3, Range::TOR, Permission::RW, true);
        pmpaddr4::write(FLASH.0 >> 2);
        pmpaddr5::write(FLASH.1 >> 2);
        pmpcfg1::set_pmp(1, Range::TOR, Permission::RX, true);
        pmpaddr6::write(PSRAM >> 2);
        pmpaddr7::write((PSRAM + psram) >> 2);
        pmpcfg1::set_pmp(3, Range::TOR, Permission::RW, true);
        // All addresses: what no entry above admits.
        pmpaddr8::write(usize::MAX);
        pmpcfg2::set_pmp(0, Range::NAPOT, Permission::NONE, true);
    }
}

/// A part of memory that was painted, so that it shows how much of it was written to.
#[derive(Clone, Copy)]
pub struct Painted {
    start: *const u32,
    words: usize,
}

impl Painted {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.words * PAINT_LEN
    }

    /// Bytes from its start to the last one that was written to.
    pub fn touched_from_start(&self) -> usize {
        (0..self.words).rev().find(|&i| self.is_touched(i)).map_or(0, |i| (i + 1) * PAINT_LEN)
    }

    /// Bytes from the first one that was written to, to its end.
    fn touched_from_end(&self) -> usize {
        (0..self.words).find(|&i| self.is_touched(i)).map_or(0, |i| (self.words - i) * PAINT_LEN)
    }

    fn is_touched(&self, word: usize) -> bool {
        // SAFETY: the word lies in memory that is there for as long as the program runs; what it holds is only looked at.
        unsafe { self.start.add(word).read_volatile() != PAINT }
    }
}

/// Paints `words` words from `start` on.
///
/// # Safety
/// They are memory that nothing uses.
unsafe fn paint(start: *mut u32, words: usize) -> Painted {
    for word in 0..words {
        // SAFETY: the caller's.
        unsafe { start.add(word).write_volatile(PAINT) };
    }
    Painted { start, words }
}

/// The stack, of which what is not in use was painted.
pub struct Stack(Painted);

impl Stack {
    /// Paints what lies below the caller's frame.
    pub fn paint() -> Self {
        let bottom = (&raw const __estack).cast_mut();
        let top = &raw const __sstack;
        let pointer: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mv {}, sp", out(reg) pointer) };
        // Below the stack pointer nothing is in use: there are no interrupts. The loop itself takes a few words.
        let free = (pointer - bottom.addr()) / PAINT_LEN - 64;
        // SAFETY: the words lie in the stack and below its pointer.
        unsafe { paint(bottom, free) };
        Self(Painted { start: bottom, words: (top.addr() - bottom.addr()) / PAINT_LEN })
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
pub fn is_below_stack(address: usize) -> bool {
    (SRAM.0 - FRAME_MAX..SRAM.0).contains(&address)
}

/// A part of memory for the engine, painted; and a view of it that tells later how much of it was used.
pub type Arena = (&'static mut [u8], Painted);

/// The SRAM that the stack and the variables leave. To be called once.
pub fn sram() -> Arena {
    let start = (&raw const __sheap).cast_mut();
    let words = ((&raw const _sram_end).addr() - start.addr()) / PAINT_LEN;
    // SAFETY: the linker puts nothing there, and it is lent once.
    unsafe { arena(start, words) }
}

/// `len` bytes of PSRAM. To be called once.
pub fn psram(len: usize) -> Arena {
    // SAFETY: the linker puts nothing there, and it is lent once. What QEMU leaves there at reset is not needed.
    unsafe { arena(ptr::with_exposed_provenance_mut(PSRAM), len / PAINT_LEN) }
}

/// # Safety
/// The words are memory that nothing else ever uses.
unsafe fn arena(start: *mut u32, words: usize) -> Arena {
    // SAFETY: the caller's; the bytes were just written.
    unsafe {
        let painted = paint(start, words);
        (core::slice::from_raw_parts_mut(start.cast(), words * PAINT_LEN), painted)
    }
}
