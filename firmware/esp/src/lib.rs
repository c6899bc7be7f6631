//! rillm on ESP32 boards, on esp-hal: what an example of a board hands its peripherals to.
//!
//! ```ignore
//! #[esp_hal::main]
//! fn main() -> ! {
//!     let p = rillm_esp::init();
//!     Firmware {
//!         board: &boards::ESP32_CAM,
//!         console: Console::new(p.UART0, p.GPIO3, p.GPIO1),
//!         card: spi(p.SPI2, p.GPIO18, p.GPIO23, p.GPIO19, p.GPIO5),
//!         psram: Some(p.PSRAM),
//!         second_core: Some(p.CPU_CTRL),
//!     }
//!     .run()
//! }
//! ```
#![no_std]
#![cfg_attr(target_arch = "xtensa", feature(asm_experimental_arch))]

pub mod card;
mod clock;
mod console_io;
mod flash;
mod memory;
mod model;
mod psram;
mod report;
#[cfg(feature = "second-core")]
mod second_core;
#[cfg(feature = "simulator")]
mod simulator;
#[cfg(feature = "usb")]
mod usb_console;

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::block_on;
// The panic handler.
use esp_backtrace as _;
use esp_hal::clock::CpuClock;
#[cfg(feature = "second-core")]
use esp_hal::peripherals::CPU_CTRL;
#[cfg(feature = "psram")]
use esp_hal::peripherals::PSRAM;
use esp_hal::peripherals::Peripherals;
use rillm::plan::PlanOptions;
use rillm_card::Slot;
use rillm_console::boards::Board as BoardFacts;
use rillm_console::estimate::{self, Estimate, Pace, Range, Weights};
use rillm_console::{Board, StackUse};

pub use console_io::Console;
pub use rillm_console::boards;
#[cfg(feature = "usb")]
pub use usb_console::{Both, UsbConsole};

esp_bootloader_esp_idf::esp_app_desc!();

/// What some compilers call where a program cannot go on. The ROM of the ESP32 has one.
#[cfg(feature = "esp32s3")]
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    panic!("the program came to where it cannot go on")
}

/// Starts the chip at its full clock.
pub fn init() -> Peripherals {
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// A board, as an example wires it.
pub struct Firmware<C, S> {
    /// What it is. One that nobody has described is the nearest of them, with another name: `Board { name: "my board", ..ESP32_CAM }`.
    pub board: &'static BoardFacts,
    /// The serial line.
    pub console: C,
    /// The slot for a card.
    pub card: S,
    /// External memory, if the board has some.
    #[cfg(feature = "psram")]
    pub psram: Option<PSRAM<'static>>,
    /// The second core, to share the multiplications with. The feature `one-core` leaves it alone.
    #[cfg(feature = "second-core")]
    pub second_core: Option<CPU_CTRL<'static>>,
}

impl<C, S> Firmware<C, S>
where
    C: Read + ReadReady + Write<Error = Infallible>,
    S: Slot<Error: fmt::Display>,
{
    /// Serves the console for good.
    pub fn run(self) -> ! {
        #[cfg(feature = "simulator")]
        simulator::forget_windows();
        let stack = memory::stack();
        let Self {
            board: facts,
            mut console,
            card,
            #[cfg(feature = "psram")]
            psram,
            #[cfg(feature = "second-core")]
            second_core,
        } = self;
        #[cfg(feature = "second-core")]
        let second_core = second_core.filter(|_| !cfg!(feature = "one-core"));
        #[cfg(feature = "simulator")]
        let (psram, second_core) = simulator::wanted(psram, second_core);

        let (spare, core_stack) = memory::spare();
        #[cfg(feature = "second-core")]
        let two_cores = second_core.is_some();
        #[cfg(not(feature = "second-core"))]
        let two_cores = false;
        // The two cores' caches are one to the PSRAM: it is mapped before the second core starts, and looked at after it.
        #[cfg(feature = "psram")]
        let mapped = psram.map(|psram| psram::map(psram, two_cores)).transpose();
        #[cfg(feature = "second-core")]
        let dot = second_core.map(|core| second_core::start(core, core_stack));
        #[cfg(not(feature = "second-core"))]
        let (dot, ()) = (None, *core_stack);
        #[cfg(feature = "psram")]
        let psram = mapped.and_then(|mapped| mapped.map(psram::Mapped::memory).transpose());
        #[cfg(not(feature = "psram"))]
        let psram: Result<Option<&'static mut [u8]>, psram::Error> = Ok(None);
        let report = report::Report {
            psram: psram.as_ref().map(|psram| psram.as_ref().map(|memory| memory.len())).map_err(|&error| error),
            two_cores,
            stack,
        };
        let large = psram.ok().flatten();
        let facts = BoardFacts { psram: facts.psram.filter(|_| large.is_some()), ..*facts };
        let cache_in_large = large.is_none() || !psram::for_weights_alone();
        let large = large.unwrap_or(spare);
        let published = Pace { cores: 1 + u32::from(two_cores), ..Pace::of(&facts) };
        // Of the model that is opened: where it is, and how fast the card is.
        let found = Cell::new((Weights::Flash, published));

        let check_every = PlanOptions::new(0).check_every;
        let board = Board {
            name: facts.name,
            clock: Some(clock::clock()),
            plan: &|model| {
                let (weights, pace) = found.get();
                PlanOptions { cache_in_large, check_every, ..estimate::options(&facts, &pace, model, weights) }
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
        let fast = memory::fast();
        #[cfg(feature = "simulator")]
        let card = {
            drop(card);
            simulator::Card
        };
        let card = RefCell::new(card);
        let open = async |name: Option<&str>| {
            let opened = model::open(&card, name).await;
            if let Ok((_, about)) = &opened {
                let (weights, rate) = about.pace();
                // What a command takes is in what was measured.
                let card =
                    rate.map(|rate| Pace { card: Range::exactly(rate), command: Range::exactly(0), ..published });
                found.set((weights, card.unwrap_or(published)));
            }
            opened
        };
        loop {
            // A serial line has no end, and what goes wrong on it is passed over.
            let Ok(()) = block_on(rillm_console::run(&mut console, &board, &open, fast, large));
        }
    }
}
