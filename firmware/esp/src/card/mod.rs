//! The card: from the slot to the model's file.

#[cfg(feature = "sdmmc")]
mod sdmmc;
mod spi;

use core::cell::{RefCell, RefMut};
use core::fmt;

use esp_hal::time::Instant;
use rillm_card::{Blocks, CardFile, Error, Facts, Slot, insert};
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
    runs: usize,
    facts: Facts<E>,
}

impl<E> About<E> {
    /// The measured transfer rate of the card, in bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        self.facts.bytes_per_second()
    }
}

impl<E: fmt::Display> fmt::Display for About<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len, runs, facts } = self;
        write!(f, "card: {}, {}; {facts}", Count((*len).into(), "byte"), Count(*runs as u64, "run"))
    }
}

/// Initialises the card, which may have been exchanged, and finds the file of that name, or without a name the first
/// model. No other file of the card may be open.
///
/// # Errors
/// The card's error.
pub async fn open<'s, S: Slot>(
    slot: &'s RefCell<S>,
    name: Option<&str>,
) -> Result<(File<'s, S>, About<S::Error>), Error<S::Error>> {
    let mut card = InUse(slot.borrow_mut());
    let facts = insert(&mut *card.0, micros).await?;
    let file = CardFile::open(card, name).await?;
    let about = About { len: file.len(), runs: file.runs(), facts };
    Ok((file, about))
}

fn micros() -> u32 {
    Instant::now().duration_since_epoch().as_micros() as u32
}
