//! The card: from the slot to the models' files.

#[cfg(feature = "sdmmc")]
mod sdmmc;
mod spi;

use core::cell::{RefCell, RefMut};
use core::fmt;

use esp_hal::time::Instant;
use rillm_card::{Blocks, CardFile, CardInfo, Error, Slot, for_each_model, probe};
use rillm_generate::number::Count;

#[cfg(feature = "sdmmc")]
pub use sdmmc::{SdHost, SdmmcCard, pull_up, sdmmc};
pub use spi::{SpiSlot, spi};

/// A slot in use by an open file, until it is dropped.
pub struct InUse<'s, S>(RefMut<'s, S>);

impl<S: Blocks> Blocks for InUse<'_, S> {
    type Error = S::Error;

    async fn count(&mut self) -> Result<u32, S::Error> {
        self.0.count().await
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), S::Error> {
        self.0.read(first, buf).await
    }

    async fn recover(&mut self) -> Result<(), S::Error> {
        self.0.recover().await
    }
}

/// A model's file on a card.
pub type File<'s, S> = CardFile<InUse<'s, S>>;

/// The description of a file for the console.
pub struct About<E> {
    len: u32,
    extents: usize,
    info: CardInfo<E>,
}

impl<E> About<E> {
    /// The measured transfer rate of the card, in bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        self.info.bytes_per_second()
    }
}

impl<E: fmt::Display> fmt::Display for About<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len, extents, info } = self;
        write!(f, "card: {}, {}; {info}", Count((*len).into(), "byte"), Count(*extents as u64, "fragment"))
    }
}

/// Initialises the card, which may have been exchanged, and calls `visit` with name and length of each model. No file of
/// the card may be open.
///
/// # Errors
/// The card's error.
pub async fn list<S: Slot>(
    slot: &RefCell<S>,
    visit: &mut dyn FnMut(&dyn fmt::Display, u64),
) -> Result<(), Error<S::Error>> {
    let mut card = InUse(slot.borrow_mut());
    probe(&mut *card.0, micros).await?;
    let mut count = 0;
    let each = |file: rillm_card::File<'_>| {
        count += 1;
        visit(&file.name, file.len.into());
    };
    let searched = for_each_model(card, each).await?;
    if count == 0 { Err(Error::NoModel { searched }) } else { Ok(()) }
}

/// Initialises the card, which may have been exchanged, and opens the file of that name. No other file of the card may
/// be open.
///
/// # Errors
/// The card's error.
pub async fn open<'s, S: Slot>(
    slot: &'s RefCell<S>,
    name: &str,
) -> Result<(File<'s, S>, About<S::Error>), Error<S::Error>> {
    let mut card = InUse(slot.borrow_mut());
    let info = probe(&mut *card.0, micros).await?;
    let file = CardFile::open(card, Some(name)).await?;
    let about = About { len: file.len(), extents: file.extents(), info };
    Ok((file, about))
}

fn micros() -> u32 {
    Instant::now().duration_since_epoch().as_micros() as u32
}
