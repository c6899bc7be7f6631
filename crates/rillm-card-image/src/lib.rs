//! Images of SD cards with `.rillm` files on them: a partition table, and one FAT32 partition with the files in its root directory.
//! `rillm card` and the page write cards with it.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use rillm_card_image::{Content, Layout, write};
//!
//! let mut contents = [Content { name: "model.rillm".to_owned(), len: 5, bytes: Box::new(&b"RILLM"[..]) }];
//! let layout = Layout::new(None, &contents)?;
//! let mut image = tempfile::tempfile()?;
//! write(&mut image, &layout, &mut contents, "RILLM", |_, _| ControlFlow::Continue(()))?;
//! assert_eq!(image.metadata()?.len(), layout.size);
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

mod image;
mod surrogates;

pub use image::{Content, Layout, write};

/// The README: its example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
