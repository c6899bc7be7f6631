//! The models on the card and in flash. One type for both keeps a single copy of the engine in the program.

use core::cell::RefCell;
use core::fmt;

use rillm::{Bytes, PastTheEnd, Sector, WeightSource};
use rillm_boards::ModelPlace;
use rillm_card::{Blocks, Error as CardError, Slot};
use rillm_console::Files;

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
    /// Where the model is stored, and the card's transfer rate in bytes a second if it is known.
    fn pace(&self) -> (ModelPlace, Option<u64>) {
        match self {
            Self::Card(about) => (ModelPlace::Card, Some(about.bytes_per_second())),
            Self::Flash(_) => (ModelPlace::Flash, None),
        }
    }
}

impl<E: fmt::Display> fmt::Display for About<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(about) => about.fmt(f),
            Self::Flash(error) => {
                if let Some(error) = error {
                    writeln!(f, "card: {error}; once that is done, /models lists the files of the card")?;
                }
                f.write_str("flash, memory-mapped")
            }
        }
    }
}

/// Why models cannot be listed, or one cannot be read.
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

/// The models of a board: those of the card, then the one in flash, whose name is `flash`.
pub struct BoardFiles<'s, S: Slot, O> {
    /// The card slot.
    slot: &'s RefCell<S>,
    /// Called for each opened model with its place, and the card's rate if it is known.
    opened: O,
    /// Why the card could not be listed.
    error: Option<CardError<S::Error>>,
}

impl<'s, S: Slot, O: Fn(ModelPlace, Option<u64>)> BoardFiles<'s, S, O> {
    /// The models on the card in `slot` and in flash. `opened` is called for each model that is opened, with the place
    /// of its weights, and with the card's transfer rate in bytes a second if it is known.
    pub fn new(slot: &'s RefCell<S>, opened: O) -> Self {
        Self { slot, opened, error: None }
    }
}

impl<'s, S, O> Files for BoardFiles<'s, S, O>
where
    S: Slot<Error: fmt::Display + Clone>,
    O: Fn(ModelPlace, Option<u64>),
{
    type Source = Model<'s, S>;
    type About = About<S::Error>;
    type Error = Error<S::Error>;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn fmt::Display, u64)) -> Result<(), Self::Error> {
        let listed = card::list(self.slot, visit).await;
        visit(&FLASH, flash::len());
        self.error = listed.as_ref().err().cloned();
        listed.map_err(Error::Card)
    }

    async fn open(&mut self, name: &str) -> Result<(Self::Source, Self::About), Self::Error> {
        let (source, about) = if name == FLASH {
            (Model::Flash(flash::model()), About::Flash(self.error.take()))
        } else {
            let (file, about) = card::open(self.slot, name).await.map_err(Error::Card)?;
            (Model::Card(file), About::Card(about))
        };
        let (place, rate) = about.pace();
        (self.opened)(place, rate);
        Ok((source, about))
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
