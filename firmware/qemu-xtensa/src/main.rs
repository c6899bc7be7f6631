//! rillm on an emulated chip with the ESP32's instruction set: 520 KiB of SRAM, up to 4 MiB of PSRAM, a console.
//!
//! The chip is QEMU's Xtensa simulator. It has no card, so the model is a file on the host. `cargo xtask emulate
//! xtensa` builds and boots it. Ctrl-D or the end of the input ends the console and the emulator.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod clock;
mod console_io;
mod host_file;
mod memory;
mod options;
mod simcall;
mod start;
mod trap;

use core::fmt::Write;

use rillm_emulated::Emulated;

use crate::console_io::ConsoleIo;
use crate::host_file::HostFiles;
use crate::options::Options;
use crate::simcall::{WORDS_LEN, exit};

/// Exit codes for an invalid option, and for output that the host does not accept.
const BAD_WORD: u8 = 2;
const CONSOLE_LOST: u8 = 3;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let stack = memory::stack();
    let mut buf = [0; WORDS_LEN];
    let options = match Options::parse(simcall::words(&mut buf).skip(1)) {
        Ok(options) => options,
        Err(bad) => {
            // A failed write of the last line cannot be reported.
            let _ = write!(ConsoleIo, "{bad}\r\n");
            exit(BAD_WORD);
        }
    };

    let memories = [memory::sram(), memory::psram(options.common.psram)];
    let board = Emulated {
        name: "QEMU's Xtensa simulator, dc233c",
        instructions: clock::instructions,
        options: options.common,
        stack,
    };
    let (served, report) = board.serve(ConsoleIo, HostFiles(options.model), memories);
    let _ = write!(ConsoleIo, "{report}");
    exit(if served.is_ok() { 0 } else { CONSOLE_LOST })
}
