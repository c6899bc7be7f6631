//! What the board asks of the emulator: the words it was started with, and to end.

use core::arch::{asm, global_asm};

/// `SYS_GET_CMDLINE` and `SYS_EXIT_EXTENDED`.
const GET_CMDLINE: usize = 0x15;
const EXIT_EXTENDED: usize = 0x20;
/// `ADP_Stopped_ApplicationExit`: the word after it is the exit code.
const APPLICATION_EXIT: usize = 0x20026;

/// The most bytes of words that are looked at.
pub const WORDS_LEN: usize = 256;

// The emulator knows a call by the three instructions, uncompressed and in one page.
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

/// Calls the emulator's `operation` with a block of arguments.
fn call(operation: usize, block: &mut [usize]) -> usize {
    let result;
    // SAFETY: the call is answered by the emulator, which reads and writes the block and what its words point to: all of it
    // is borrowed by our callers for as long as the call takes.
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

/// The words that the emulator was started with, the program's name first; none if they are longer than the buffer, or no
/// text.
pub fn words(buf: &mut [u8; WORDS_LEN]) -> &str {
    let refused = call(GET_CMDLINE, &mut [buf.as_mut_ptr() as usize, buf.len()]) != 0;
    let len = if refused { 0 } else { buf.iter().position(|&byte| byte == 0).unwrap_or(0) };
    core::str::from_utf8(&buf[..len]).unwrap_or("")
}
