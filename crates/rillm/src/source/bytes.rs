//! A source for a file that lies in memory.

use core::fmt;

use super::{SECTOR_LEN, Sector, WeightSource};

/// A read past the end: the file is shorter than its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PastTheEnd {
    /// The first requested sector.
    pub first: Sector,
    /// Number of requested bytes.
    pub len: usize,
    /// Length of the file in bytes.
    pub file_len: usize,
}

impl fmt::Display for PastTheEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, len, file_len } = self;
        write!(
            f,
            "the file ends after {file_len} bytes, before the {len} bytes from sector {} on: it was not copied whole",
            first.0
        )
    }
}

impl core::error::Error for PastTheEnd {}

/// A `.rillm` file in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    bytes: &'a [u8],
    lend: bool,
}

impl<'a> Bytes<'a> {
    /// Lends the bytes: the engine uses the weights in place. For memory-mapped flash or files, and PSRAM.
    ///
    /// On Xtensa with the feature `mac16`, the bytes should start at a multiple of four, which the faster kernel
    /// requires. `include_bytes!` alone does not guarantee this alignment.
    pub const fn lent(bytes: &'a [u8]) -> Self {
        Self { bytes, lend: true }
    }

    /// Copies the weights in chunks, as from a card.
    pub const fn copied(bytes: &'a [u8]) -> Self {
        Self { bytes, lend: false }
    }
}

impl WeightSource for Bytes<'_> {
    type Error = PastTheEnd;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), PastTheEnd> {
        let (len, file_len) = (buf.len(), self.bytes.len());
        let start = (first.0 as usize).checked_mul(SECTOR_LEN);
        let rest = start.and_then(|start| self.bytes.get(start..));
        let bytes = rest.and_then(|rest| rest.get(..len)).ok_or(PastTheEnd { first, len, file_len })?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn memory(&self) -> Option<&[u8]> {
        self.lend.then_some(self.bytes)
    }
}
