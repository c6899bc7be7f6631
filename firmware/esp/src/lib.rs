//! rillm on ESP32 boards, on esp-hal: what an example of a board hands its peripherals to.
//!
//! ```ignore
//! #[esp_hal::main]
//! fn main() -> ! {
//!     let p = rillm_esp::init();
//!     Firmware {
//!         name: "my board",
//!         console: Console::new(p.UART0, p.GPIO3, p.GPIO1),
//!         psram: Some(p.PSRAM),
//!         second_core: None,
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

use embassy_futures::block_on;
// The panic handler.
use esp_backtrace as _;
use esp_hal::clock::CpuClock;
use esp_hal::peripherals::Peripherals;
use rillm::plan::PlanOptions;
use rillm_console::Board;
use rillm_console::number::Grouped;

pub use console_io::Console;
use model::{About, Error, Model};

esp_bootloader_esp_idf::esp_app_desc!();

/// Starts the chip at its full clock.
pub fn init() -> Peripherals {
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// A board, as an example wires it.
pub struct Firmware {
    /// Its name, for the console.
    pub name: &'static str,
    /// The serial line.
    pub console: Console,
}

impl Firmware {
    /// Serves the console for good.
    pub fn run(self) -> ! {
        let stack = memory::stack();
        let Self { name, mut console } = self;
        let board = Board {
            name,
            clock: Some(clock::clock()),
            plan: PlanOptions::new(0),
            stats: &|out| {
                let [peak, len] = [stack.peak(), stack.len()].map(|bytes| Grouped(bytes as u64));
                writeln!(out, "stack: {peak} of {len} bytes at most")
            },
        };
        let open = async |name: Option<&str>| match name {
            None => Ok((Model::Flash(flash::model()), About::Flash)),
            Some(_) => Err(Error::NoCard),
        };
        let fast = memory::fast();
        loop {
            // A serial line has no end, and what goes wrong on it is passed over.
            let Ok(()) = block_on(rillm_console::run(&mut console, &board, open, fast, &mut []));
        }
    }
}
