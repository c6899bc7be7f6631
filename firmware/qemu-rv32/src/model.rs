//! The models on the card and in flash. One type for both keeps a single copy of the engine in the program.

use core::cell::RefCell;
use core::fmt;

use embedded_sdmmc::SdCardError;
use rillm::{Bytes, PastTheEnd, Sector, WeightSource};
use rillm_card::{CardFile, for_each_model};
use rillm_emulated::Files;
use rillm_generate::number::Grouped;

use crate::card::{self, Bus, CardDevice};
use crate::flash;
use crate::options::Options;

/// Name of the model in flash.
const FLASH: &str = "flash";

/// The card and the flash.
pub struct BoardFiles<'b> {
    /// The bus to the card.
    pub bus: &'b RefCell<Bus>,
    /// The options of the board.
    pub options: &'b Options,
}

impl<'b> Files for BoardFiles<'b> {
    type Source = Model<'b>;
    type About = About;
    type Error = Error;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn fmt::Display, u64)) -> Result<(), Error> {
        let Options { card, flash, .. } = *self.options;
        let mut on_card = 0;
        let listed = if card {
            let each = |file: rillm_card::File<'_>| {
                on_card += 1;
                visit(&file.name, file.len.into());
            };
            for_each_model(card::device(self.bus, self.options), each).await.map(Some)
        } else {
            Ok(None)
        };
        if flash > 0 {
            visit(&FLASH, flash as u64);
        }
        match listed {
            Ok(Some(searched)) if on_card == 0 => Err(Error::Card(rillm_card::Error::NoModel { searched })),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Card(error)),
        }
    }

    async fn open(&mut self, name: &str) -> Result<(Model<'b>, About), Error> {
        if name == FLASH && self.options.flash > 0 {
            return Ok((Model::Flash(Bytes::lent(flash::model(self.options.flash))), About::Flash));
        }
        let device = card::device(self.bus, self.options);
        let file = CardFile::open(device, Some(name)).await.map_err(Error::Card)?;
        let about = About::Card { len: file.len(), extents: file.extents() };
        Ok((Model::Card(file), about))
    }
}

/// A model's file.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and no allocator")]
pub enum Model<'b> {
    /// A file on the card.
    Card(CardFile<CardDevice<'b>>),
    /// The model in flash.
    Flash(Bytes<'static>),
}

/// The description of a model for the console.
pub enum About {
    /// A file on the card: its length in bytes and number of extents.
    Card { len: u32, extents: usize },
    /// The model in flash.
    Flash,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card { len, extents } => {
                write!(
                    f,
                    "card: {} bytes, {extents} {}",
                    Grouped((*len).into()),
                    if *extents == 1 { "fragment" } else { "fragments" }
                )
            }
            Self::Flash => f.write_str("flash, memory-mapped"),
        }
    }
}

/// Why models cannot be listed, or one cannot be read.
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
