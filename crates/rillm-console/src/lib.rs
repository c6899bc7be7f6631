//! The serial console of a board that runs rillm: a prompt, streamed text, and commands.
//!
//! The firmware passes [`run`] a byte console, a [`Board`], its [`Files`], and memory. Everything else is the same on
//! every board. [The console's manual] is the manual for users of a board. [`rillm_generate`] generates the text, as it does
//! for the `rillm` command.
//!
//! ```
//! use core::fmt::Display;
//!
//! use embedded_io::{Read, ReadReady, Write};
//! use rillm::Bytes;
//! use rillm_console::{Board, Clock, Files};
//! use rillm_generate::Unit;
//!
//! fn cycles() -> u32 {
//! #   0
//! // The CPU's counter.
//! }
//!
//! struct MyBoard;
//!
//! impl Board for MyBoard {
//!     fn name(&self) -> &str {
//!         "my board"
//!     }
//!
//!     fn clock(&self) -> Option<Clock> {
//!         Some(Clock { ticks: cycles, unit: Unit::Time { per_second: 160_000_000 } })
//!     }
//! }
//!
//! /// One model, in flash.
//! struct Flash(&'static [u8]);
//!
//! impl Files for Flash {
//!     type Source = Bytes<'static>;
//!     type About = &'static str;
//!     type Error = &'static str;
//!
//!     async fn list(&mut self, visit: &mut dyn FnMut(&dyn Display, u64)) -> Result<(), Self::Error> {
//!         visit(&"flash", self.0.len() as u64);
//!         Ok(())
//!     }
//!
//!     async fn open(&mut self, name: &str) -> Result<(Self::Source, Self::About), Self::Error> {
//!         if name == "flash" { Ok((Bytes::lent(self.0), "flash, memory-mapped")) } else { Err("there is only `flash`") }
//!     }
//! }
//!
//! async fn serve(uart: impl Read + ReadReady + Write, model: &'static [u8], ram: &mut [u8]) {
//!     // It returns at the end of the input.
//!     let _ = rillm_console::run(uart, &MyBoard, Flash(model), ram, &mut []).await;
//! }
//! ```
//!
//! [the console's manual]: https://github.com/rillm/rillm/blob/main/docs/console.md
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

mod answer;
mod bandwidth;
mod chat;
mod choose;
mod commands;
mod failures;
mod files;
mod kernel_bench;
mod line;
mod models;
mod report;
mod screen;
mod selftest;
mod serve;
mod settings;

use core::{fmt, mem};

use embedded_io::{Read, ReadReady, Write};
use rillm::kernels::Dot;
use rillm::{MemoryLen, Model, Plan, PlanOptions};
use rillm_generate::Unit;
use rillm_generate::number::Grouped;

use files::{File, FileName, LongName, Request, Wanted, find};
use serve::{Console, Next};

pub use files::Files;

/// Describes the board to the console. Only [`name`](Self::name) is required.
pub trait Board {
    /// The board's name, for the first line of the report.
    fn name(&self) -> &str;

    /// The clock for timing, if the board has one.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// Options for the plan of a model's memory. The console sets the number of candidates.
    fn plan_options(&self, _model: &Model) -> PlanOptions {
        PlanOptions::default()
    }

    /// Sets how often weights are verified: see [`Session::set_check_every`](rillm::Session::set_check_every).
    fn check_every(&self) -> u32 {
        rillm::CHECK_EVERY
    }

    /// The multiplication of rows, in place of the engine's own kernel: for example on two cores.
    fn dot(&self) -> Option<Dot> {
        None
    }

    /// Stack usage, if the board measures it.
    fn stack(&self) -> Option<StackUse> {
        None
    }

    /// Writes lines that follow the first line of the report: chip, clocks, memories. Each one ends in `\n`.
    ///
    /// # Errors
    /// Those of `out`.
    fn describe(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }

    /// Writes lines that follow the plan of a model, such as the expected speed. Each one ends in `\n`.
    ///
    /// # Errors
    /// Those of `out`.
    fn expect(&self, _out: &mut dyn fmt::Write, _model: &Model, _plan: &Plan) -> fmt::Result {
        Ok(())
    }

    /// Writes the last lines of `/stats`, each with `\n` at its end. The default writes the stack usage.
    ///
    /// # Errors
    /// Those of `out`.
    fn stats(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.stack().map_or(Ok(()), |stack| writeln!(out, "{stack}"))
    }
}

/// Stack usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackUse {
    /// High-water mark in bytes.
    pub peak: usize,
    /// Length of the stack in bytes.
    pub len: usize,
}

impl fmt::Display for StackUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [peak, len] = [self.peak, self.len].map(|bytes| Grouped(bytes as u64));
        write!(f, "stack: {peak} of {len} bytes at most")
    }
}

/// A counter to measure the time for a token.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Reads the counter, which may wrap around. Its period must be longer than a token, and than a prompt with its
    /// first token: a counter at 160 MHz has a period of 26 s.
    pub ticks: rillm::Clock,
    /// The unit of a tick.
    pub unit: Unit,
}

/// Serves the console until the input ends.
///
/// It opens the first of the `files` that can be used. It opens another one when the user names it, and again the same
/// one after persistent errors, or the next one that can be used. The previous source is dropped first. `internal` is the
/// engine's internal memory, `external` its external memory.
///
/// With a blocking source every future is ready at once, and `block_on` is a sufficient executor. Reads of `io` always
/// block, so the console needs a thread or an executor of its own. On a 32-bit chip it uses about 18 KB of stack, and
/// 21 KB for `/bench` and `/selftest` (`/stats` on the emulated RISC-V board after each). The future accounts for 9 KB of this.
///
/// A read of `io` waits for at least one byte. An overrun of the input buffer is not an error: `io` should ignore it.
///
/// # Errors
/// Errors of `io` end the console. It prints all other errors and continues.
pub async fn run<C, F>(
    io: C,
    board: &dyn Board,
    mut files: F,
    internal: &mut [u8],
    external: &mut [u8],
) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
    F: Files,
{
    let mut console = Console::new(io, board)?;
    let mut wanted = Wanted::FirstFrom(1);
    // The file that is opened, and the one before it, which is opened again if the new one cannot be used.
    let (mut name, mut before) = (FileName::new(), None);
    // Whether the report of the file is known, as it was only closed for a list.
    let mut is_known = false;
    loop {
        let file = match wanted {
            Wanted::Named => Some(File { is_whole: true, len: 0 }),
            Wanted::Number(number) | Wanted::FirstFrom(number) => {
                let found = find(&mut files, number, &mut name).await;
                console.file(found, wanted)?
            }
            Wanted::Asked => None,
        };
        let next = match file {
            Some(File { is_whole: true, .. }) => {
                let opened = files.open(&name).await;
                console.visit(&name, opened, internal, external, is_known).await?
            }
            Some(_) => console.failed(&name, LongName)?,
            None if wanted == Wanted::Asked => console.ask()?,
            None => Next::Failed,
        };
        let was_open = file.is_some() && next != Next::Failed;
        is_known = next == Next::List;
        wanted = match next {
            Next::Ended => return Ok(()),
            Next::Open(requested) => {
                before = was_open.then(|| mem::take(&mut name));
                match requested {
                    Request::Name(requested) => {
                        name = requested;
                        Wanted::Named
                    }
                    Request::Number(number) => Wanted::Number(number),
                }
            }
            Next::List => {
                let given = MemoryLen { internal: internal.len(), external: external.len() };
                console.list(&mut files, was_open.then_some(&*name), given).await?;
                if was_open { Wanted::Named } else { Wanted::Asked }
            }
            Next::OpenAgain => {
                before = None;
                if was_open { Wanted::Named } else { Wanted::FirstFrom(1) }
            }
            Next::Failed => match (wanted, before.take()) {
                (Wanted::FirstFrom(number), _) if file.is_some() => Wanted::FirstFrom(number + 1),
                (Wanted::FirstFrom(_), _) => Wanted::Asked,
                (_, Some(before)) => {
                    name = before;
                    Wanted::Named
                }
                (_, None) => Wanted::FirstFrom(1),
            },
        };
    }
}

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
