//! The model's file on the card or in flash. One type for both keeps a single copy of the engine in the program.

use core::fmt;

use embedded_sdmmc::SdCardError;
use rillm::source::PastTheEnd;
use rillm::{Bytes, Sector, WeightSource};
use rillm_card::CardFile;
use rillm_generate::number::Grouped;

use crate::card::Card;

/// A model's file.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and no allocator")]
pub enum Model<'b> {
    /// A file on the card.
    Card(CardFile<Card<'b>>),
    /// The model in flash.
    Flash(Bytes<'static>),
}

/// The description of a model for the console.
pub enum About {
    /// A file on the card: its length in bytes and number of extents.
    Card { len: u32, runs: usize },
    /// The model in flash.
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

/// Why a model cannot be read.
pub enum Error {
    /// An error of the card.
    Card(rillm_card::Error<SdCardError>),
    /// The flash ends before the model does.
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
