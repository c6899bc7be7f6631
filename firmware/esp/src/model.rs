//! The model's file on the card or in flash. One type for both keeps a single copy of the engine in the program.

use core::cell::RefCell;
use core::fmt;

use rillm::source::PastTheEnd;
use rillm::{Bytes, Sector, WeightSource};
use rillm_boards::Weights;
use rillm::source::PastTheEnd;
use rillm_card::{Blocks, Error as CardError, Slot};

use crate::{card, flash, platform};

/// Name of the model in flash.
const FLASH: &str = "flash";

/// A model's file.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and no allocator")]
pub enum Model<'s, S: Blocks> {
    /// A file on the card.
    Card(card::File<'s, S>),
    /// The model in flash.
    Flash(Bytes<'static>),
}

/// The description of a model for the console.
pub enum About<E> {
    /// A file on the card.
    Card(card::About<E>),
    /// The model in flash, with the card's error if there was one.
    Flash(Option<CardError<E>>),
}

impl<E> About<E> {
    /// Where the weights are stored, and the card's transfer rate in bytes a second if it is known.
    pub fn pace(&self) -> (Weights, Option<u64>) {
        match self {
            Self::Card(about) => (Weights::Card, Some(about.bytes_per_second())),
            Self::Flash(_) => (Weights::Flash, None),
        }
    }
}

impl<E: fmt::Display> fmt::Display for About<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(about) => about.fmt(f),
            Self::Flash(error) => {
                if let Some(error) = error {
                    writeln!(f, "card: {error}; once that is done, /model NAME opens a file of the card")?;
                }
                f.write_str("flash, memory-mapped")
            }
        }
    }
}

/// Why a model cannot be read.
pub enum Error<E> {
    /// An error of the card.
    Card(CardError<E>),
    /// The flash ends before the model does.
    Flash(PastTheEnd),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => error.fmt(f),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

/// Opens the file of that name on the card. Without a name, opens the card's first model; if there is no card or no
/// model on it, opens the model in flash. The name `flash` stands for that one.
///
/// # Errors
/// The card's error, if the file was named.
pub async fn open<'s, S: Slot>(
    slot: &'s RefCell<S>,
    name: Option<&str>,
) -> Result<(Model<'s, S>, About<S::Error>), Error<S::Error>> {
    let in_flash = |error| (Model::Flash(flash::model()), About::Flash(error));
    if name == Some(FLASH) {
        return Ok(in_flash(None));
    }
    match card::open(slot, name).await {
        Ok((file, about)) => Ok((Model::Card(file), About::Card(about))),
        Err(error) if name.is_none() => Ok(in_flash(Some(error))),
        Err(error) => Err(Error::Card(error)),
    }
}

impl<S: Blocks> WeightSource for Model<'_, S> {
    type Error = Error<S::Error>;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        platform::enter();
        match self {
            Self::Card(file) => file.read(first, buf).await.map_err(Error::Card),
            Self::Flash(bytes) => bytes.read(first, buf).await.map_err(Error::Flash),
        }
    }

    fn memory(&self) -> Option<&[u8]> {
        platform::enter();
        match self {
            Self::Card(file) => file.memory(),
            Self::Flash(bytes) => bytes.memory(),
        }
    }
}
