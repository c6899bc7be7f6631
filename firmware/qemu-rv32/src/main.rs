//! rillm on an emulated 32-bit RISC-V chip: 520 KiB of SRAM, up to 4 MiB of PSRAM, an SD card over SPI, a serial console.
//!
//! The chip is QEMU's `sifive_u`, reduced to the memories of an ESP32. `cargo xtask emulate rv32` builds and boots it.
//! Ctrl-D ends the console and the emulator.
#![no_std]
#![no_main]

mod card;
mod clock;
#[cfg(feature = "faults")]
mod faults;
mod flash;
mod memory;
mod model;
mod options;
mod semihosting;
mod spi;
mod trap;
mod uart;

use core::fmt::Write;

use rillm_emulated::Emulated;

use crate::model::BoardFiles;
use crate::options::Options;
use crate::semihosting::{WORDS_LEN, exit, words};
use crate::uart::Uart;

/// Exit code for an invalid option.
const BAD_WORD: u8 = 2;

#[riscv_rt::entry]
fn main() -> ! {
    let stack = memory::stack();
    let mut buf = [0; WORDS_LEN];
    let options = match Options::parse(words(&mut buf).split_whitespace().skip(1)) {
        Ok(options) => options,
        Err(bad) => {
            // A failed write of the last line cannot be reported.
            let _ = write!(Uart::new(), "{bad}\r\n");
            exit(BAD_WORD);
        }
    };

    memory::protect(options.common.psram);
    let bus = card::bus(&options);
    let memories = [memory::sram(), memory::psram(options.common.psram)];
    let board = Emulated {
        name: "QEMU's sifive_u, RV32IMAC",
        instructions: clock::instructions,
        options: options.common,
        stack,
    };
    let (Ok(()), report) = board.serve(Uart::new(), BoardFiles { bus: &bus, options: &options }, memories);
    #[cfg(feature = "faults")]
    card::report(&bus.borrow(), &mut Uart::new());
    let _ = write!(Uart::new(), "{report}");
    exit(0)
}
