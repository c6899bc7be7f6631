//! What the firmware of every emulated board does alike: it reads words at its start, paints its memory, serves the console,
//! and says at its end how much memory was touched.
#![no_std]

#[cfg(test)]
extern crate std;

mod options;

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::block_on;
use rillm::kernels::Dot;
use rillm::source::WeightSource;
use rillm_console::{Board, Clock, StackUse, run};
use rillm_generate::Unit;
use rillm_generate::number::Grouped;

pub use options::{BadWord, Options, PSRAM_MAX, flag};
pub use rillm_watermark::{Arena, Stack, Watermark};

/// A board, switched on.
pub struct Emulated {
    /// Its name, for the console.
    pub name: &'static str,
    /// Instructions executed so far, modulo 2^32.
    pub instructions: fn() -> u32,
    /// What it was told.
    pub options: Options,
    /// The stack.
    pub stack: Stack,
    /// The memories for the engine: all the SRAM that is left, of which it gets what the options allow, and the PSRAM.
    pub memories: [Arena; 2],
}

/// What was really used, for comparison with the plan: a line for each memory.
pub struct Report {
    lines: [(&'static str, usize, usize); 3],
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, used, of)| {
            write!(f, "{name}: {} of {} bytes touched\r\n", Grouped(*used as u64), Grouped(*of as u64))
        })
    }
}

impl Emulated {
    /// Serves the console until its input ends, and tells what was used.
    pub fn serve<C, O, S, D, E>(self, io: C, open: O) -> (Result<(), C::Error>, Report)
    where
        C: Read + ReadReady + Write,
        O: AsyncFnMut(Option<&str>) -> Result<(S, D), E>,
        S: WeightSource<Error: fmt::Display>,
        D: fmt::Display,
        E: fmt::Display,
    {
        let Self { name, instructions, options, stack, memories: [sram, psram] } = self;
        let generic: Dot = |rows, x, sums| rows.dot_generic(x, sums);
        let board = Board {
            name,
            clock: options.icount.then_some(Clock { ticks: instructions, unit: Unit::Count("instructions") }),
            plan: &|_| options.plan,
            dot: options.generic.then_some(generic),
            start: &|_| Ok(()),
            expect: &|_, _, _| Ok(()),
            stack: &|| Some(StackUse { peak: stack.peak(), len: stack.len() }),
            stats: &|out| {
                let [peak, len] = [stack.peak(), stack.len()].map(|bytes| Grouped(bytes as u64));
                writeln!(out, "stack: {peak} of {len} bytes at most")
            },
        };
        let ram = options.ram.min(sram.bytes.len());
        let served = block_on(run(io, &board, open, &mut sram.bytes[..ram], psram.bytes));
        // The engine no longer has its memory.
        let lines = [
            ("stack", stack.peak(), stack.len()),
            ("SRAM", sram.watermark.touched_from_start(), ram),
            ("PSRAM", psram.watermark.touched_from_start(), psram.watermark.len()),
        ];
        (served, Report { lines })
    }
}
