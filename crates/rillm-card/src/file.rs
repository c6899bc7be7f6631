//! A file on a card, as a source of weights.

use core::ops::ControlFlow;

use rillm::{SECTOR_LEN, Sector, WeightSource};

use crate::block_cache::BlockCache;
use crate::blocks::{Blocks, Retrying};
use crate::directory::DirectoryEntry;
use crate::error::Error;
use crate::extents::Extents;
use crate::search::search;
use crate::volume::Volume;

/// Extents that a [`CardFile`] has room for unless its type says otherwise, 8 bytes each.
pub const DEFAULT_EXTENTS: usize = 64;

/// A file on a card: where its pieces lie, noted once, so that a read asks the card for nothing but the file's bytes.
///
/// A file that was copied to an empty card is one extent of blocks. Every further extent is a seek for every pass over the
/// weights. The file must not be changed while it is open.
#[derive(Debug)]
pub struct CardFile<B, const EXTENTS: usize = DEFAULT_EXTENTS> {
    card: Retrying<B>,
    extents: Extents<EXTENTS>,
    len: u32,
}

impl<B: Blocks, const EXTENTS: usize> CardFile<B, EXTENTS> {
    /// Opens the file of that name in a root directory, by its long name or its 8.3 one, upper and lower case alike; without a
    /// name the first `*.rillm` in the directory's order. Of several partitions the first one that has it counts. What it
    /// holds is not looked at: [`Model::open`](rillm::Model::open) does that.
    ///
    /// Its future takes less than 2 KB, with an asynchronous driver 2.5 KB. `blocks` may be a `&mut`, to be tried again with another card.
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

    /// Extents of blocks that the file lies in: 1 where it lies in one piece.
    pub fn extents(&self) -> usize {
        self.extents.len()
    }

    /// Bytes of the file, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an empty file is an error")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Attempts since the file was opened, its opening included, that followed upon an error of the card.
    pub fn retries(&self) -> u32 {
        self.card.retries
    }

    /// The card, back.
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
