//! The chip's memories: access protection, and the engine's part.

use core::arch::asm;
use core::ptr;

use rillm_emulated::{Arena, Stack};
use riscv::register::{
    Permission, Range, pmpaddr0, pmpaddr1, pmpaddr2, pmpaddr3, pmpaddr4, pmpaddr5, pmpaddr6, pmpaddr7, pmpaddr8,
    pmpcfg0, pmpcfg1, pmpcfg2,
};

/// Addresses of flash: program and model.
const FLASH: (usize, usize) = (0x2000_0000, 0x3000_0000);
const SRAM: (usize, usize) = (0x0800_0000, 0x0808_2000);
const PSRAM: usize = 0x8000_0000;
/// Addresses of the devices: the UART, and the card's SPI controller.
const DEVICES: (usize, usize) = (0x1001_0000, 0x1005_1000);

/// More bytes than any stack frame has.
const FRAME_MAX: usize = 64 << 10;

unsafe extern "C" {
    static __estack: u32;
    static __sstack: u32;
    static __sheap: u32;
    static _sram_end: u32;
}

/// Makes everything unreachable until the next reset, except flash (read-only), SRAM, `psram` bytes of PSRAM and the
/// devices. Any other access traps.
pub fn protect(psram: usize) {
    // SAFETY: the program uses each range as its permission allows. The entries are locked, so that they apply to
    // machine mode, in which it runs.
    unsafe {
        // A top-of-range entry starts at the address of the previous entry.
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
        // All addresses that no entry above allows.
        pmpaddr8::write(usize::MAX);
        pmpcfg2::set_pmp(0, Range::NAPOT, Permission::NONE, true);
    }
}

/// The stack, with its unused part filled with a pattern.
pub fn stack() -> Stack {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
    // SAFETY: the linker places the stack there, and there are no interrupts.
    unsafe { Stack::paint((&raw const __estack).cast_mut(), &raw const __sstack, pointer) }
}

/// Whether an address is just below the stack, where a frame that overflows it lies.
pub fn is_below_stack(address: usize) -> bool {
    (SRAM.0 - FRAME_MAX..SRAM.0).contains(&address)
}

/// The SRAM beside stack and variables. Must be called only once.
pub fn sram() -> Arena {
    let start = (&raw const __sheap).cast_mut();
    // SAFETY: the linker places nothing there, and it is lent once.
    unsafe { Arena::paint(start, (&raw const _sram_end).addr() - start.addr()) }
}

/// `len` bytes of PSRAM. Must be called only once.
pub fn psram(len: usize) -> Arena {
    // SAFETY: the linker places nothing there, and it is lent once. Data that QEMU places there at reset is not needed.
    unsafe { Arena::paint(ptr::with_exposed_provenance_mut(PSRAM), len) }
}
