//! Startup code, from reset or a trap to a program with a stack.

use core::arch::global_asm;

use crate::trap::trapped;

// An exception saves nothing, since it never returns. It starts with an empty stack and empty register windows, like
// the program after reset, since the stack may have overflowed and there may be no room to save the windows. EXCSAVE1
// holds the destination while the register windows change. (xtensa-lx-rt handles window overflows and alloca, which do
// return.)
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
