//! A `.rillm` file on an SD card, as the engine's [`WeightSource`](rillm::WeightSource).
//!
//! The card is formatted as FAT32 or FAT16, with a partition table (MBR or GPT) or without one. [`CardFile::open`]
//! finds the file in the root directory of the first partition that has it and records its extents: runs of consecutive
//! blocks. Every later read goes straight to these blocks, one command for each extent, without a file system in
//! between. A typed [`Error`] says what is wrong with a card and what to do. A read that fails is retried [`RETRIES`]
//! times.
//!
//! This example reads a card over SPI with the driver of `embedded-sdmmc`. Before its first use the card needs 74
//! clocks at 400 kHz or less with its chip select high; afterwards the clock may be raised.
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
//! [`Sdmmc`] is a card on an SD host with DMA. It initialises the card with the crate `sdio`, whose bus esp-hal and
//! embassy implement. [`SdmmcHost`] adds a few registers and a clock to that bus.
//!
//! ```
//! # #[cfg(feature = "sdio")]
//! # mod example {
//! use rillm::{Error, Model};
//! use rillm_card::{AlignedBlock, CardFile, Sdmmc, SdmmcHost, SlotError, probe};
//! use sdio::MmcError;
//!
//! type CardError = rillm_card::Error<SlotError<MmcError>>;
//!
//! async fn model<H: SdmmcHost>(host: H, bounce: &mut [AlignedBlock]) -> Result<Model, Error<CardError>> {
//!     let mut card = Sdmmc::new(host, bounce);
//!     probe(&mut card, H::micros).await.map_err(Error::Source)?;
//!     let mut file: CardFile<_> = CardFile::open(card, None).await.map_err(Error::Source)?;
//!     Model::open(&mut file).await
//! }
//! # }
//! ```
//!
//! `Sdmmc`, and `SpiCard` for a card over SPI, implement [`Slot`]. [`probe`] initialises a card in the fastest bus mode
//! that works and measures its speed. It may be called again at any time. Every wait for a card or a host has a
//! timeout, measured by a clock of the caller's.
//!
//! The crate needs no allocator and never writes to a card. The feature `embedded-sdmmc` enables `BlockingDevice`,
//! `block-device-driver` enables `AsyncDevice`, `sdio` enables `Sdmmc` and `spi` enables `SpiCard`; all are on by
//! default. A driver of another kind implements [`Blocks`].
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

/// The README: its example is compiled.
#[cfg(all(doctest, feature = "spi"))]
#[doc = include_str!("../README.md")]
struct Readme;
