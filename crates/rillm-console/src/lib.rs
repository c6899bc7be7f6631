//! The serial console of a board that runs rillm: a prompt line in, text out as it comes, and commands.
//!
//! The firmware hands [`run`] a byte console, a [`Board`], a way to open a model, and memory; everything else is the same on
//! every board. `docs/console.md` is what the user of a board reads. The text itself comes from [`rillm_generate`], as that of
//! the `rillm` command does.
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
//!     // It comes back at the end of the input.
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
mod commands;
mod kernel_bench;
mod line;
mod report;
mod screen;
mod serve;
mod settings;

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::kernels::Dot;
use rillm::{Model, Plan, PlanOptions, WeightSource};
use rillm_generate::Unit;
use rillm_generate::number::Grouped;

use serve::{Console, Next};

/// What the console knows of the board. Only the name has to be given.
pub trait Board {
    /// The board's name, for the first line of the report.
    fn name(&self) -> &str;

    /// A clock, if there is one.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// How the engine's memory is planned for a model. The console fills in the candidates.
    fn plan_options(&self, _model: &Model) -> PlanOptions {
        PlanOptions::default()
    }

    /// How often weights are checked: see [`Session::set_check_every`](rillm::Session::set_check_every).
    fn check_every(&self) -> u32 {
        rillm::CHECK_EVERY
    }

    /// How rows are multiplied, if not by the engine's own kernel: on two cores, for example.
    fn dot(&self) -> Option<Dot> {
        None
    }

    /// How much of the stack was used, if that is counted.
    fn stack(&self) -> Option<StackUse> {
        None
    }

    /// Writes lines after the first line of the report, each with its `\n`: chip, clocks, memories.
    ///
    /// # Errors
    /// Those of `out`.
    fn describe(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }

    /// Writes lines after the plan of a model, each with its `\n`: the speed to expect, for example.
    ///
    /// # Errors
    /// Those of `out`.
    fn expect(&self, _out: &mut dyn fmt::Write, _model: &Model, _plan: &Plan) -> fmt::Result {
        Ok(())
    }

    /// Writes the last lines of `/stats`, each with its `\n`; if not overridden, that of the stack.
    ///
    /// # Errors
    /// Those of `out`.
    fn stats(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.stack().map_or(Ok(()), |stack| writeln!(out, "{stack}"))
    }
}

/// How much of the stack was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackUse {
    /// The most bytes that were in use.
    pub peak: usize,
    /// Bytes of the stack.
    pub len: usize,
}

impl fmt::Display for StackUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [peak, len] = [self.peak, self.len].map(|bytes| Grouped(bytes as u64));
        write!(f, "stack: {peak} of {len} bytes at most")
    }
}

/// A counter that shows what a token takes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The counter. It wraps around, and must not go round once between two tokens, nor between a prompt and the first one: a
    /// counter of 160 MHz goes round in 26 s.
    pub ticks: rillm::Clock,
    /// What it counts.
    pub unit: Unit,
}

/// Serves the console until the input ends.
///
/// `open` gives a source by the file's name, or the first one that there is, and a few words about it for the report:
/// `card: 1,809,920 bytes, 1 run`. It is called again where the user names another file and after errors that stay; the source
/// before it is dropped then. The model runs in `fast`, and in `large` besides: internal and external RAM.
///
/// With a source that blocks every future is ready at once, and a `block_on` is all the executor that is needed. Reads of `io`
/// block in any case: the console wants a thread, or an executor, of its own. On a 32-bit chip it takes about 18 KB of stack,
/// 22 KB for `/bench` (`/stats` on the emulated RISC-V board after each), of which 9 KB are this future.
///
/// A read of `io` waits for at least a byte. Bytes that a full buffer lost are no error of a console: `io` had better pass over
/// them.
///
/// # Errors
/// Those of `io`, at once. Whatever else fails is said on the console, which goes on.
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
    // The name of the model before, to go back to where another one cannot be opened.
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
