//! The image of an ESP32 board's flash with rillm's firmware, and another model in it.
//!
//! An image begins at address 0 of the flash: bootloader, partition table, and the application. The application is a list of segments
//! that the bootloader copies to RAM or maps where they lie in flash. The model is the end of the segment of constants, and the firmware's
//! linker script leaves the addresses behind it free. So a model of another length changes the segment's length and what follows from it:
//!
//! - The bytes behind it move. A mapped segment must lie at the same offset in a page of 64 KiB in flash as in memory, and other segments
//!   fill the gap before it. The layout is espflash's: it gives the same bytes as a build with the other model.
//! - The application's checksum and SHA-256.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = std::fs::read("rillm-0.1.0-esp32-c3.bin")?;
//! let image = rillm_flash_image::FlashImage::parse(&file)?;
//! let model = std::fs::read("my-model.rillm")?;
//! std::fs::write("my-model-esp32-c3.bin", image.with_model(&model)?)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod application;
mod chip;
mod error;
mod image;
mod layout;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use image::FlashImage;

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
