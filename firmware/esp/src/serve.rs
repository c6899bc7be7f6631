//! Serves the console on the started hardware.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::kernels::Dot;
use rillm::{Model, Plan, PlanOptions, block_on};
use rillm_boards::{BoardSpec, Estimate, ModelPlace, Pace, Range, options};
use rillm_card::Slot;
use rillm_console::{Board, Clock, StackUse};
use rillm_watermark::Stack;

use crate::model::BoardFiles;
use crate::report::StartReport;
use crate::{clock, flash, psram};

/// The hardware for the engine.
pub struct Hardware {
    /// The engine's internal memory.
    pub internal: &'static mut [u8],
    /// Internal memory outside that block, for boards without PSRAM.
    pub spare: &'static mut [u8],
    /// The PSRAM, if the board has any, or why it is not used.
    pub psram: Result<Option<&'static mut [u8]>, psram::Error>,
    /// The multiplication on both cores, if both are used.
    pub dot: Option<Dot>,
    /// The stack.
    pub stack: Stack,
}

/// Serves the console forever, on a board with the specification `spec`.
pub fn serve<C, S>(spec: &BoardSpec, mut console: C, card: S, hardware: Hardware) -> !
where
    C: Read + ReadReady + Write<Error = Infallible>,
    S: Slot<Error: fmt::Display + Clone>,
{
    let Hardware { internal, spare, psram, dot, stack } = hardware;
    let two_cores = dot.is_some();
    let report = StartReport {
        psram: psram.as_ref().map(|psram| psram.as_ref().map(|memory| memory.len())).map_err(|&error| error),
        two_cores,
        flash: flash::mode(),
        stack,
    };
    let external = psram.ok().flatten();
    let spec = BoardSpec { psram: spec.psram.filter(|_| external.is_some()), ..*spec };
    let published = Pace::of(&spec);
    let flash = report.flash.map_or(published.flash, |mode| mode.rate().range);
    let published = Pace { cores: 1 + u32::from(two_cores), flash, ..published };
    let opened = Cell::new((ModelPlace::Flash, published));
    let board = EspBoard { spec, report, dot, opened };
    let card = RefCell::new(card);
    let opened = |place, rate: Option<u64>| {
        // The measured rate includes the overhead of each read.
        let card = rate.map(|rate| Pace { card: Range::exactly(rate), command: Range::exactly(0), ..published });
        board.opened.set((place, card.unwrap_or(published)));
    };
    let external = external.unwrap_or(spare);
    loop {
        let files = BoardFiles::new(&card, &opened);
        // Serial input never ends, and its errors are ignored.
        let Ok(()) = block_on(rillm_console::run(&mut console, &board, files, internal, external));
    }
}

/// The board for the console.
struct EspBoard {
    /// The specification, without a PSRAM that is not used.
    spec: BoardSpec,
    report: StartReport,
    dot: Option<Dot>,
    /// Where the weights of the open model are stored, and the speed of the board with them.
    opened: Cell<(ModelPlace, Pace)>,
}

impl Board for EspBoard {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn clock(&self) -> Option<Clock> {
        Some(clock::clock())
    }

    fn plan_options(&self, model: &Model) -> PlanOptions {
        let (place, pace) = self.opened.get();
        let cache_in_external = self.spec.psram.is_none() || !psram::for_weights_alone();
        options(&pace, model, place).cache_in_external(cache_in_external)
    }

    fn dot(&self) -> Option<Dot> {
        self.dot
    }

    fn stack(&self) -> Option<StackUse> {
        Some(self.report.stack())
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.report.start(out)
    }

    fn expect(&self, out: &mut dyn fmt::Write, model: &Model, plan: &Plan) -> fmt::Result {
        let (place, pace) = self.opened.get();
        writeln!(out, "{}", Estimate { model, plan, pace, place })?;
        self.report.ready(out)
    }

    fn stats(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "{}; there is no heap", self.report.stack())
    }
}
