//! A card slot and its bus modes.

use core::fmt;
use core::future::Future;

use crate::blocks::Blocks;

/// A card that can be read in several bus modes: with fewer lines, with a slower clock.
pub trait Slot: Blocks {
    /// The bus modes, the fastest first.
    fn modes(&self) -> &'static [BusMode];

    /// Initialises the card in this bus mode, which [`recover`](Blocks::recover) uses from now on, too.
    fn initialise(&mut self, mode: BusMode) -> impl Future<Output = Result<Detected, Self::Error>>;

    /// Reads blocks from `first` on into memory of the driver's, as many by one command as in a large read. Returns
    /// their number, 1 to 64.
    fn sample(&mut self, first: u32) -> impl Future<Output = Result<u32, Self::Error>>;
}

/// How a card is connected and clocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusMode {
    /// The data lines: `4 bits`, `1 bit`, `SPI`.
    pub lines: &'static str,
    /// The clock in Hz.
    pub hz: u32,
}

impl fmt::Display for BusMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, hz } = self;
        write!(f, "{lines} at {} MHz", hz / 1_000_000)
    }
}

/// What was detected in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// No card answers.
    NoCard,
    /// A card.
    Card {
        /// Whether addresses count blocks, as on all cards of more than 2 GB, rather than bytes.
        high_capacity: bool,
    },
}

/// Why a card in a slot cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SlotError<E> {
    /// The driver's error.
    Driver(E),
    /// The card is not initialised, or has not recovered from an error.
    NotInitialised,
    /// The card is not the one that was initialised last.
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
