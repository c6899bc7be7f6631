//! Traps and panics: each one prints a message and ends the emulator.

use core::arch::asm;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

// Links in the vectors and the startup of main(). Nothing else of the crate is used.
use xtensa_lx_rt as _;

use crate::console_io::ConsoleIo;
use crate::memory::is_below_stack;
use crate::simcall::exit;

/// Exit codes.
const PANIC: u8 = 101;
const TRAP: u8 = 102;
const TRAP_IN_TRAP: u8 = 103;
const ABORT: u8 = 104;

/// Prints the cause of a trap and ends the emulator. It is called with an empty stack.
pub extern "C" fn trapped() -> ! {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    if AGAIN.swap(true, Ordering::Relaxed) {
        exit(TRAP_IN_TRAP);
    }
    let (cause, at, address): (u32, u32, u32);
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "rsr {cause}, exccause",
            "rsr {at}, epc1",
            "rsr {address}, excvaddr",
            cause = out(reg) cause,
            at = out(reg) at,
            address = out(reg) address,
            options(nomem, nostack),
        );
    }
    let what = match cause {
        0 => "an illegal instruction",
        2 | 12 | 14 | 16..=20 => "a jump to where there is no program",
        3 | 13 | 15 | 24..=29 if is_below_stack(address) => "the stack overflowed",
        3 | 13 | 15 | 24..=29 => "an access to where there is no memory",
        6 => "a division by zero",
        9 => "an access that is not aligned",
        _ => "an unexpected exception",
    };
    // A failed write of the last line cannot be reported.
    let _ = write!(ConsoleIo, "\r\ntrap: {what} (exccause {cause}) at {at:#010x}, address {address:#010x}\r\n");
    exit(TRAP)
}

#[panic_handler]
fn panicked(info: &PanicInfo) -> ! {
    let _ = write!(ConsoleIo, "\r\n{info}\r\n");
    exit(PANIC)
}

/// Compilers call `abort` where code is unreachable.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    let _ = write!(ConsoleIo, "\r\nthe program gave up\r\n");
    exit(ABORT)
}
