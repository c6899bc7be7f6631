//! rillm on an emulated chip with the ESP32's instruction set: 520 KiB of SRAM, up to 4 MiB of PSRAM, a console.
//!
//! The chip is QEMU's Xtensa simulator, which has no card: the model is a file of the host's. `cargo xtask emulate xtensa`
//! builds and boots it. The console ends with Ctrl-D or its input, and the emulator with it.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod clock;
mod console_io;
mod host_file;
mod memory;
mod options;
mod painted;
mod simcall;
mod start;
mod trap;

use core::fmt::Write;

use embassy_futures::block_on;
use rillm_console::number::Grouped;
use rillm_console::summary::Unit;
use rillm_console::{Board, Clock};

use crate::console_io::ConsoleIo;
use crate::memory::Stack;
use crate::options::Options;
use crate::painted::Painted;
use crate::simcall::{WORDS_LEN, exit};

/// The exit codes where the words at the start make no sense, and where the host takes no more output.
const BAD_WORD: u8 = 2;
const CONSOLE_LOST: u8 = 3;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let stack = Stack::paint();
    let mut buf = [0; WORDS_LEN];
    let options = match Options::parse(simcall::words(&mut buf).skip(1)) {
        Ok(options) => options,
        Err(bad) => {
            // There is nobody left to tell about a line that fails.
            let _ = write!(ConsoleIo, "{bad}\r\n");
            exit(BAD_WORD);
        }
    };

    let (sram, sram_paint) = memory::sram();
    let (psram, psram_paint) = memory::psram(options.psram);
    let ram = options.ram.min(sram.len());
    let sram = &mut sram[..ram];

    let instructions = Clock { ticks: clock::instructions, unit: Unit::Count("instructions") };
    let board = Board {
        name: "QEMU's Xtensa simulator, dc233c",
        clock: options.icount.then_some(instructions),
        plan: options.plan,
        stats: &|out| {
            writeln!(out, "stack: {} of {} bytes at most", Grouped(stack.peak() as u64), Grouped(stack.len() as u64))
        },
    };
    let open = async |name: Option<&str>| host_file::open(name.or(options.model));
    let served = block_on(rillm_console::run(ConsoleIo, &board, open, sram, psram));
    report(&stack, &[("SRAM", ram, sram_paint), ("PSRAM", options.psram, psram_paint)]);
    exit(if served.is_ok() { 0 } else { CONSOLE_LOST })
}

/// What was really used, for comparison with the plan. The engine no longer has its memory.
fn report(stack: &Stack, memories: &[(&str, usize, Painted)]) {
    let line = |name, used: usize, of: usize| {
        let _ = write!(ConsoleIo, "{name}: {} of {} bytes touched\r\n", Grouped(used as u64), Grouped(of as u64));
    };
    line("stack", stack.peak(), stack.len());
    for (name, len, paint) in memories {
        line(name, paint.touched_from_start(), *len);
    }
}
