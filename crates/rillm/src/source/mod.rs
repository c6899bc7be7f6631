//! Weight sources: where the engine reads a `.rillm` file from.
//!
//! A [`WeightSource`] reads whole sectors into a buffer, or lends the file's bytes if they are already in memory. These
//! two methods are the engine's only interface to a card, a flash or a file.

mod bytes;
mod counted;
mod faulty;

use core::future::Future;

pub use bytes::{Bytes, PastTheEnd};
pub use counted::{Counted, SectorReader};
pub(crate) use counted::{lent, record};
pub use faulty::{Fault, Faulty};

/// Bytes of a sector, the unit of every read and the smallest read of an SD card.
pub const SECTOR_LEN: usize = 512;

/// The number of a sector, counted from the start of the `.rillm` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sector(pub u32);

impl Sector {
    /// The sector that holds the byte at `offset`, and the byte's position in the sector.
    ///
    /// A file that passes [`Header::parse`](crate::format::Header::parse) has offsets below 2^41 bytes, so the sector
    /// number fits 32 bits.
    pub const fn of(offset: u64) -> (Self, usize) {
        (Self((offset / SECTOR_LEN as u64) as u32), (offset % SECTOR_LEN as u64) as usize)
    }
}

/// A source of the bytes of a `.rillm` file.
///
/// An asynchronous source (DMA, an SD host) starts the transfer when its future is first polled and wakes the task at
/// its end. The engine then multiplies one buffer while the source fills the other. The future of a blocking source is
/// ready at the first poll.
pub trait WeightSource {
    /// The error of the underlying device or operating system.
    type Error;

    /// Fills `buf` with the sectors from `first` on. The length of `buf` is a non-zero multiple of [`SECTOR_LEN`].
    ///
    /// Reading past the end of the file is an error. After an error the contents of `buf` are unspecified, and the
    /// engine may request the same sectors again. The future may be dropped before it is ready. The transfer must have
    /// stopped when the drop returns, because the engine reuses the buffer.
    fn read(&mut self, first: Sector, buf: &mut [u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// The whole file, if it lies in memory (memory-mapped flash or file, PSRAM). The engine then calls `read` only for
    /// bytes that are missing at the end, to get the source's error.
    fn memory(&self) -> Option<&[u8]> {
        None
    }
}
