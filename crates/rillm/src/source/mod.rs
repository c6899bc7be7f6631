//! Where the bytes of a `.rillm` file come from: the engine's one seam.
//!
//! A [`WeightSource`] reads whole sectors into a buffer, or lends the file's bytes where they already lie in memory.
//! Everything else the engine needs of a card, a flash or a file is built on these two methods.

mod bytes;
mod counted;
mod faulty;

use core::future::Future;

pub use bytes::{Bytes, PastTheEnd};
pub(crate) use counted::lent;
pub use counted::{Counted, SectorReader};
pub use faulty::{Fault, Faulty};

/// Bytes of a sector, the unit of every read. SD cards read nothing smaller.
pub const SECTOR_LEN: usize = 512;

/// The number of a sector, counted from the start of the `.rillm` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sector(pub u32);

impl Sector {
    /// The sector that holds the byte at `offset`, and the byte's place in it.
    ///
    /// Offsets of a file that [`Header`](crate::format::Header) admits lie below 2^41 bytes, so the number fits.
    pub const fn of(offset: u64) -> (Self, usize) {
        (Self((offset / SECTOR_LEN as u64) as u32), (offset % SECTOR_LEN as u64) as usize)
    }
}

/// A `.rillm` file, somewhere.
///
/// An asynchronous source (DMA, an SD host) starts the transfer when its future is first polled and wakes the task at
/// its end, so that the engine multiplies one buffer while the next one fills. A blocking source is a future that is
/// ready at once.
pub trait WeightSource {
    /// What can go wrong below: a card's error, an operating system's.
    type Error;

    /// Fills `buf` with the sectors from `first` on. `buf` is a whole, non-zero number of sectors long.
    ///
    /// Reading past the end of the file is an error. After an error the contents of `buf` are unspecified and the
    /// same sectors may be asked for again. The future may be dropped before it is ready; the transfer must have stopped
    /// when the drop returns, for the buffer is used again.
    fn read(&mut self, first: Sector, buf: &mut [u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// The whole file, where it lies in memory (flash, a memory map, PSRAM). The engine then calls `read` for nothing but
    /// what is missing at its end, to get the error.
    fn memory(&self) -> Option<&[u8]> {
        None
    }
}
