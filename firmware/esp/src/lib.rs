//! rillm on ESP32 boards, on top of esp-hal. An example for a board passes its peripherals to [`Firmware`].
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
mod platform;
#[cfg_attr(not(feature = "psram"), path = "no_psram.rs")]
mod psram;
mod report;
#[cfg_attr(not(feature = "second-core"), path = "one_core.rs")]
mod second_core;
mod serve;
#[cfg(feature = "usb")]
mod usb_console;

use core::convert::Infallible;
use core::fmt;

use embedded_io::{Read, ReadReady, Write};
// The panic handler.
use esp_backtrace as _;
use esp_hal::clock::CpuClock;
use esp_hal::peripherals::Peripherals;
use rillm_boards::BoardSpec;
use rillm_card::Slot;

use serve::{Hardware, serve};

pub use console_io::Console;
pub use rillm_boards as boards;
#[cfg(feature = "usb")]
pub use usb_console::{Both, UsbConsole};

esp_bootloader_esp_idf::esp_app_desc!();

/// Some compilers call `abort` where code is unreachable. The ESP32 has one in ROM.
#[cfg(feature = "esp32s3")]
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    panic!("abort was called: unreachable code was reached")
}

/// Initialises the chip at its full clock.
pub fn init() -> Peripherals {
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// A board with its peripherals.
pub struct Firmware<C, S> {
    /// The specification of the board. For an unknown board, take the nearest one and rename it: `BoardSpec { name: "my
    /// board", ..ESP32_CAM }`.
    pub board: &'static BoardSpec,
    /// The serial console.
    pub console: C,
    /// The card slot.
    pub card: S,
    /// The PSRAM, if the board has any.
    pub psram: Option<psram::Peripheral>,
    /// The second core, which shares the multiplications. The feature `one-core` leaves it unused.
    pub second_core: Option<second_core::Peripheral>,
}

impl<C, S> Firmware<C, S>
where
    C: Read + ReadReady + Write<Error = Infallible>,
    S: Slot<Error: fmt::Display + Clone>,
{
    /// Serves the console forever.
    pub fn run(self) -> ! {
        platform::enter();
        let stack = memory::stack();
        let Self { board, console, card, psram, second_core } = self;
        let parts = platform::parts();
        let psram = psram.filter(|_| parts.psram);
        let second_core = second_core.filter(|_| parts.second_core && !cfg!(feature = "one-core"));

        // Both cores share a cache for the PSRAM. It must be mapped before the second core starts, and tested
        // afterwards.
        let (spare, core_stack) = memory::spare();
        let mapped = psram::map(psram, second_core.is_some());
        let dot = second_core::start(second_core, core_stack);
        let psram = mapped.and_then(|mapped| mapped.map(psram::memory).transpose());

        let hardware = Hardware { internal: memory::internal(), spare, psram, dot, stack };
        serve(board, console, platform::slot(card), hardware)
    }
}
