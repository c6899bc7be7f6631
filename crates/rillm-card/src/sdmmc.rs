//! A card on an SD host, with four data lines or one, and DMA.
//!
//! The engine polls a read once for each chunk that it takes from the tape, and computes in between (`drive` in its
//! `double_buffer.rs`, `Tape::rows` in its `tape.rs`). A read must therefore be under way after its first poll:
//! commands, which take microseconds, are waited for, and only the transfer of blocks is left to the host. The engine
//! looks for the end of a read when it is through with its chunk, because it has no free buffer before. No waker is
//! needed: the next poll finds the host's result.

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

/// A block with the alignment that DMA needs.
pub type AlignedBlock = Aligned<A4, [u8; BLOCK_LEN]>;

const ONE_LINE: &str = "1 bit";
const FOUR_LINES: &str = "4 bits";
/// The bus modes of a card with four data lines, and with one.
const FOUR: [BusMode; 3] = [mode(FOUR_LINES, 40), mode(FOUR_LINES, 20), mode(ONE_LINE, 20)];
const ONE: [BusMode; 2] = [mode(ONE_LINE, 40), mode(ONE_LINE, 20)];

/// How long a card may be absent, such as in a worn slot that somebody touches, and the time between two looks.
const ABSENT_MICROS: u32 = 500_000;
const ABSENT_POLL_MICROS: u32 = 20_000;

const fn mode(lines: &'static str, mhz: u32) -> BusMode {
    BusMode { lines, hz: mhz * 1_000_000 }
}

/// What is known of an initialised card.
#[derive(Clone, Copy)]
struct IdentifiedCard {
    high_capacity: bool,
    /// Blocks of 512 bytes.
    blocks: u32,
    /// Maker, serial number, and month and year of manufacture, from the CID.
    identity: (u8, u32, (u8, u16)),
}

/// A card on an SD host.
pub struct Sdmmc<'m, H> {
    bus: TimedBus<H>,
    modes: &'static [BusMode],
    hz: u32,
    /// The bounce buffer, for reads into memory that DMA does not reach.
    bounce: &'m mut [AlignedBlock],
    /// The card whose file is open; it may be read while `ready`.
    card: Option<IdentifiedCard>,
    ready: bool,
}

impl<'m, H: SdmmcHost> Sdmmc<'m, H> {
    /// The card on `host`, which is read over one data line if the host has fewer than four. `bounce` is a bounce
    /// buffer of 1 to 64 blocks that DMA reaches. A read into memory that DMA does not reach transfers as many blocks
    /// by one command.
    ///
    /// # Panics
    /// If `bounce` is empty.
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
        // A new `BlockDevice` each time: `reacquire` of sdio 0.5.3 sends CMD55 with the card's address from before
        // CMD0. CMD0 clears the address (SD Physical Layer, 4.2.1 and 4.7.1), and an idle card answers to address 0
        // only. Only the initialisation needs the address.
        let pause = ClockDelay(H::micros);
        let device = BlockDevice::<Card, _, _, BLOCK_LEN>::new_sd_card(&mut self.bus, self.hz, pause).await?;
        if device.freq() < self.hz {
            return Err(MmcError::Signaling.into());
        }
        let Card { ocr, cid, csd, .. } = device.card();
        // The OCR, which says how addresses count, has no checksum. The CSD says it, too, and has one.
        if ocr.high_capacity() != (csd.version() > 0) {
            return Err(MmcError::CardType.into());
        }
        // The driver's own count is wrong for a card of 2 GB: it takes that card's blocks of 1,024 bytes for 512.
        let blocks = u32::try_from(csd.card_size() / BLOCK_LEN as u64).unwrap_or(u32::MAX);
        let identity = (cid.manufacturer_id(), cid.serial(), cid.manufacturing_date());
        Ok(IdentifiedCard { high_capacity: ocr.high_capacity(), blocks, identity })
    }
}

impl<H: SdmmcHost> TimedBus<H> {
    /// Reads blocks of an initialised card, [`SdmmcHost::LONGEST`] at most.
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

    /// Dropping the future stops the transfer, as dropping the host's own read does. The card sends on until the next
    /// operation stops it.
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

    /// Waits half a second for a card that is absent.
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
