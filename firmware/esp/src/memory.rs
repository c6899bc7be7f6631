//! The internal memory: the engine's part, the second core's part, and the stack.

use core::arch::asm;
use core::mem::MaybeUninit;
use core::slice;

use esp_hal::ram;
use rillm_boards::{self as boards, Chip};
use rillm_watermark::Stack;
use static_cell::ConstStaticCell;

use crate::second_core;

#[cfg(feature = "esp32")]
const CHIP: Chip = boards::ESP32;
#[cfg(feature = "esp32s3")]
const CHIP: Chip = boards::ESP32_S3;
#[cfg(feature = "esp32c3")]
const CHIP: Chip = boards::ESP32_C3;
#[cfg(feature = "esp32c6")]
const CHIP: Chip = boards::ESP32_C6;
#[cfg(feature = "esp32p4")]
const CHIP: Chip = boards::ESP32_P4;
/// Bytes for the engine, in one block that DMA can access. The linker rejects a value that leaves too little stack.
const INTERNAL_LEN: usize = CHIP.sram;
/// Bytes of the bootloader's former memory, without the second core's stack.
const SPARE_LEN: usize = CHIP.spare;

/// Aligned for DMA and caches.
#[repr(C, align(64))]
struct Aligned<T>(T);

/// The contents of the bootloader's former memory.
#[repr(C, align(16))]
struct Reclaimed {
    stack: second_core::Stack,
    spare: [u8; SPARE_LEN],
}

static INTERNAL: ConstStaticCell<Aligned<[u8; INTERNAL_LEN]>> = ConstStaticCell::new(Aligned([0; INTERNAL_LEN]));

#[ram(reclaimed)]
static mut RECLAIMED: MaybeUninit<Reclaimed> = MaybeUninit::uninit();

unsafe extern "C" {
    /// The stack guard. A write to this word stops the program.
    static mut __stack_chk_guard: u32;
    static mut _stack_start: u32;
}

/// The engine's memory. Must be called only once.
pub fn internal() -> &'static mut [u8] {
    &mut INTERNAL.take().0
}

/// The memory outside the engine's block, used if there is no PSRAM, and the second core's stack. Must be called only
/// once.
pub fn spare() -> (&'static mut [u8], &'static mut second_core::Stack) {
    let start = (&raw mut RECLAIMED).cast::<u8>();
    // SAFETY: this is called only once, so nobody else uses the memory. All its bytes are written before it is lent; a
    // stack may be uninitialised.
    unsafe {
        start.write_bytes(0, size_of::<Reclaimed>());
        let reclaimed = (&raw mut RECLAIMED).cast::<Reclaimed>();
        let spare = (&raw mut (*reclaimed).spare).cast::<u8>();
        (slice::from_raw_parts_mut(spare, SPARE_LEN), &mut (*reclaimed).stack)
    }
}

/// The stack, with its unused part filled with a pattern.
pub fn stack() -> Stack {
    let pointer: usize;
    // SAFETY: reads a register.
    #[cfg(target_arch = "xtensa")]
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    // SAFETY: reads a register.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    let bottom = (&raw mut __stack_chk_guard).wrapping_add(1);
    // SAFETY: the linker places the stack there, above its guard.
    unsafe { Stack::paint(bottom, &raw const _stack_start, pointer) }
}
