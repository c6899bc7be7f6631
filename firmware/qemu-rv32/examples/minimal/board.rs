//! What `main.rs` needs of a board: sectors of the model, a line to print on, memory, an end. This one is QEMU's sifive_u with
//! the model in its flash.

use core::arch::asm;
use core::fmt::{self, Arguments, Write};
use core::panic::PanicInfo;
use core::{ptr, slice};

const MODEL: *const u8 = ptr::with_exposed_provenance(0x2200_0000);
const MODEL_MAX: usize = 0x0e00_0000;
const UART_TXDATA: *mut u32 = ptr::with_exposed_provenance_mut(0x1001_0000);
const UART_TXCTRL: *mut u32 = ptr::with_exposed_provenance_mut(0x1001_0008);
/// What the emulator is asked: to end, and with success.
const EXIT: usize = 0x18;
const SUCCESS: usize = 0x20026;

/// Copies sectors of the model, as they would come from a card.
pub fn read_sectors(first: u32, buf: &mut [u8]) -> Result<(), &'static str> {
    // SAFETY: flash is there as long as the program runs, and nothing writes to it.
    let model = unsafe { slice::from_raw_parts(MODEL, MODEL_MAX) };
    let start = (first as usize).checked_mul(512).ok_or("no such sector")?;
    let bytes = model.get(start..).and_then(|rest| rest.get(..buf.len())).ok_or("no such sector")?;
    buf.copy_from_slice(bytes);
    Ok(())
}

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the UART's registers, which nobody else uses.
            unsafe {
                UART_TXCTRL.write_volatile(1);
                while UART_TXDATA.read_volatile() >> 31 != 0 {}
                UART_TXDATA.write_volatile(byte.into());
            }
        }
        Ok(())
    }
}

/// Prints.
pub fn print(text: Arguments<'_>) {
    // A UART that sends has no errors.
    let _ = Uart.write_fmt(text);
}

/// Memory for the engine: what the program leaves. To be called once.
pub fn ram() -> &'static mut [u8] {
    unsafe extern "C" {
        static __sheap: u8;
        static _sram_end: u8;
    }
    let start = (&raw const __sheap).cast_mut();
    let len = (&raw const _sram_end).addr() - start.addr();
    // SAFETY: the linker puts nothing there, and it is lent once; zeroed, it is initialised.
    unsafe {
        start.write_bytes(0, len);
        slice::from_raw_parts_mut(start, len)
    }
}

/// Ends the line, and the emulator; it knows its call by these three instructions, uncompressed and in one page.
pub fn stop() -> ! {
    print(format_args!("\n"));
    // SAFETY: the call does not return.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            ".balign 16",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            in("a0") EXIT,
            in("a1") SUCCESS,
            options(noreturn)
        )
    }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    print(format_args!("\n{info}\n"));
    stop()
}
