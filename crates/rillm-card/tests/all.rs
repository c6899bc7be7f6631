//! Integration tests of files on cards and of card drivers, in one test binary. Every file is a module, which `cargo
//! test --test all MODULE` selects.

mod damage;
#[cfg(all(feature = "embedded-sdmmc", feature = "block-device-driver"))]
mod drivers;
mod faults;
mod names;
mod partitions;
mod reading;
#[cfg(feature = "sdio")]
mod sdmmc;
mod slot;
#[cfg(feature = "spi")]
mod spi;
mod support;
mod tools;
