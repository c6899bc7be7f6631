//! The SPI bus to the SD card: the chip's QSPI2 with one lane, and its chip select.

use core::convert::Infallible;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::spi::{self, SpiBus};

const BASE: usize = 0x1005_0000;
const CSDEF: *mut u32 = (BASE + 0x14) as *mut u32;
const CSMODE: *mut u32 = (BASE + 0x18) as *mut u32;
const FMT: *mut u32 = (BASE + 0x40) as *mut u32;
const TXDATA: *mut u32 = (BASE + 0x48) as *mut u32;
const RXDATA: *mut u32 = (BASE + 0x4c) as *mut u32;

/// Length of the controller's FIFO in bytes.
const FIFO_LEN: usize = 8;
/// Flag of RXDATA: no byte received.
const EMPTY: u32 = 1 << 31;
/// Frame format: eight bits, one lane, most significant bit first.
const EIGHT_BITS: u32 = 8 << 16;
/// Chip select stays low.
const CSMODE_HOLD: u32 = 2;
/// Chip select is low during a transfer; in QEMU it is high.
const CSMODE_AUTO: u32 = 0;

/// First byte of the command `READ_OCR`.
const READ_OCR: u8 = 0x40 | 58;
/// Flag of a card's answer: not initialised.
const IDLE: u8 = 1;
/// Flag of a byte that is not an answer yet.
const BUSY: u8 = 1 << 7;
/// The value of an idle line.
const NOTHING: u8 = 0xff;

/// The bus.
pub struct Spi {
    /// QEMU 7.2's card always reports the idle state to `READ_OCR`. The next answer is corrected.
    corrects_answer: bool,
}

impl Spi {
    /// Switches the bus on and sends the card the clocks that it needs after power-on.
    pub fn new() -> Self {
        // SAFETY: these are the registers of the controller, and nobody else uses it.
        unsafe {
            CSDEF.write_volatile(1);
            CSMODE.write_volatile(CSMODE_AUTO);
            FMT.write_volatile(EIGHT_BITS);
            while RXDATA.read_volatile() & EMPTY == 0 {}
        }
        let mut spi = Self { corrects_answer: false };
        let Ok(()) = spi.write(&[NOTHING; 10]);
        spi
    }

    fn send(byte: u8) {
        // SAFETY: a register of the controller.
        unsafe { TXDATA.write_volatile(byte.into()) }
    }

    /// Waits for the received byte of one that was sent.
    fn receive() -> u8 {
        loop {
            // SAFETY: a register of the controller.
            let data = unsafe { RXDATA.read_volatile() };
            if data & EMPTY == 0 {
                return data as u8;
            }
        }
    }
}

impl spi::ErrorType for Spi {
    type Error = Infallible;
}

impl SpiBus for Spi {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(NOTHING);
        self.transfer_in_place(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.corrects_answer = bytes.first() == Some(&READ_OCR);
        for &byte in bytes {
            Self::send(byte);
            Self::receive();
        }
        Ok(())
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), Infallible> {
        for i in 0..read.len().max(write.len()) {
            Self::send(write.get(i).copied().unwrap_or(NOTHING));
            let mut byte = Self::receive();
            if self.corrects_answer && byte & BUSY == 0 {
                self.corrects_answer = false;
                byte &= !IDLE;
            }
            if let Some(slot) = read.get_mut(i) {
                *slot = byte;
            }
        }
        Ok(())
    }

    fn transfer_in_place(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // Whole FIFOs are unrolled, for the 512 bytes of a block.
        let (fulls, rest) = bytes.as_chunks_mut::<FIFO_LEN>();
        for full in fulls {
            full.iter().for_each(|&byte| Self::send(byte));
            full.iter_mut().for_each(|byte| *byte = Self::receive());
        }
        for byte in rest {
            Self::send(*byte);
            *byte = Self::receive();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The card's chip select, driven by the controller.
pub struct ChipSelect;

impl digital::ErrorType for ChipSelect {
    type Error = Infallible;
}

impl OutputPin for ChipSelect {
    fn set_low(&mut self) -> Result<(), Infallible> {
        // SAFETY: a register of the controller.
        unsafe { CSMODE.write_volatile(CSMODE_HOLD) };
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        // SAFETY: a register of the controller.
        unsafe { CSMODE.write_volatile(CSMODE_AUTO) };
        Ok(())
    }
}

/// The card driver's pauses of 10 microseconds between polls take no time. QEMU's card is always ready, and a real
/// pause would count as ten thousand instructions.
pub struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}
