//! A card in a slot: the fastest way in which it can be read, found by reading.

use core::fmt;
use core::future::Future;

use crate::blocks::Blocks;
use crate::error::Error;
use crate::volume::BLOCK_LEN;

/// A card that can be read in more than one way: with fewer lines, with a slower clock.
pub trait Slot: Blocks {
    /// The ways, the fastest first.
    fn modes(&self) -> &'static [Mode];

    /// Initialises the card, to be read in this way from now on, by [`recover`](Blocks::recover) too.
    fn begin(&mut self, mode: Mode) -> impl Future<Output = Result<Found, Self::Error>>;

    /// Reads the blocks from `first` on into memory of its own, as many by one command as a large read would; how many these
    /// are, at least 1 and at most 64.
    fn sample(&mut self, first: u32) -> impl Future<Output = Result<u32, Self::Error>>;
}

/// A way to read a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The lines: `4 bits`, `1 bit`, `SPI`.
    pub lines: &'static str,
    /// Their clock.
    pub hz: u32,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, hz } = self;
        write!(f, "{lines} at {} MHz", hz / 1_000_000)
    }
}

/// What is in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that answers.
    Nothing,
    /// A card, and whether it counts its addresses by blocks, as all do that have more than 2 GB.
    Card {
        /// It does.
        high_capacity: bool,
    },
}

/// Why a card in a slot cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError<E> {
    /// The driver's error.
    Driver(E),
    /// The card was not initialised, or an error came since, from which nobody has recovered.
    NotInitialised,
    /// Another card answers than the one that was initialised last.
    OtherCard,
}

impl<E> From<E> for SlotError<E> {
    fn from(error: E) -> Self {
        Self::Driver(error)
    }
}

impl<E: fmt::Display> fmt::Display for SlotError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => error.fmt(f),
            Self::NotInitialised => f.write_str("it is not initialised"),
            Self::OtherCard => f.write_str("it is not the card whose file is open"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for SlotError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its words are this error's words.
            Self::Driver(error) => error.source(),
            _ => None,
        }
    }
}

/// A card, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<E> {
    high_capacity: bool,
    blocks: u32,
    mode: Mode,
    faster: Option<(Mode, E)>,
    bytes_per_second: u64,
}

/// Bytes that are read to measure a card, unless that takes too long.
const SAMPLE_LEN: u32 = 256 << 10;
const SAMPLE_MICROS: u32 = 60_000;
/// Bytes a second below which a card is slow whatever its slot: half of what SPI brings.
const SLOW: u64 = 1_000_000;

/// Initialises the card in the fastest way in which its first blocks can be read, and measures how fast that is. Takes less
/// than 0.1 s for a card that is read in the first way.
///
/// `micros` is a clock that counts microseconds, modulo 2^32.
///
/// # Errors
/// [`Error::NoCard`], or [`Error::Device`] with the first error where no way is left.
pub async fn insert<S: Slot>(slot: &mut S, micros: fn() -> u32) -> Result<Facts<S::Error>, Error<S::Error>> {
    let mut failed = None;
    for &mode in slot.modes() {
        match try_mode(slot, mode, micros).await {
            Ok(Some((high_capacity, blocks, bytes_per_second))) => {
                return Ok(Facts { high_capacity, blocks, mode, faster: failed, bytes_per_second });
            }
            // Whatever the way, a card is looked for with one line and a slow clock.
            Ok(None) => return Err(Error::NoCard),
            Err(error) => {
                failed.get_or_insert((mode, error));
            }
        }
    }
    Err(failed.map_or(Error::NoCard, |(_, error)| Error::Device(error)))
}

/// What the card is, its blocks and its bytes a second, if there is one.
async fn try_mode<S: Slot>(
    slot: &mut S,
    mode: Mode,
    micros: fn() -> u32,
) -> Result<Option<(bool, u32, u64)>, S::Error> {
    let Found::Card { high_capacity } = slot.begin(mode).await? else { return Ok(None) };
    // The first read of a card takes longer than the others.
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

impl<E> Facts<E> {
    /// How the card is read.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Bytes a second of its first blocks, read one after the other.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }
}

/// Bytes in units of 1,000, as cards are sold.
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

impl<E: fmt::Display> fmt::Display for Facts<E> {
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
        if *bytes_per_second < SLOW {
            f.write_str("\nthe card is slow: below 1 MB/s; try another one, with a class of 10 or U1")?;
        }
        Ok(())
    }
}
