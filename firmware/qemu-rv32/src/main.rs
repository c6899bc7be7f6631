//! rillm on an emulated 32-bit RISC-V chip: 520 KiB of SRAM, up to 4 MiB of PSRAM, an SD card over SPI, a serial console.
//!
//! The chip is QEMU's `sifive_u` cut down to the size of an ESP32; `cargo xtask emulate rv32` builds and boots it. The console
//! ends with Ctrl-D, and the emulator with it.
#![no_std]
#![no_main]

mod card;
mod clock;
#[cfg(feature = "faults")]
mod faults;
mod flash;
mod memory;
mod options;
mod semihosting;
mod spi;
mod trap;
mod uart;

use core::convert::Infallible;
use core::fmt::Write;

use embassy_futures::block_on;
use rillm::sources::Bytes;
use rillm_console::number::Grouped;
use rillm_console::summary::Unit;
use rillm_console::{Board, Clock};

use crate::memory::{Painted, Stack};
use crate::options::{Options, Source};
use crate::semihosting::{WORDS_LEN, exit, words};
use crate::uart::Uart;

/// The exit code where the words at the start make no sense.
const BAD_WORD: u8 = 2;

#[riscv_rt::entry]
fn main() -> ! {
    let stack = Stack::paint();
    let mut buf = [0; WORDS_LEN];
    let options = match Options::parse(words(&mut buf).split_whitespace().skip(1)) {
        Ok(options) => options,
        Err(bad) => {
            // There is nobody left to tell about a line that fails.
            let _ = write!(Uart::new(), "{bad}\r\n");
            exit(BAD_WORD);
        }
    };

    memory::protect(options.psram);
    let (sram, sram_paint) = memory::sram();
    let (psram, psram_paint) = memory::psram(options.psram);
    let ram = options.ram.min(sram.len());
    let sram = &mut sram[..ram];

    let instructions = Clock { ticks: clock::instructions, unit: Unit::Count("instructions") };
    let board = Board {
        name: "QEMU's sifive_u, RV32IMAC",
        clock: options.icount.then_some(instructions),
        plan: options.plan,
        stats: &|out| {
            writeln!(out, "stack: {} of {} bytes at most", Grouped(stack.peak() as u64), Grouped(stack.len() as u64))
        },
    };
    let Ok(()) = match options.source {
        Source::Card => {
            let bus = card::bus(&options);
            let open = async |name: Option<&str>| card::open(&bus, &options, name).await;
            let end = block_on(rillm_console::run(Uart::new(), &board, open, sram, psram));
            #[cfg(feature = "faults")]
            card::report(&bus.borrow(), &mut Uart::new());
            end
        }
        Source::Flash(len) => {
            let open =
                async |_: Option<&str>| Ok::<_, Infallible>((Bytes::lent(flash::model(len)), "flash, memory-mapped"));
            block_on(rillm_console::run(Uart::new(), &board, open, sram, psram))
        }
    };
    report(&stack, &[("SRAM", ram, sram_paint), ("PSRAM", options.psram, psram_paint)]);
    exit(0)
}

/// What was really used, for comparison with the plan. The engine no longer has its memory.
fn report(stack: &Stack, memories: &[(&str, usize, Painted)]) {
    let mut uart = Uart::new();
    let mut line = |name, used: usize, of: usize| {
        let _ = write!(uart, "{name}: {} of {} bytes touched\r\n", Grouped(used as u64), Grouped(of as u64));
    };
    line("stack", stack.peak(), stack.len());
    for (name, len, paint) in memories {
        line(name, paint.touched_from_start(), *len);
    }
}
