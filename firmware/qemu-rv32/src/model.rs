//! The model's file, wherever it lies: one type, so that the program has the engine once.

use core::fmt;

use embedded_sdmmc::SdCardError;
use rillm::source::PastTheEnd;
use rillm::{Bytes, Sector, WeightSource};
use rillm_card::CardFile;
use rillm_generate::number::Grouped;

use crate::card::CardDevice;

/// The file.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and no allocator")]
pub enum Model<'b> {
    /// On the card.
    Card(CardFile<CardDevice<'b>>),
    /// In flash.
    Flash(Bytes<'static>),
}

/// What the console says of it.
pub enum About {
    /// So many bytes on the card, in so many pieces.
    Card { len: u32, runs: usize },
    /// In flash.
    Flash,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card { len, runs } => {
                write!(f, "card: {} bytes, {runs} {}", Grouped((*len).into()), if *runs == 1 { "run" } else { "runs" })
            }
            Self::Flash => f.write_str("flash, memory-mapped"),
        }
    }
}

/// Why it cannot be read.
pub enum Error {
    /// The card's error.
    Card(rillm_card::Error<SdCardError>),
    /// Flash has less of it than its header says.
    Flash(PastTheEnd),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => error.fmt(f),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl WeightSource for Model<'_> {
    type Error = Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Card(file) => file.read(first, buf).await.map_err(Error::Card),
            Self::Flash(bytes) => bytes.read(first, buf).await.map_err(Error::Flash),
        }
    }

    fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Card(file) => file.memory(),
            Self::Flash(bytes) => bytes.memory(),
        }
    }
}
