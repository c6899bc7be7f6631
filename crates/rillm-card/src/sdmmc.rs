//! A card on an SD host: four data lines or one, and DMA.
//!
//! The engine polls a read as often as it takes a chunk from the tape, and otherwise multiplies (`drive` in its
//! `double_buffer.rs`, `Tape::rows` in its `tape.rs`). So a read has to be under way after its first poll: commands, which take microseconds, are waited for, and only the
//! transfer of blocks is left to the host. When it ends, the engine need not know before it is through with its chunk: until
//! then it has no buffer to fill. Nothing here counts on being woken: a host leaves its result where the next poll finds it.

use aligned::{A4, Aligned};
use block_device_driver::slice_to_blocks_mut;
use embedded_hal_async::delay::DelayNs as _;
use sdio::common::{read_multiple_blocks, read_single_block};
use sdio::sd::Card;
use sdio::{BlockDevice, BusWidth, CardError, MmcBus as _, MmcError};

use crate::blocks::Blocks;
use crate::delay::ClockDelay;
use crate::sdmmc_host::{SdmmcHost, TimedBus};
use crate::slot::{BusMode, Detected, Slot, SlotError};
use crate::volume::BLOCK_LEN;

/// A block where a host may write to it.
pub type AlignedBlock = Aligned<A4, [u8; BLOCK_LEN]>;

const ONE_LINE: &str = "1 bit";
const FOUR_LINES: &str = "4 bits";
/// The ways to read a card of which four data lines are wired, and one.
const FOUR: [BusMode; 3] = [mode(FOUR_LINES, 40), mode(FOUR_LINES, 20), mode(ONE_LINE, 20)];
const ONE: [BusMode; 2] = [mode(ONE_LINE, 40), mode(ONE_LINE, 20)];

/// Microseconds that a card may be gone, as one in a worn slot is that somebody touches, and from one look to the next.
const ABSENT_MICROS: u32 = 500_000;
const ABSENT_POLL_MICROS: u32 = 20_000;

const fn mode(lines: &'static str, mhz: u32) -> BusMode {
    BusMode { lines, hz: mhz * 1_000_000 }
}

/// What is kept of a card that was initialised.
#[derive(Clone, Copy)]
struct IdentifiedCard {
    high_capacity: bool,
    /// Blocks of 512 bytes.
    blocks: u32,
    /// Maker, serial number, and the month and the year in which it was made.
    identity: (u8, u32, (u8, u16)),
}

/// A card on an SD host.
pub struct Sdmmc<'m, H> {
    bus: TimedBus<H>,
    modes: &'static [BusMode],
    hz: u32,
    /// For reads into memory that the host does not reach.
    bounce: &'m mut [AlignedBlock],
    /// The card whose file is open, and whether it may be read.
    card: Option<IdentifiedCard>,
    ready: bool,
}

impl<'m, H: SdmmcHost> Sdmmc<'m, H> {
    /// The card on `host`. With fewer than four data lines one is used. `bounce` is 1 to 64 blocks of memory that the host
    /// reaches: as many are read by one command where it does not reach the caller's.
    ///
    /// # Panics
    /// `bounce` is empty.
    pub fn new(host: H, bounce: &'m mut [AlignedBlock]) -> Self {
        assert!(!bounce.is_empty(), "a block at least");
        let modes: &[BusMode] = if matches!(host.supports_bus_width(), BusWidth::W1) { &ONE } else { &FOUR };
        let longest = bounce.len().min(H::LONGEST);
        Self {
            bus: TimedBus::new(host),
            modes,
            hz: modes[0].hz,
            bounce: &mut bounce[..longest],
            card: None,
            ready: false,
        }
    }

    async fn acquire(&mut self) -> Result<IdentifiedCard, SlotError<MmcError>> {
        self.ready = false;
        self.bus.answered = false;
        // A device of its own each time: `reacquire` of sdio 0.5.3 sends CMD55 with the address that the card has had before
        // CMD0, which made it forget that (SD Physical Layer, 4.2.1 and 4.7.1), and an idle card answers to address 0 alone.
        // Nothing else than the initialisation needs the address.
        let pause = ClockDelay(H::micros);
        let device = BlockDevice::<Card, _, _, BLOCK_LEN>::new_sd_card(&mut self.bus, self.hz, pause).await?;
        if device.freq() < self.hz {
            return Err(MmcError::Signaling.into());
        }
        let Card { ocr, cid, csd, .. } = device.card();
        // How addresses are counted is in an answer without a checksum. The other one that tells it has one.
        if ocr.high_capacity() != (csd.version() > 0) {
            return Err(MmcError::CardType.into());
        }
        // The device's own count takes the blocks of 1,024 bytes that a card of 2 GB counts for shorter ones.
        let blocks = u32::try_from(csd.card_size() / BLOCK_LEN as u64).unwrap_or(u32::MAX);
        let identity = (cid.manufacturer_id(), cid.serial(), cid.manufacturing_date());
        Ok(IdentifiedCard { high_capacity: ocr.high_capacity(), blocks, identity })
    }
}

impl<H: SdmmcHost> TimedBus<H> {
    /// Reads blocks of a card that was initialised, no more than [`SdmmcHost::LONGEST`].
    async fn read(
        &mut self,
        card: IdentifiedCard,
        first: u32,
        blocks: &mut [AlignedBlock],
    ) -> Result<(), SlotError<MmcError>> {
        let address = if card.high_capacity { Some(first) } else { first.checked_mul(BLOCK_LEN as u32) };
        let address = address.ok_or(MmcError::Card(CardError::AddressError))?;
        let answer = match blocks {
            [] => return Ok(()),
            [block] => self.read_blocks(read_single_block(address, block), false).await?,
            blocks => self.read_blocks(read_multiple_blocks(address, blocks), true).await?,
        };
        Ok(answer.to_result()?)
    }
}

impl<H: SdmmcHost> Blocks for Sdmmc<'_, H> {
    type Error = SlotError<MmcError>;

    async fn count(&mut self) -> Result<u32, SlotError<MmcError>> {
        Ok(self.card.ok_or(SlotError::NotInitialised)?.blocks)
    }

    /// A drop before the end stops the transfer, as the host's own read does. The card goes on sending, until the next
    /// operation tells it to stop.
    async fn read(&mut self, mut first: u32, buf: &mut [u8]) -> Result<(), SlotError<MmcError>> {
        let card = self.card.filter(|_| self.ready).ok_or(SlotError::NotInitialised)?;
        if buf.as_ptr().addr().is_multiple_of(4) && self.bus.host.reaches(buf) {
            for blocks in slice_to_blocks_mut(buf).chunks_mut(H::LONGEST) {
                self.bus.read(card, first, blocks).await?;
                first += blocks.len() as u32;
            }
            return Ok(());
        }
        for piece in buf.chunks_mut(self.bounce.len() * BLOCK_LEN) {
            let blocks = &mut self.bounce[..piece.len() / BLOCK_LEN];
            self.bus.read(card, first, blocks).await?;
            for (to, from) in piece.chunks_exact_mut(BLOCK_LEN).zip(blocks) {
                to.copy_from_slice(&**from);
                first += 1;
            }
        }
        Ok(())
    }

    /// A card that is gone is waited for, half a second.
    async fn recover(&mut self) -> Result<(), SlotError<MmcError>> {
        let start = H::micros();
        let card = loop {
            match self.acquire().await {
                Err(_) if !self.bus.answered && H::micros().wrapping_sub(start) < ABSENT_MICROS => {
                    ClockDelay(H::micros).delay_us(ABSENT_POLL_MICROS).await;
                }
                result => break result?,
            }
        };
        if self.card.is_some_and(|opened| opened.identity != card.identity) {
            return Err(SlotError::OtherCard);
        }
        (self.card, self.ready) = (Some(card), true);
        Ok(())
    }
}

impl<H: SdmmcHost> Slot for Sdmmc<'_, H> {
    fn modes(&self) -> &'static [BusMode] {
        self.modes
    }

    async fn initialise(&mut self, mode: BusMode) -> Result<Detected, SlotError<MmcError>> {
        self.hz = mode.hz;
        self.bus.one_line = mode.lines == ONE_LINE;
        self.card = None;
        match self.acquire().await {
            Ok(card) => {
                (self.card, self.ready) = (Some(card), true);
                Ok(Detected::Card { high_capacity: card.high_capacity })
            }
            Err(_) if !self.bus.answered => Ok(Detected::NoCard),
            Err(error) => Err(error),
        }
    }

    async fn sample(&mut self, first: u32) -> Result<u32, SlotError<MmcError>> {
        let card = self.card.filter(|_| self.ready).ok_or(SlotError::NotInitialised)?;
        self.bus.read(card, first, self.bounce).await?;
        Ok(self.bounce.len() as u32)
    }
}
