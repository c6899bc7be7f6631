//! Traps and panics: each one prints a message and ends the emulator.

use core::arch::global_asm;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use riscv::register::{mcause, mepc, mtval};

use crate::memory::is_below_stack;
use crate::semihosting::exit;
use crate::uart::Uart;

/// Exit codes.
const PANIC: u8 = 101;
const TRAP: u8 = 102;
const TRAP_IN_TRAP: u8 = 103;

// A trap saves nothing, since it never returns. It starts with an empty stack, since the stack may have overflowed. The
// second hart, which QEMU requires, sleeps.
global_asm!(
    ".section .trap.start, \"ax\"",
    ".balign 4",
    ".global _start_trap",
    ".global abort",
    "_start_trap:",
    "abort:",
    "csrr t0, mhartid",
    "bnez t0, 1f",
    "la sp, _stack_start",
    "j trapped",
    "1: wfi",
    "j 1b",
);

/// Prints the cause of a trap and ends the emulator.
#[unsafe(no_mangle)]
extern "C" fn trapped() -> ! {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    if AGAIN.swap(true, Ordering::Relaxed) {
        exit(TRAP_IN_TRAP);
    }
    let (cause, at, address) = (mcause::read().bits(), mepc::read(), mtval::read());
    let what = match cause {
        0 | 4 | 6 => "an access that is not aligned",
        1 => "a jump to where there is no program",
        2 => "an illegal instruction",
        3 => "a breakpoint",
        7 if is_below_stack(address) => "the stack overflowed",
        5 => "a read where nothing may be read",
        7 => "a write where nothing may be written",
        _ => "an unexpected exception",
    };
    // A failed write of the last line cannot be reported.
    let _ = write!(Uart::new(), "\r\ntrap: {what} (mcause {cause}) at {at:#010x}, address {address:#010x}\r\n");
    exit(TRAP)
}

#[panic_handler]
fn panicked(info: &PanicInfo) -> ! {
    let _ = write!(Uart::new(), "\r\n{info}\r\n");
    exit(PANIC)
}
