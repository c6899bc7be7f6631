//! A file on a card, as the engine's weight source.

use core::ops::ControlFlow;

use rillm::{SECTOR_LEN, Sector, WeightSource};

use crate::block_cache::BlockCache;
use crate::blocks::{Blocks, Retrying};
use crate::directory::DirectoryEntry;
use crate::error::Error;
use crate::extents::Extents;
use crate::search::search;
use crate::volume::Volume;

/// Default capacity of a [`CardFile`] in extents of 8 bytes each.
pub const DEFAULT_EXTENTS: usize = 64;

/// A file on a card. Its extents are found once, when it is opened; a read then transfers only the file's bytes.
///
/// A file that was copied to an empty card has one extent. Every further extent costs a seek in each pass over the
/// weights. The file must not be changed while it is open.
#[derive(Debug)]
pub struct CardFile<B, const EXTENTS: usize = DEFAULT_EXTENTS> {
    card: Retrying<B>,
    extents: Extents<EXTENTS>,
    len: u32,
}

impl<B: Blocks, const EXTENTS: usize> CardFile<B, EXTENTS> {
    /// Opens the file of this long or 8.3 name in a root directory, ignoring case; without a name, the first `*.rillm`
    /// in directory order. Of several partitions, the first that has the file counts. The content is not checked:
    /// [`Model::open`](rillm::Model::open) does that.
    ///
    /// The future takes less than 2 KB, or 2.5 KB with an asynchronous driver. `blocks` may be a `&mut`, so that the
    /// caller can try again with another card.
    ///
    /// # Errors
    /// Any [`Error`] but those of a read.
    pub async fn open(blocks: B, name: Option<&str>) -> Result<Self, Error<B::Error>> {
        let mut card = Retrying::new(blocks);
        let mut cache = BlockCache::new(&mut card);
        let mut found = None;
        let find = |_, volume: &Volume, entry: &DirectoryEntry<'_>| {
            if name.map_or_else(|| entry.names.is_model(), |name| entry.names.is(name)) {
                found = Some((*volume, entry.cluster, entry.len));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let searched = search(&mut cache, find).await?;
        let (volume, cluster, len) = match found {
            Some(found) => found,
            None if name.is_some() => return Err(Error::NoSuchFile { searched }),
            None => return Err(Error::NoModel { searched }),
        };
        if len == 0 {
            return Err(Error::EmptyFile);
        }
        let extents = Extents::follow(&mut cache, &volume, cluster, len).await?;
        Ok(Self { card, extents, len })
    }

    /// The number of extents of the file: 1 if it is contiguous.
    pub fn extents(&self) -> usize {
        self.extents.len()
    }

    /// The file's length in bytes, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an empty file is an error")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The number of retries after errors of the card, including those while the file was opened.
    pub fn retries(&self) -> u32 {
        self.card.retries
    }

    /// Closes the file and returns the card.
    pub fn into_blocks(self) -> B {
        self.card.blocks
    }
}

impl<B: Blocks, const EXTENTS: usize> WeightSource for CardFile<B, EXTENTS> {
    type Error = Error<B::Error>;

    async fn read(&mut self, first: Sector, mut buf: &mut [u8]) -> Result<(), Self::Error> {
        let len = buf.len();
        if !len.is_multiple_of(SECTOR_LEN) {
            return Err(Error::NotSectors { len });
        }
        let end = u64::from(first.0) + (len / SECTOR_LEN) as u64;
        if end > u64::from(self.len.div_ceil(SECTOR_LEN as u32)) {
            return Err(Error::PastTheEnd { first: first.0, len, file_len: self.len });
        }
        let mut skip = first.0;
        for extent in self.extents.iter() {
            if buf.is_empty() {
                break;
            }
            if skip >= extent.len {
                skip -= extent.len;
                continue;
            }
            let piece_len = (buf.len() / SECTOR_LEN).min((extent.len - skip) as usize) * SECTOR_LEN;
            let (piece, rest) = buf.split_at_mut(piece_len);
            self.card.read(extent.first + skip, piece).await?;
            (buf, skip) = (rest, 0);
        }
        Ok(())
    }
}
