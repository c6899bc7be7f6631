//! A file's extents: where its blocks lie.

use crate::block_cache::BlockCache;
use crate::blocks::Blocks;
use crate::error::Error;
use crate::volume::{BLOCK_LEN, Volume};

/// Consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub first: u32,
    pub len: u32,
}

/// A file's extents in file order. They do not overlap.
#[derive(Debug)]
pub(crate) struct Extents<const N: usize> {
    extents: [Extent; N],
    len: usize,
}

impl<const N: usize> Extents<N> {
    /// Follows the cluster chain from `cluster` on for a file of `len` bytes, at least 1.
    ///
    /// No cluster is taken twice, so this ends on any card.
    pub async fn follow<B: Blocks>(
        cache: &mut BlockCache<'_, B>,
        volume: &Volume,
        cluster: u32,
        len: u32,
    ) -> Result<Self, Error<B::Error>> {
        let expected = len.div_ceil(BLOCK_LEN as u32).div_ceil(volume.blocks_per_cluster);
        let mut extents = Self { extents: [Extent { first: 0, len: 0 }; N], len: 0 };
        let mut cluster = volume.check(cluster)?;
        let mut found = 0;
        loop {
            let block = volume.block_of(cluster);
            if extents.contain(block) {
                return Err(Error::ChainLoop { cluster });
            }
            if found == expected {
                // The chain goes on: some systems reserve clusters behind a file.
                return Ok(extents);
            }
            extents
                .push(Extent { first: block, len: volume.blocks_per_cluster })
                .ok_or(Error::TooManyExtents { most: N })?;
            found += 1;
            match volume.next(cache, cluster).await? {
                Some(next) => cluster = next,
                None if found == expected => return Ok(extents),
                None => return Err(Error::ChainShort { found, expected }),
            }
        }
    }

    fn contain(&self, block: u32) -> bool {
        self.iter().any(|extent| block.checked_sub(extent.first).is_some_and(|at| at < extent.len))
    }

    /// Appends an extent, or extends the last one where it is adjacent. `None` if there is no room.
    fn push(&mut self, extent: Extent) -> Option<()> {
        if let Some(last) = self.extents[..self.len].last_mut().filter(|last| last.first + last.len == extent.first) {
            last.len += extent.len;
        } else {
            *self.extents.get_mut(self.len)? = extent;
            self.len += 1;
        }
        Some(())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.extents[..self.len].iter()
    }
}
