//! The platform of a real chip.

use esp_hal::Blocking;
use esp_hal::uart::Uart;

use super::Parts;

/// Baud rate of the serial line.
pub const BAUD: u32 = 115_200;

/// Called where the engine and the console call the firmware. A real chip needs no action.
#[inline(always)]
pub fn enter() {}

/// The parts of the board to use: all.
pub fn parts() -> Parts {
    Parts { psram: true, second_core: true }
}

/// The card slot.
pub fn slot<S>(slot: S) -> S {
    slot
}

/// The input of the serial line.
#[derive(Default)]
pub struct Input {
    /// A received byte.
    next: Option<u8>,
}

impl Input {
    /// Whether a byte has been received. Takes it from the UART, whose buffer is emptied if it overflows.
    pub fn is_ready(&mut self, uart: &mut Uart<'static, Blocking>) -> bool {
        let mut byte = [0];
        if self.next.is_none() && uart.read_buffered(&mut byte) == Ok(1) {
            self.next = Some(byte[0]);
        }
        self.next.is_some()
    }

    /// Waits for a byte and returns it.
    pub fn read(&mut self, uart: &mut Uart<'static, Blocking>, buf: &mut [u8]) -> usize {
        let Some(slot) = buf.first_mut() else { return 0 };
        loop {
            if self.is_ready(uart)
                && let Some(byte) = self.next.take()
            {
                *slot = byte;
                return 1;
            }
        }
    }
}

/// The chip's major revision, which decides about the use of PSRAM.
#[cfg(feature = "esp32")]
pub fn revision() -> u8 {
    esp_hal::efuse::chip_revision().major
}

/// Whether esp-hal knows the pins of PSRAM in the chip's package. If not, it would panic.
#[cfg(feature = "esp32")]
pub fn has_known_package() -> bool {
    use esp_hal::efuse::{ChipType, chip_type};
    !matches!(chip_type(), ChipType::Esp32Picod4 | ChipType::Unknown)
}

/// Called before the second core starts.
#[cfg(feature = "second-core")]
pub fn before_second_core() {}

/// Called after the second core has started.
#[cfg(feature = "second-core")]
pub fn after_second_core() {}
