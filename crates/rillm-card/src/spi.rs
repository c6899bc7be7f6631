//! A card over SPI: four wires, on any chip.
//!
//! Reads block. A chip waits for a block at 20 MHz about fifteen times as long as it multiplies with it (0.5 µs a byte, by the
//! figure of 1.67 MB/s that others measured, and 8 cycles, by that of esp-dsp for a RISC-V core without vectors), so that doing
//! both at a time would bring a few percent, and take a task's turn for each byte in which the card is asked whether the next
//! block begins.
//!
//! Every block's checksum is looked at. Computing it takes 17 instructions a byte, a fifth of the time of a block; without it, a
//! bit that flips on a long wire is noticed by the check of all weights, up to 64 tokens later, and a clock that is too fast for
//! the wires not at all while the mode is chosen.

use embedded_hal::spi::{Error as _, ErrorKind, ErrorType, Operation, SpiDevice};
use embedded_sdmmc::sdcard::spi::AcquireOpts;
use embedded_sdmmc::{BlockDevice, BlockIdx, SdCard, SdCardError};
use embedded_sdmmc_types::sdcard::CardType;

use crate::blocking::{as_blocks, stop_sending};
use crate::blocks::Blocks;
use crate::pause::Pause;
use crate::slot::{Found, Mode, Slot, SlotError};
use crate::volume::BLOCK_LEN;

/// Cards take 25 MHz at most.
const MODES: [Mode; 3] = [mode(20), mode(10), mode(4)];
/// For a card that is not initialised.
const SLOW: u32 = 400_000;
/// How often the driver asks for a card again. It asks 10,000 bytes long, 0.4 s.
const ACQUIRE_RETRIES: u32 = 1;
/// Blocks of a sample.
const SAMPLE: usize = 8;
/// Microseconds that an initialisation takes at most: a card 1 s (SD Physical Layer, 4.2.3), and the driver 0.8 s to find none.
/// Its own limits count bytes, 10,000 times 10,000 where each command is answered wrongly.
const INITIALISE: u32 = 3_000_000;
/// Microseconds that a read takes at most: a card sends the first byte of a block within 100 ms, and a block at 4 MHz takes 1 ms.
const READ: u32 = 1_000_000;
const BLOCK: u32 = 5_000;

const fn mode(mhz: u32) -> Mode {
    Mode { lines: "SPI", hz: mhz * 1_000_000 }
}

/// A card's SPI bus and chip select: embedded-hal's device, and what a driver asks of it besides.
pub trait SpiHost: SpiDevice {
    /// Has the bus use a clock of `hz`, or the next slower one that it has.
    ///
    /// # Errors
    /// The bus's.
    fn set_clock(&mut self, hz: u32) -> Result<(), Self::Error>;

    /// Gives the card at least the 74 clocks that it wants before its first command, its chip select high.
    ///
    /// # Errors
    /// The bus's.
    fn wake(&mut self) -> Result<(), Self::Error>;

    /// A clock that counts microseconds, modulo 2^32.
    fn micros() -> u32;
}

/// A host that answers with an error once the time for what it is used for is over.
struct Limited<H> {
    host: H,
    start: u32,
    most: u32,
}

impl<H: SpiHost> Limited<H> {
    /// What follows takes no longer than so many microseconds.
    fn begin(&mut self, most: u32) {
        (self.start, self.most) = (H::micros(), most);
    }

    fn is_late(&self) -> bool {
        H::micros().wrapping_sub(self.start) > self.most
    }
}

impl<H: SpiHost> ErrorType for Limited<H> {
    type Error = ErrorKind;
}

impl<H: SpiHost> SpiDevice for Limited<H> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), ErrorKind> {
        if self.is_late() {
            return Err(ErrorKind::Other);
        }
        self.host.transaction(operations).map_err(|error| error.kind())
    }
}

type Driver<H> = SdCard<Limited<H>, Pause>;

/// A card over SPI, on a bus of its own.
pub struct SpiCard<H: SpiHost> {
    driver: Driver<H>,
    mode: Mode,
    /// The card whose file is open, as far as it can be told from others: its blocks, and how it counts them. Another card of
    /// the same size is told by the checksum of the weights.
    opened: Option<(u32, bool)>,
    ready: bool,
}

impl<H: SpiHost> SpiCard<H> {
    /// The card on `host`.
    pub fn new(host: H) -> Self {
        let host = Limited { host, start: 0, most: 0 };
        let options = AcquireOpts { use_crc: true, acquire_retries: ACQUIRE_RETRIES };
        let driver = SdCard::new_with_options(host, Pause(H::micros), options);
        Self { driver, mode: MODES[0], opened: None, ready: false }
    }

    /// Runs `operation`, which takes no longer than so many microseconds.
    fn limited<T>(
        &self,
        most: u32,
        operation: impl FnOnce(&Driver<H>) -> Result<T, SdCardError>,
    ) -> Result<T, SdCardError> {
        self.driver.spi(|host| host.begin(most));
        match operation(&self.driver) {
            // What the driver calls an error of the peripheral.
            Err(SdCardError::Transport) if self.driver.spi(|host| host.is_late()) => {
                Err(SdCardError::TimeoutReadBuffer)
            }
            result => result,
        }
    }

    /// The card's blocks, and whether it counts its addresses by them; none where there is no card.
    fn initialise(&mut self) -> Result<Option<(u32, bool)>, SdCardError> {
        self.ready = false;
        let hz = self.mode.hz;
        self.limited(INITIALISE, |driver| {
            driver.spi(|limited| {
                limited.host.set_clock(SLOW).and_then(|()| limited.host.wake()).map_err(|_| SdCardError::Transport)?;
                stop_sending(limited);
                Ok(())
            })?;
            driver.mark_card_uninit();
            let blocks = match driver.num_blocks() {
                Err(SdCardError::CardNotFound) => return Ok(None),
                blocks => blocks?.0,
            };
            let high_capacity = matches!(driver.get_card_type(), Some(CardType::SdhcSdxc));
            driver.spi(|limited| limited.host.set_clock(hz).map_err(|_| SdCardError::Transport))?;
            Ok(Some((blocks, high_capacity)))
        })
    }

    fn check_ready(&self) -> Result<(), SlotError<SdCardError>> {
        if self.ready { Ok(()) } else { Err(SlotError::NotInitialised) }
    }
}

fn most(blocks: usize) -> u32 {
    READ.saturating_add(BLOCK.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)))
}

impl<H: SpiHost> Blocks for SpiCard<H> {
    type Error = SlotError<SdCardError>;

    async fn count(&mut self) -> Result<u32, Self::Error> {
        Ok(self.opened.ok_or(SlotError::NotInitialised)?.0)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.check_ready()?;
        let blocks = as_blocks(buf);
        Ok(self.limited(most(blocks.len()), |driver| driver.read(blocks, BlockIdx(first)))?)
    }

    async fn recover(&mut self) -> Result<(), Self::Error> {
        let card = self.initialise()?.ok_or(SlotError::Driver(SdCardError::CardNotFound))?;
        if self.opened.is_some_and(|opened| opened != card) {
            return Err(SlotError::OtherCard);
        }
        (self.opened, self.ready) = (Some(card), true);
        Ok(())
    }
}

impl<H: SpiHost> Slot for SpiCard<H> {
    fn modes(&self) -> &'static [Mode] {
        &MODES
    }

    async fn begin(&mut self, mode: Mode) -> Result<Found, Self::Error> {
        self.mode = mode;
        self.opened = None;
        let Some(card) = self.initialise()? else { return Ok(Found::Nothing) };
        (self.opened, self.ready) = (Some(card), true);
        Ok(Found::Card { high_capacity: card.1 })
    }

    async fn sample(&mut self, first: u32) -> Result<u32, Self::Error> {
        let mut bytes = [0; SAMPLE * BLOCK_LEN];
        self.read(first, &mut bytes).await?;
        Ok(SAMPLE as u32)
    }
}
