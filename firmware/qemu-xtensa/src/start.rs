//! From the core's reset, or from a trap, to a program with a stack.

use core::arch::global_asm;

use crate::trap::trapped;

// An exception saves nothing, for nothing returns from it; and as the stack may be what overflowed, or the register windows
// what cannot be saved to it, the trap starts with empty ones, as the program does after reset. Where to go is kept in
// EXCSAVE1 while the registers change their names. (Window overflows and alloca, which do return, are xtensa-lx-rt's.)
global_asm!(
    ".section .reset, \"ax\", @progbits",
    "j 1f",
    ".p2align 2",
    "2: .long from_reset",
    "1: l32r a0, 2b",
    "jx a0",

    ".section .text.start, \"ax\", @progbits",
    ".p2align 2",
    "1: .long Reset",
    "2: .long {trapped}",
    "3: .long _stack_start_cpu0",
    // Windows on, user mode, interrupts off.
    "4: .long 0x0004002f",
    "from_reset:",
    "l32r a0, 1b",
    "j 5f",
    ".global __naked_user_exception",
    ".global __naked_kernel_exception",
    ".global __naked_double_exception",
    ".p2align 2",
    "__naked_user_exception:",
    "__naked_kernel_exception:",
    "__naked_double_exception:",
    "l32r a0, 2b",
    "5: wsr a0, excsave1",
    "movi a0, 0",
    "wsr a0, windowbase",
    "rsync",
    "movi a0, 1",
    "wsr a0, windowstart",
    "rsync",
    // wsr a0, atomctl, a register that the ESP32 lacks: s32c1i works on any memory.
    "movi a0, 0x15",
    ".byte 0x00, 0x63, 0x13",
    "l32r a1, 3b",
    "l32r a0, 4b",
    "wsr a0, ps",
    "rsync",
    "rsr a2, excsave1",
    "movi a0, 0",
    "jx a2",
    trapped = sym trapped,
);
