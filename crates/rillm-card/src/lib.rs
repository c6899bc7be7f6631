//! A `.rillm` file on an SD card, as the engine's [`WeightSource`](rillm::source::WeightSource).
//!
//! The card is formatted as FAT32 or FAT16, with a partition table (MBR) or without one. [`CardFile::open`] finds the file in
//! its root directory and notes where its blocks lie; from then on every read goes straight to them, as many blocks by one
//! command as lie together, and no file system is in between. What is wrong with a card is a typed [`Error`] that
//! says what to do. Reads that fail are tried again, [`RETRIES`] times.
//!
//! A card over SPI, with `embedded-sdmmc`'s driver. Before its first use the bus has to give the card 74 clocks at 400 kHz at most
//! with its chip select high; afterwards the clock may be raised.
//!
//! ```
//! # #[cfg(feature = "embedded-sdmmc")]
//! # mod example {
//! use embedded_hal::{delay::DelayNs, spi::SpiDevice};
//! use embedded_sdmmc::{SdCard, SdCardError};
//! use rillm::source::{Sector, WeightSource};
//! use rillm_card::{Blocking, CardFile, Error, stop_sending};
//!
//! async fn first_sector<SPI: SpiDevice, D: DelayNs>(spi: SPI, delay: D) -> Result<[u8; 512], Error<SdCardError>> {
//!     let recover = |card: &SdCard<SPI, D>| {
//!         card.spi(stop_sending);
//!         card.mark_card_uninit();
//!     };
//!     let card = Blocking::new(SdCard::new(spi, delay), recover);
//!     // The first *.rillm; where there are several, `Some("tiny-llm.rillm")`.
//!     let mut model: CardFile<_> = CardFile::open(card, None).await?;
//!     let mut sector = [0; 512];
//!     model.read(Sector(0), &mut sector).await?;
//!     Ok(sector)
//! }
//! # }
//! ```
//!
//! A card on an SD host with DMA, with `sdio`, which esp-hal's and embassy's hosts implement the bus of:
//!
//! ```
//! # #[cfg(feature = "block-device-driver")]
//! # mod example {
//! use embedded_hal_async::delay::DelayNs;
//! use rillm::{error::Error, model::Model};
//! use rillm_card::{Async, Blocks, CardFile};
//! use sdio::{BlockDevice, MmcBus, MmcError, sd::Card};
//!
//! const FREQUENCY: u32 = 40_000_000;
//!
//! async fn model<B: MmcBus, D: DelayNs>(bus: B, delay: D) -> Result<Model, Error<rillm_card::Error<MmcError>>> {
//!     // The first read fails, and initialises the card.
//!     let device = BlockDevice::<Card, B, D, 512>::new_uninit_sd_card(bus, delay);
//!     let card = Async::new(device, async |device: &mut BlockDevice<_, _, _, 512>| device.reacquire(FREQUENCY).await);
//!     let mut file: CardFile<_> = CardFile::open(card, None).await.map_err(Error::Source)?;
//!     Model::open(&mut file).await
//! }
//! # }
//! ```
//!
//! A driver that also implements [`Slot`] is brought up by [`insert`]: in the fastest way in which the card can be read, which is
//! measured, and with a slower one where that fails.
//!
//! There is no allocator and no write: a card is read only. `Blocking` comes with the feature `embedded-sdmmc`, `Async`
//! with `block-device-driver`; both are on by default. A driver of another kind implements [`Blocks`].
#![no_std]

#[cfg(feature = "embedded-sdmmc")]
mod blocking;
mod blocks;
mod directory;
mod error;
mod file;
mod name;
mod runs;
mod slot;
mod volume;
#[cfg(feature = "block-device-driver")]
mod waiting;

#[cfg(feature = "embedded-sdmmc")]
pub use blocking::{Blocking, stop_sending};
pub use blocks::{Blocks, RETRIES};
pub use directory::{File, for_each_model};
pub use error::Error;
pub use file::{CardFile, DEFAULT_RUNS};
pub use name::Name;
pub use slot::{Facts, Found, Mode, Slot, insert};
#[cfg(feature = "block-device-driver")]
pub use waiting::Async;
