//! The card: from its slot to the model's file.

#[cfg(feature = "sdmmc")]
mod sdmmc;
mod spi;

use core::cell::{RefCell, RefMut};
use core::fmt;

use esp_hal::time::Instant;
use rillm_card::{Blocks, CardFile, CardInfo, Error, Slot, probe};
use rillm_generate::number::Count;

#[cfg(feature = "sdmmc")]
pub use sdmmc::{SdHost, SdmmcCard, pull_up, sdmmc};
pub use spi::{SpiSlot, spi};

/// A slot whose card has a file open, until this is dropped.
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

/// What the console says of it.
pub struct About<E> {
    len: u32,
    runs: usize,
    info: CardInfo<E>,
}

impl<E> About<E> {
    /// What was measured of the card.
    pub fn bytes_per_second(&self) -> u64 {
        self.info.bytes_per_second()
    }
}

impl<E: fmt::Display> fmt::Display for About<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len, runs, info } = self;
        write!(f, "card: {}, {}; {info}", Count((*len).into(), "byte"), Count(*runs as u64, "run"))
    }
}

/// Initialises the card anew, whichever it is by now, and finds the file of that name on it, or the first model. No file of it
/// is open.
///
/// # Errors
/// What is wrong with the card.
pub async fn open<'s, S: Slot>(
    slot: &'s RefCell<S>,
    name: Option<&str>,
) -> Result<(File<'s, S>, About<S::Error>), Error<S::Error>> {
    let mut card = InUse(slot.borrow_mut());
    let info = probe(&mut *card.0, micros).await?;
    let file = CardFile::open(card, name).await?;
    let about = About { len: file.len(), runs: file.extents(), info };
    Ok((file, about))
}

fn micros() -> u32 {
    Instant::now().duration_since_epoch().as_micros() as u32
}
