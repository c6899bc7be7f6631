//! Semihosting calls: the command line, and the end of the emulator.

use core::arch::{asm, global_asm};

/// `SYS_GET_CMDLINE` and `SYS_EXIT_EXTENDED`.
const GET_CMDLINE: usize = 0x15;
const EXIT_EXTENDED: usize = 0x20;
/// `ADP_Stopped_ApplicationExit`: the next word is the exit code.
const APPLICATION_EXIT: usize = 0x20026;

/// Longest command line in bytes.
pub const WORDS_LEN: usize = 256;

// The emulator recognises a call by three uncompressed instructions in one page.
global_asm!(
    ".section .text.semihosting, \"ax\"",
    ".option push",
    ".option norvc",
    ".balign 16",
    "semihosting_call:",
    "slli x0, x0, 0x1f",
    "ebreak",
    "srai x0, x0, 7",
    "ret",
    ".option pop",
);

/// Calls an `operation` of the emulator with a block of arguments.
fn call(operation: usize, block: &mut [usize]) -> usize {
    let result;
    // SAFETY: the emulator executes the call. It reads and writes the block and what its words point to, which our
    // callers borrow for the duration of the call.
    unsafe {
        asm!("call semihosting_call", inlateout("a0") operation => result, in("a1") block.as_mut_ptr(), out("ra") _);
    }
    result
}

/// Ends the emulator with an exit code.
pub fn exit(code: u8) -> ! {
    call(EXIT_EXTENDED, &mut [APPLICATION_EXIT, code.into()]);
    loop {
        riscv::asm::wfi();
    }
}

/// The emulator's command line, the program's name first. Empty if it is longer than the buffer or not text.
pub fn words(buf: &mut [u8; WORDS_LEN]) -> &str {
    let refused = call(GET_CMDLINE, &mut [buf.as_mut_ptr() as usize, buf.len()]) != 0;
    let len = if refused { 0 } else { buf.iter().position(|&byte| byte == 0).unwrap_or(0) };
    core::str::from_utf8(&buf[..len]).unwrap_or("")
}
