//! The model's file, wherever it lies: one type, so that the program has the engine once.

use core::fmt;

use rillm::source::{Sector, WeightSource};
use rillm::sources::{Bytes, PastTheEnd};

/// The file.
pub enum Model {
    /// In flash.
    Flash(Bytes<'static>),
}

/// What the console says of it.
pub enum About {
    /// In flash.
    Flash,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash => f.write_str("flash, memory-mapped"),
        }
    }
}

/// Why it cannot be read.
pub enum Error {
    /// The board has no card.
    NoCard,
    /// Flash has less of it than its header says.
    Flash(PastTheEnd),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCard => f.write_str("this board has no card, and one model in its flash"),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl WeightSource for Model {
    type Error = Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Flash(bytes) => bytes.read(first, buf).await.map_err(Error::Flash),
        }
    }

    fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Flash(bytes) => bytes.memory(),
        }
    }
}
