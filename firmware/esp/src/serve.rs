//! The console on the started hardware.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::block_on;
use rillm::kernels::Dot;
use rillm::plan::PlanOptions;
use rillm_boards::{BoardSpec, Estimate, Pace, Range, Weights, options};
use rillm_card::Slot;
use rillm_console::{Board, StackUse};
use rillm_watermark::Stack;

use crate::report::Report;
use crate::{clock, model, psram};

/// What the engine runs on.
pub struct Hardware {
    /// The engine's internal memory.
    pub internal: &'static mut [u8],
    /// Internal memory that is not next to it, for boards without PSRAM.
    pub spare: &'static mut [u8],
    /// The PSRAM, if the board has one, or why it is not used.
    pub psram: Result<Option<&'static mut [u8]>, psram::Error>,
    /// What multiplies with both cores, if both are used.
    pub dot: Option<Dot>,
    /// The stack.
    pub stack: Stack,
}

/// Serves the console for good. `facts` are the board's as it is described.
pub fn serve<C, S>(facts: &BoardSpec, mut console: C, card: S, hardware: Hardware) -> !
where
    C: Read + ReadReady + Write<Error = Infallible>,
    S: Slot<Error: fmt::Display>,
{
    let Hardware { internal, spare, psram, dot, stack } = hardware;
    let two_cores = dot.is_some();
    let report = Report {
        psram: psram.as_ref().map(|psram| psram.as_ref().map(|memory| memory.len())).map_err(|&error| error),
        two_cores,
        stack,
    };
    let external = psram.ok().flatten();
    let facts = BoardSpec { psram: facts.psram.filter(|_| external.is_some()), ..*facts };
    let cache_in_large = external.is_none() || !psram::for_weights_alone();
    let external = external.unwrap_or(spare);
    let published = Pace { cores: 1 + u32::from(two_cores), ..Pace::of(&facts) };
    // Of the model that is opened: where it is, and how fast the card is.
    let found = Cell::new((Weights::Flash, published));

    let check_every = PlanOptions::new(0).check_every;
    let board = Board {
        name: facts.name,
        clock: Some(clock::clock()),
        plan: &|model| {
            let (weights, pace) = found.get();
            PlanOptions { cache_in_large, check_every, ..options(&facts, &pace, model, weights) }
        },
        dot,
        start: &|out| report.start(out),
        expect: &|out, model, plan| {
            let (weights, pace) = found.get();
            writeln!(out, "{}", Estimate { model, plan, pace, weights, check_every })?;
            report.ready(out)
        },
        stack: &|| Some(StackUse { peak: stack.peak(), len: stack.len() }),
        stats: &|out| report.stats(out),
    };
    let card = RefCell::new(card);
    let open = async |name: Option<&str>| {
        let opened = model::open(&card, name).await;
        if let Ok((_, about)) = &opened {
            let (weights, rate) = about.pace();
            // What a command takes is in what was measured.
            let card = rate.map(|rate| Pace { card: Range::exactly(rate), command: Range::exactly(0), ..published });
            found.set((weights, card.unwrap_or(published)));
        }
        opened
    };
    loop {
        // A serial line has no end, and what goes wrong on it is passed over.
        let Ok(()) = block_on(rillm_console::run(&mut console, &board, &open, internal, external));
    }
}
