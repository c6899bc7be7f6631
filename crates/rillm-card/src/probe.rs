//! Probing a slot: the fastest bus mode in which its card can be read, found by reading.

use core::fmt;

use crate::error::Error;
use crate::slot::{BusMode, Detected, Slot};
use crate::volume::BLOCK_LEN;

/// The result of [`probe`]: the card's kind and size, its bus mode and its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardInfo<E> {
    high_capacity: bool,
    blocks: u32,
    mode: BusMode,
    faster: Option<(BusMode, E)>,
    bytes_per_second: u64,
}

/// Bytes that are read to measure a card, unless the time below ends first.
const SAMPLE_LEN: u32 = 256 << 10;
const SAMPLE_MICROS: u32 = 60_000;
/// Below this a card is slow in any slot: half the speed of SPI.
const SLOW_BYTES_PER_SECOND: u64 = 1_000_000;

/// Initialises the card in the fastest bus mode in which its first blocks can be read, and measures its speed. This
/// takes less than 0.1 s if the first mode works.
///
/// `micros` is a clock that counts microseconds modulo 2^32.
///
/// # Errors
/// [`Error::NoCard`], or [`Error::Device`] with the first error if no bus mode works.
pub async fn probe<S: Slot>(slot: &mut S, micros: fn() -> u32) -> Result<CardInfo<S::Error>, Error<S::Error>> {
    let mut failed = None;
    for &mode in slot.modes() {
        match try_mode(slot, mode, micros).await {
            Ok(Some((high_capacity, blocks, bytes_per_second))) => {
                return Ok(CardInfo { high_capacity, blocks, mode, faster: failed, bytes_per_second });
            }
            // In every bus mode a card is detected with one line and a slow clock.
            Ok(None) => return Err(Error::NoCard),
            Err(error) => {
                failed.get_or_insert((mode, error));
            }
        }
    }
    Err(failed.map_or(Error::NoCard, |(_, error)| Error::Device(error)))
}

/// Whether the card has high capacity, its number of blocks and its bytes per second; `None` without a card.
async fn try_mode<S: Slot>(
    slot: &mut S,
    mode: BusMode,
    micros: fn() -> u32,
) -> Result<Option<(bool, u32, u64)>, S::Error> {
    let Detected::Card { high_capacity } = slot.initialise(mode).await? else { return Ok(None) };
    // The first read of a card takes longer than later ones, so it is not measured.
    slot.sample(0).await?;
    let start = micros();
    let (mut blocks, mut elapsed) = (0, 0);
    while blocks < SAMPLE_LEN / BLOCK_LEN as u32 && elapsed < SAMPLE_MICROS {
        blocks += slot.sample(blocks).await?;
        elapsed = micros().wrapping_sub(start);
    }
    let bytes_per_second = u64::from(blocks) * BLOCK_LEN as u64 * 1_000_000 / u64::from(elapsed.max(1));
    Ok(Some((high_capacity, slot.count().await?, bytes_per_second)))
}

impl<E> CardInfo<E> {
    /// The bus mode.
    pub fn mode(&self) -> BusMode {
        self.mode
    }

    /// Bytes per second of a sequential read of the card's first blocks.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }
}

/// Bytes, displayed in decimal units, as cards are sold.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            1_000_000_000.. => (1_000_000_000, "GB"),
            1_000_000.. => (1_000_000, "MB"),
            _ => (1000, "kB"),
        };
        let tenths = self.0 / (unit / 10);
        write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

impl<E: fmt::Display> fmt::Display for CardInfo<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high_capacity, blocks, mode, faster, bytes_per_second } = self;
        // As cards are sold: SDHC up to 32 GB, which are fewer than 2^26 blocks.
        let kind = match (high_capacity, blocks >> 26) {
            (false, _) => "SD",
            (true, 0) => "SDHC",
            (true, _) => "SDXC",
        };
        let [size, speed] = [u64::from(*blocks) * BLOCK_LEN as u64, *bytes_per_second].map(Size);
        write!(f, "{kind}, {size}, {mode}, {speed}/s")?;
        if let Some((faster, error)) = faster {
            write!(f, "\n{faster} failed: {error}; look at the wires, short ones of one length are best")?;
        }
        if *bytes_per_second < SLOW_BYTES_PER_SECOND {
            f.write_str("\nthe card is slow: below 1 MB/s; try another one, with a class of 10 or U1")?;
        }
        Ok(())
    }
}
