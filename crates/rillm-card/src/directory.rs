//! Reading the files of a root directory.

use core::ops::ControlFlow;

use crate::block_cache::BlockCache;
use crate::blocks::{Blocks, Retrying};
use crate::error::Error;
use crate::name::{LongName, Name, Names, ShortName};
use crate::search::{PartitionId, SearchedPartitions, search};
use crate::volume::{FatKind, Root, Volume, u16_at, u32_at};

const ENTRY_LEN: usize = 32;
/// Most bytes of a directory's entries, by the FAT specification.
const MAX_LEN: u32 = 2 << 20;

/// A file's directory entry.
pub(crate) struct DirectoryEntry<'a> {
    pub names: Names<'a>,
    pub cluster: u32,
    pub len: u32,
}

/// Calls `visit` for every file until it breaks. Returns whether it broke.
pub(crate) async fn walk<B: Blocks>(
    cache: &mut BlockCache<'_, B>,
    volume: &Volume,
    mut visit: impl FnMut(&DirectoryEntry<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error<B::Error>> {
    let mut long = LongName::new();
    let (mut first, mut count, mut cluster) = match volume.root {
        Root::Blocks { first, count } => (first, count, None),
        Root::Chain { cluster } => (volume.block_of(cluster), volume.blocks_per_cluster, Some(cluster)),
    };
    let mut left = MAX_LEN / 512;
    loop {
        for block in first..first + count {
            left = left.checked_sub(1).ok_or(Error::EndlessDirectory)?;
            let (entries, _) = cache.block(block).await?.as_chunks::<ENTRY_LEN>();
            for entry in entries {
                match decode(entry, volume.kind, &mut long) {
                    Decoded::End => return Ok(ControlFlow::Continue(())),
                    Decoded::Other => {}
                    Decoded::File { cluster, len, short } => {
                        let names = Names { long: long.of(short.checksum()), short: short.name() };
                        if visit(&DirectoryEntry { names, cluster, len }).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                        long.clear();
                    }
                }
            }
        }
        let Some(this) = cluster else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(next) = volume.next(cache, this).await? else {
            return Ok(ControlFlow::Continue(()));
        };
        (first, count, cluster) = (volume.block_of(next), volume.blocks_per_cluster, Some(next));
    }
}

enum Decoded {
    End,
    Other,
    File { cluster: u32, len: u32, short: ShortName },
}

fn decode(entry: &[u8; ENTRY_LEN], kind: FatKind, long: &mut LongName) -> Decoded {
    const LONG_NAME: u8 = 0x0f;
    const LABEL_OR_DIRECTORY: u8 = 0x18;
    const DELETED: u8 = 0xe5;
    let attributes = entry[11] & 0x3f;
    match entry[0] {
        0 => return Decoded::End,
        DELETED => {}
        _ if attributes == LONG_NAME => {
            long.push(entry);
            return Decoded::Other;
        }
        _ if attributes & LABEL_OR_DIRECTORY != 0 => {}
        _ => {
            let high = if kind == FatKind::Fat32 { u16_at(entry, 20) } else { 0 };
            let cluster = u32::from(high) << 16 | u32::from(u16_at(entry, 26));
            return Decoded::File { cluster, len: u32_at(entry, 28), short: ShortName::new(entry) };
        }
    }
    long.clear();
    Decoded::Other
}

/// A file of a root directory.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its bytes.
    pub len: u32,
    /// The partition that it lies on.
    pub partition: PartitionId,
}

/// Calls `visit` for every `*.rillm` in the root directories of a card, in their order; for a menu of models, for
/// example. [`CardFile::open`](crate::CardFile::open) takes the name of a file; if several files have this name it
/// opens the first. Returns the partitions that were searched.
///
/// # Errors
/// The driver's error, or the card's where nothing of it can be read. `visit` may have been called for some files by
/// then.
pub async fn for_each_model<B: Blocks>(
    blocks: B,
    mut visit: impl FnMut(File<'_>),
) -> Result<SearchedPartitions, Error<B::Error>> {
    let mut card = Retrying::new(blocks);
    let mut cache = BlockCache::new(&mut card);
    let each = |partition, _: &Volume, entry: &DirectoryEntry<'_>| {
        if entry.names.is_model() {
            visit(File { name: entry.names.best(), len: entry.len, partition });
        }
        ControlFlow::Continue(())
    };
    search(&mut cache, each).await
}
