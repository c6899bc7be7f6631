//! A card in a slot: the fastest way in which it can be read, found by reading.

use core::fmt;
use core::future::Future;

use crate::blocks::Blocks;

/// A card that can be read in more than one way: with fewer lines, with a slower clock.
pub trait Slot: Blocks {
    /// The ways, the fastest first.
    fn modes(&self) -> &'static [BusMode];

    /// Initialises the card, to be read in this way from now on, by [`recover`](Blocks::recover) too.
    fn initialise(&mut self, mode: BusMode) -> impl Future<Output = Result<Detected, Self::Error>>;

    /// Reads the blocks from `first` on into memory of its own, as many by one command as a large read would; how many these
    /// are, at least 1 and at most 64.
    fn sample(&mut self, first: u32) -> impl Future<Output = Result<u32, Self::Error>>;
}

/// A way to read a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusMode {
    /// The lines: `4 bits`, `1 bit`, `SPI`.
    pub lines: &'static str,
    /// Their clock.
    pub hz: u32,
}

impl fmt::Display for BusMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, hz } = self;
        write!(f, "{lines} at {} MHz", hz / 1_000_000)
    }
}

/// What is in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Nothing that answers.
    NoCard,
    /// A card, and whether it counts its addresses by blocks, as all do that have more than 2 GB.
    Card {
        /// It does.
        high_capacity: bool,
    },
}

/// Why a card in a slot cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl<E: fmt::Debug + fmt::Display> core::error::Error for SlotError<E> {}
