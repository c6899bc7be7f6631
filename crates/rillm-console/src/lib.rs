//! The serial console of a board that runs rillm: a prompt, streamed text, and commands.
//!
//! The firmware passes [`run`] a byte console, a [`Board`], a function that opens a model, and memory. Everything else
//! is the same on every board. `docs/console.md` is the manual for users of a board. [`rillm_generate`] generates the
//! text, as it does for the `rillm` command.
//!
//! ```
//! use core::fmt::Display;
//!
//! use embedded_io::{Read, ReadReady, Write};
//! use rillm::WeightSource;
//! use rillm_console::{Board, Clock};
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
//! async fn serve<S: WeightSource<Error: Display>>(
//!     uart: impl Read + ReadReady + Write,
//!     open: impl AsyncFnMut(Option<&str>) -> Result<(S, &'static str), &'static str>,
//!     ram: &mut [u8],
//! ) {
//!     // It returns at the end of the input.
//!     let _ = rillm_console::run(uart, &MyBoard, open, ram, &mut []).await;
//! }
//! ```
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
mod kernel_bench;
mod line;
mod report;
mod screen;
mod selftest;
mod serve;
mod settings;

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::kernels::Dot;
use rillm::{Model, Plan, PlanOptions, WeightSource};
use rillm_generate::Unit;
use rillm_generate::number::Grouped;

use serve::{Console, Next};

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
/// `open` opens the file of a name, or without a name the first model. It returns the source and a few words about it
/// for the report: `card: 1,809,920 bytes, 1 run`. It is called again when the user names another file, and after
/// persistent errors; the previous source is dropped first. `fast` is the engine's internal memory, `large` its
/// external memory.
///
/// With a blocking source every future is ready at once, and `block_on` is a sufficient executor. Reads of `io` always
/// block, so the console needs a thread or an executor of its own. On a 32-bit chip it uses about 20 KB of stack, and
/// 23 KB for `/bench` and `/selftest` (`/stats` on the emulated RISC-V board after each). The future accounts for 9 KB of this.
///
/// A read of `io` waits for at least one byte. An overrun of the input buffer is not an error: `io` should ignore it.
///
/// # Errors
/// Errors of `io` end the console. It prints all other errors and continues.
pub async fn run<C, O, S, D, E>(
    io: C,
    board: &dyn Board,
    mut open: O,
    fast: &mut [u8],
    large: &mut [u8],
) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
    O: AsyncFnMut(Option<&str>) -> Result<(S, D), E>,
    S: WeightSource<Error: fmt::Display>,
    D: fmt::Display,
    E: fmt::Display,
{
    let mut console = Console::new(io, board)?;
    let mut name = None;
    // The name of the previous model, which is opened again if the next one fails to open.
    let mut before = None;
    loop {
        let opened = open(name.as_deref()).await;
        let next = match console.visit(opened, fast, large).await? {
            Next::Failed => match before.take() {
                Some(working) => {
                    name = working;
                    continue;
                }
                None => console.ask()?,
            },
            next => next,
        };
        match next {
            Next::Open(other) => before = Some(name.replace(other)),
            Next::OpenAgain | Next::Failed => before = None,
            Next::Ended => return Ok(()),
        }
    }
}
