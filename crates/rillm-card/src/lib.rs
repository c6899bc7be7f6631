//! A `.rillm` file on an SD card, as the engine's [`WeightSource`](rillm::WeightSource).
//!
//! The card is formatted as FAT32 or FAT16, with a partition table (MBR or GPT) or without one. [`CardFile::open`] finds the
//! file in the root directory of the first partition that has it and notes where its blocks lie; from then on every read goes straight to them, as many blocks by one
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
//! use rillm::{Sector, WeightSource};
//! use rillm_card::{BlockingDevice, CardFile, Error, stop_sending};
//!
//! async fn first_sector<SPI: SpiDevice, D: DelayNs>(spi: SPI, delay: D) -> Result<[u8; 512], Error<SdCardError>> {
//!     let recover = |card: &SdCard<SPI, D>| {
//!         card.spi(stop_sending);
//!         card.mark_card_uninit();
//!     };
//!     let card = BlockingDevice::new(SdCard::new(spi, delay), recover);
//!     // The first *.rillm; where there are several, `Some("tiny-llm.rillm")`.
//!     let mut model: CardFile<_> = CardFile::open(card, None).await?;
//!     let mut sector = [0; 512];
//!     model.read(Sector(0), &mut sector).await?;
//!     Ok(sector)
//! }
//! # }
//! ```
//!
//! A card on an SD host with DMA is an [`Sdmmc`], which initialises it with `sdio`. esp-hal's and embassy's hosts implement that
//! crate's bus; what a [`SdmmcHost`] adds to it is a few registers and a clock.
//!
//! ```
//! # #[cfg(feature = "sdio")]
//! # mod example {
//! use rillm::{Error, Model};
//! use rillm_card::{AlignedBlock, CardFile, SdmmcHost, Sdmmc, SlotError, probe};
//! use sdio::MmcError;
//!
//! async fn model<H: SdmmcHost>(host: H, bounce: &mut [AlignedBlock]) -> Result<Model, Error<rillm_card::Error<SlotError<MmcError>>>> {
//!     let mut card = Sdmmc::new(host, bounce);
//!     probe(&mut card, H::micros).await.map_err(Error::Source)?;
//!     let mut file: CardFile<_> = CardFile::open(card, None).await.map_err(Error::Source)?;
//!     Model::open(&mut file).await
//! }
//! # }
//! ```
//!
//! `Sdmmc`, and its like over SPI, `SpiCard`, implement [`Slot`]. [`probe`] initialises a card in the fastest way in which it can be
//! read, which is measured, and in a slower one where that fails; it may be called again at any time. Every wait for a card
//! or a host ends by a clock of the caller's.
//!
//! There is no allocator and no write: a card is read only. `BlockingDevice` comes with the feature `embedded-sdmmc`, `AsyncDevice`
//! with `block-device-driver`, `Sdmmc` with `sdio`, `SpiCard` with `spi`; all are on by default. A driver of another kind implements [`Blocks`].
#![no_std]

#[cfg(feature = "block-device-driver")]
mod async_device;
mod block_cache;
#[cfg(feature = "embedded-sdmmc")]
mod blocking_device;
mod blocks;
#[cfg(any(feature = "sdio", feature = "spi"))]
mod delay;
mod directory;
mod error;
mod extents;
mod file;
mod name;
mod partitions;
mod probe;
#[cfg(feature = "sdio")]
mod sdmmc;
#[cfg(feature = "sdio")]
mod sdmmc_host;
mod search;
mod slot;
#[cfg(feature = "spi")]
mod spi;
mod volume;

#[cfg(feature = "block-device-driver")]
pub use async_device::AsyncDevice;
#[cfg(feature = "embedded-sdmmc")]
pub use blocking_device::{BlockingDevice, stop_sending};
pub use blocks::{Blocks, RETRIES};
pub use directory::{File, for_each_model};
pub use error::Error;
pub use file::{CardFile, DEFAULT_EXTENTS};
pub use name::Name;
pub use probe::{CardInfo, probe};
#[cfg(feature = "sdio")]
pub use sdmmc::{AlignedBlock, Sdmmc};
#[cfg(feature = "sdio")]
pub use sdmmc_host::SdmmcHost;
pub use search::{PartitionContent, PartitionId, SearchedPartitions};
pub use slot::{BusMode, Detected, Slot, SlotError};
#[cfg(feature = "spi")]
pub use spi::{SpiCard, SpiHost};
