//! The chip of a board.

use esp_hal::Blocking;
use esp_hal::uart::Uart;

use super::Parts;

/// Bits a second of the serial line.
pub const BAUD: u32 = 115_200;

/// Called where the engine and the console come to the firmware's code. A chip needs nothing there.
#[inline(always)]
pub fn enter() {}

/// All that the board has.
pub fn parts() -> Parts {
    Parts { psram: true, second_core: true }
}

/// The slot for a card.
pub fn slot<S>(slot: S) -> S {
    slot
}

/// The serial line's input.
#[derive(Default)]
pub struct Input {
    /// A byte that has come.
    next: Option<u8>,
}

impl Input {
    /// Whether there is a byte. A buffer that overflowed is empty afterwards: only a byte at hand can be promised.
    pub fn is_ready(&mut self, uart: &mut Uart<'static, Blocking>) -> bool {
        let mut byte = [0];
        if self.next.is_none() && uart.read_buffered(&mut byte) == Ok(1) {
            self.next = Some(byte[0]);
        }
        self.next.is_some()
    }

    /// Waits for a byte and takes it.
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

/// The chip's revision, its major number, by which the PSRAM is used or not.
#[cfg(feature = "esp32")]
pub fn revision() -> u8 {
    esp_hal::efuse::chip_revision().major
}

/// Whether esp-hal knows the PSRAM's pins in the chip's package; it would panic where it does not.
#[cfg(feature = "esp32")]
pub fn has_known_package() -> bool {
    use esp_hal::efuse::{ChipType, chip_type};
    !matches!(chip_type(), ChipType::Esp32Picod4 | ChipType::Unknown)
}

/// Before the second core starts.
#[cfg(feature = "second-core")]
pub fn before_second_core() {}

/// After the second core was started.
#[cfg(feature = "second-core")]
pub fn after_second_core() {}
