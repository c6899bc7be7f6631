//! The model's file, wherever it lies: one type, so that the program has the engine once.

use core::fmt;

use rillm::source::{Sector, WeightSource};
use rillm::sources::{Bytes, PastTheEnd};
use rillm_card::CardFile;
use rillm_console::number::Grouped;

use crate::flash;
#[cfg(feature = "simulator")]
use crate::simulator::{self as card, Card};

/// What the model in flash is called.
const FLASH: &str = "flash";

type CardError = rillm_card::Error<<Card as rillm_card::Blocks>::Error>;

/// The file.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and no allocator")]
pub enum Model {
    /// On the card.
    Card(CardFile<Card>),
    /// In flash.
    Flash(Bytes<'static>),
}

/// What the console says of it.
pub enum About {
    /// So many bytes on the card, in so many pieces.
    Card { len: u32, runs: usize },
    /// In flash, the card being what it is.
    Flash { card: Option<CardError> },
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card { len, runs } => {
                write!(f, "card: {} bytes, {runs} {}", Grouped((*len).into()), if *runs == 1 { "run" } else { "runs" })
            }
            Self::Flash { card } => {
                if let Some(error) = card {
                    writeln!(f, "card: {error}")?;
                }
                f.write_str("flash, memory-mapped")
            }
        }
    }
}

/// Why it cannot be read.
pub enum Error {
    /// The card's error.
    Card(CardError),
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

/// Opens the file of that name on the card. Without a name it is the card's first model, and where the card has none, or there
/// is no card, the one in flash, whose own name is `flash`.
///
/// # Errors
/// The card's, for a file that was named.
pub async fn open(name: Option<&str>) -> Result<(Model, About), Error> {
    let in_flash = |card| (Model::Flash(flash::model()), About::Flash { card });
    if name == Some(FLASH) || (name.is_none() && !card::has_card()) {
        return Ok(in_flash(None));
    }
    match CardFile::open(Card, name).await {
        Ok(file) => {
            let about = About::Card { len: file.len(), runs: file.runs() };
            Ok((Model::Card(file), about))
        }
        Err(error) if name.is_none() => Ok(in_flash(Some(error))),
        Err(error) => Err(Error::Card(error)),
    }
}

impl WeightSource for Model {
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
