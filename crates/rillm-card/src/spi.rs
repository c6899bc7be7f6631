//! A card over SPI, which needs four wires and works on any chip.
//!
//! Reads block. At 20 MHz a chip waits for a block about fifteen times as long as it computes with it: 0.5 µs a byte
//! (others measured 1.67 MB/s) against 8 cycles (esp-dsp's figure for a RISC-V core without vectors). Overlapping the
//! two would gain a few percent, and cost a task switch for each byte by which the card is asked whether the next block
//! begins.
//!
//! The checksum of every block is verified. This takes 17 instructions a byte, a fifth of a block's time. Without it, a
//! flipped bit is detected by the checksum of all weights, up to 64 tokens later, and a clock that is too fast for the
//! wires is not detected while the bus mode is chosen.

use embedded_hal::spi::{Error as _, ErrorKind, ErrorType, Operation, SpiDevice};
use embedded_sdmmc::sdcard::spi::AcquireOpts;
use embedded_sdmmc::{BlockDevice, BlockIdx, SdCard, SdCardError};
use embedded_sdmmc_types::sdcard::CardType;

use crate::blocking_device::{as_blocks, stop_sending};
use crate::blocks::Blocks;
use crate::delay::ClockDelay;
use crate::slot::{BusMode, Detected, Slot, SlotError};
use crate::volume::BLOCK_LEN;

/// Cards support 25 MHz at most over SPI.
const MODES: [BusMode; 3] = [mode(20), mode(10), mode(4)];
/// The clock during identification, in Hz.
const IDENTIFICATION_HZ: u32 = 400_000;
/// How often the driver retries to detect a card. One attempt is 10,000 bytes long, 0.4 s.
const ACQUIRE_RETRIES: u32 = 1;
/// Blocks of one read of [`sample`](Slot::sample).
const SAMPLE_BLOCKS: usize = 8;
/// The longest time of an initialisation: 1 s for a card (SD Physical Layer, 4.2.3), and 0.8 s for the driver to find
/// none. The driver's own limits count bytes, 10,000 times 10,000 if each command is answered wrongly.
const INITIALISE_MICROS: u32 = 3_000_000;
/// The longest time of a read: a card sends the first byte of a block within 100 ms, and a block at 4 MHz takes 1 ms.
const READ_MICROS: u32 = 1_000_000;
const BLOCK_MICROS: u32 = 5_000;

const fn mode(mhz: u32) -> BusMode {
    BusMode { lines: "SPI", hz: mhz * 1_000_000 }
}

/// A card's SPI bus and chip select: embedded-hal's `SpiDevice`, with a variable clock.
pub trait SpiHost: SpiDevice {
    /// Sets the bus clock to `hz`, or to the next slower clock that the bus has.
    ///
    /// # Errors
    /// The bus's.
    fn set_clock(&mut self, hz: u32) -> Result<(), Self::Error>;

    /// Sends at least 74 clocks with the chip select high, which a card needs before its first command.
    ///
    /// # Errors
    /// The bus's.
    fn wake(&mut self) -> Result<(), Self::Error>;

    /// A clock that counts microseconds modulo 2^32.
    fn micros() -> u32;
}

/// An SPI host with a timeout: it returns an error once the time is over.
struct TimedHost<H> {
    host: H,
    start: u32,
    most: u32,
}

impl<H: SpiHost> TimedHost<H> {
    /// Starts the timeout of `most` microseconds.
    fn begin(&mut self, most: u32) {
        (self.start, self.most) = (H::micros(), most);
    }

    fn is_late(&self) -> bool {
        H::micros().wrapping_sub(self.start) > self.most
    }
}

impl<H: SpiHost> ErrorType for TimedHost<H> {
    type Error = ErrorKind;
}

impl<H: SpiHost> SpiDevice for TimedHost<H> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), ErrorKind> {
        if self.is_late() {
            return Err(ErrorKind::Other);
        }
        self.host.transaction(operations).map_err(|error| error.kind())
    }
}

type Driver<H> = SdCard<TimedHost<H>, ClockDelay>;

/// A card over SPI, alone on its bus.
pub struct SpiCard<H: SpiHost> {
    driver: Driver<H>,
    mode: BusMode,
    /// What identifies the card whose file is open: its blocks, and whether addresses count blocks. The checksum of the
    /// weights detects another card of the same size.
    opened: Option<(u32, bool)>,
    ready: bool,
}

impl<H: SpiHost> SpiCard<H> {
    /// The card on `host`.
    pub fn new(host: H) -> Self {
        let host = TimedHost { host, start: 0, most: 0 };
        let options = AcquireOpts { use_crc: true, acquire_retries: ACQUIRE_RETRIES };
        let driver = SdCard::new_with_options(host, ClockDelay(H::micros), options);
        Self { driver, mode: MODES[0], opened: None, ready: false }
    }

    /// Runs `operation` with a timeout of `most` microseconds.
    fn timed<T>(
        &self,
        most: u32,
        operation: impl FnOnce(&Driver<H>) -> Result<T, SdCardError>,
    ) -> Result<T, SdCardError> {
        self.driver.spi(|host| host.begin(most));
        match operation(&self.driver) {
            // The driver reports a timeout as a transport error.
            Err(SdCardError::Transport) if self.driver.spi(|host| host.is_late()) => {
                Err(SdCardError::TimeoutReadBuffer)
            }
            result => result,
        }
    }

    /// Initialises the card. Returns its number of blocks and whether addresses count blocks; `None` without a card.
    fn acquire(&mut self) -> Result<Option<(u32, bool)>, SdCardError> {
        self.ready = false;
        let hz = self.mode.hz;
        self.timed(INITIALISE_MICROS, |driver| {
            driver.spi(|timed| {
                timed
                    .host
                    .set_clock(IDENTIFICATION_HZ)
                    .and_then(|()| timed.host.wake())
                    .map_err(|_| SdCardError::Transport)?;
                stop_sending(timed);
                Ok(())
            })?;
            driver.mark_card_uninit();
            let blocks = match driver.num_blocks() {
                Err(SdCardError::CardNotFound) => return Ok(None),
                blocks => blocks?.0,
            };
            let high_capacity = matches!(driver.get_card_type(), Some(CardType::SdhcSdxc));
            driver.spi(|timed| timed.host.set_clock(hz).map_err(|_| SdCardError::Transport))?;
            Ok(Some((blocks, high_capacity)))
        })
    }

    fn check_ready(&self) -> Result<(), SlotError<SdCardError>> {
        if self.ready { Ok(()) } else { Err(SlotError::NotInitialised) }
    }
}

fn read_micros(blocks: usize) -> u32 {
    READ_MICROS.saturating_add(BLOCK_MICROS.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)))
}

impl<H: SpiHost> Blocks for SpiCard<H> {
    type Error = SlotError<SdCardError>;

    async fn count(&mut self) -> Result<u32, Self::Error> {
        Ok(self.opened.ok_or(SlotError::NotInitialised)?.0)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.check_ready()?;
        let blocks = as_blocks(buf);
        Ok(self.timed(read_micros(blocks.len()), |driver| driver.read(blocks, BlockIdx(first)))?)
    }

    async fn recover(&mut self) -> Result<(), Self::Error> {
        let card = self.acquire()?.ok_or(SlotError::Driver(SdCardError::CardNotFound))?;
        if self.opened.is_some_and(|opened| opened != card) {
            return Err(SlotError::OtherCard);
        }
        (self.opened, self.ready) = (Some(card), true);
        Ok(())
    }
}

impl<H: SpiHost> Slot for SpiCard<H> {
    fn modes(&self) -> &'static [BusMode] {
        &MODES
    }

    async fn initialise(&mut self, mode: BusMode) -> Result<Detected, Self::Error> {
        self.mode = mode;
        self.opened = None;
        let Some(card) = self.acquire()? else { return Ok(Detected::NoCard) };
        (self.opened, self.ready) = (Some(card), true);
        Ok(Detected::Card { high_capacity: card.1 })
    }

    async fn sample(&mut self, first: u32) -> Result<u32, Self::Error> {
        let mut bytes = [0; SAMPLE_BLOCKS * BLOCK_LEN];
        self.read(first, &mut bytes).await?;
        Ok(SAMPLE_BLOCKS as u32)
    }
}
