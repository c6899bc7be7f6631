//! The common part of the emulated boards' firmware: parses the options, fills memory with a pattern, serves the
//! console, and reports the use of memory at the end.
#![no_std]

#[cfg(test)]
extern crate std;

mod options;

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::kernels::Dot;
use rillm::{Model, PlanOptions, block_on};
use rillm_console::{Board, Clock, StackUse, run};
use rillm_generate::Unit;

pub use options::{BadWord, Options, PSRAM_MAX, flag};
pub use rillm_console::Files;
pub use rillm_watermark::{Arena, Stack, Watermark};

/// A board after its start.
pub struct Emulated {
    /// Name of the board, for the console.
    pub name: &'static str,
    /// Instructions executed so far, modulo 2^32.
    pub instructions: fn() -> u32,
    /// The options that it was started with.
    pub options: Options,
    /// The stack.
    pub stack: Stack,
}

/// The bytes that were written to of each memory, and those given, for comparison with the plan: a line with a JSON object.
pub struct MemoryUse {
    memories: [(&'static str, usize, usize); 3],
}

impl fmt::Display for MemoryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, touched, given)) in self.memories.iter().enumerate() {
            let start = if index == 0 { "memory: {" } else { "," };
            write!(f, r#"{start}"{name}":{{"touched":{touched},"given":{given}}}"#)?;
        }
        f.write_str("}\r\n")
    }
}

impl Board for Emulated {
    fn name(&self) -> &str {
        self.name
    }

    fn clock(&self) -> Option<Clock> {
        let clock = Clock { ticks: self.instructions, unit: Unit::Count("instructions") };
        self.options.icount.then_some(clock)
    }

    fn plan_options(&self, _: &Model) -> PlanOptions {
        self.options.plan
    }

    fn check_every(&self) -> u32 {
        self.options.check_every
    }

    fn dot(&self) -> Option<Dot> {
        self.options.generic.then_some(|rows, x, sums| rows.dot_generic(x, sums))
    }

    fn stack(&self) -> Option<StackUse> {
        Some(StackUse { peak: self.stack.peak(), len: self.stack.len() })
    }
}

impl Emulated {
    /// Serves the console until its input ends, and returns the use of memory. The engine receives `sram`, which is all
    /// that is left of it, up to the limit of the options, and `psram`.
    pub fn serve<C, F>(&self, io: C, files: F, [sram, psram]: [Arena; 2]) -> (Result<(), C::Error>, MemoryUse)
    where
        C: Read + ReadReady + Write,
        F: Files,
    {
        let ram = self.options.ram.min(sram.bytes.len());
        let served = block_on(run(io, self, files, &mut sram.bytes[..ram], psram.bytes));
        // The engine's borrow of its memory has ended.
        let memories = [
            ("stack", self.stack.peak(), self.stack.len()),
            ("SRAM", sram.watermark.touched_from_start(), ram),
            ("PSRAM", psram.watermark.touched_from_start(), psram.watermark.len()),
        ];
        (served, MemoryUse { memories })
    }
}
