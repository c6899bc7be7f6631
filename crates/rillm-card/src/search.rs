//! Looking for a file on all of a card's file systems.

use core::fmt;
use core::ops::ControlFlow;

use crate::block_cache::BlockCache;
use crate::blocks::Blocks;
use crate::directory::{DirectoryEntry, walk};
use crate::error::Error;
use crate::partitions::{Partition, Partitions};
use crate::volume::{FatKind, Volume};

/// Where on a card something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionId {
    /// On the whole card, which has no partitions.
    WholeCard,
    /// On a partition of the MBR.
    Mbr {
        /// Its number, as Linux counts: 1 to 4 for the table's entries, 5 and more for logical partitions.
        number: u8,
        /// Its type, as the table has it.
        kind: u8,
    },
    /// On a partition of the GUID partition table.
    Gpt {
        /// Its number, from 1 on.
        number: u8,
    },
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeCard => f.write_str("the whole card"),
            Self::Mbr { number, kind } => write!(f, "partition {number} of type {kind:#04x}"),
            Self::Gpt { number } => write!(f, "GPT partition {number}"),
        }
    }
}

/// What a partition was found to be. Files are looked for on FAT16 and FAT32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionContent {
    /// FAT16.
    Fat16,
    /// FAT32.
    Fat32,
    /// FAT12, as very small partitions have it.
    Fat12,
    /// exFAT.
    ExFat,
    /// NTFS.
    Ntfs,
    /// A FAT file system that is damaged.
    Damaged,
    /// It starts or ends past the card's end.
    PastTheEnd,
    /// Something else.
    NotFat,
}

impl PartitionContent {
    fn of_kind(kind: FatKind) -> Self {
        match kind {
            FatKind::Fat16 => Self::Fat16,
            FatKind::Fat32 => Self::Fat32,
        }
    }

    fn of_error<E>(error: &Error<E>) -> Self {
        match error {
            Error::Fat12 => Self::Fat12,
            Error::ExFat => Self::ExFat,
            Error::Ntfs => Self::Ntfs,
            Error::CardTooSmall { .. } => Self::PastTheEnd,
            Error::NotFat { .. } | Error::Gpt => Self::NotFat,
            _ => Self::Damaged,
        }
    }
}

impl fmt::Display for PartitionContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fat16 => "is FAT16",
            Self::Fat32 => "is FAT32",
            Self::Fat12 => "is FAT12",
            Self::ExFat => "is exFAT",
            Self::Ntfs => "is NTFS",
            Self::Damaged => "is FAT and damaged",
            Self::PastTheEnd => "reaches past the card's end",
            Self::NotFat => "has no FAT file system",
        })
    }
}

/// Partitions that [`SearchedPartitions`] has room for.
const MAX_NOTED: usize = 6;

/// The partitions of a card that were looked at, in their order, and what they were found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchedPartitions {
    first: [(PartitionId, PartitionContent); MAX_NOTED],
    len: u8,
}

impl SearchedPartitions {
    fn new() -> Self {
        Self { first: [(PartitionId::WholeCard, PartitionContent::NotFat); MAX_NOTED], len: 0 }
    }

    fn push(&mut self, partition: PartitionId, content: PartitionContent) {
        if let Some(slot) = self.first.get_mut(usize::from(self.len)) {
            *slot = (partition, content);
        }
        self.len = self.len.saturating_add(1);
    }

    /// How many they are.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty for a caller")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The first six of them.
    pub fn first(&self) -> &[(PartitionId, PartitionContent)] {
        &self.first[..self.len().min(MAX_NOTED)]
    }
}

impl fmt::Display for SearchedPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, content)) in self.first().iter().enumerate() {
            write!(f, "{}{partition} {content}", if index == 0 { "" } else { ", " })?;
        }
        match self.len().saturating_sub(MAX_NOTED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Shows `visit` every file of every root directory, until it breaks, with the partition and the file system that it lies on.
/// What is wrong with a file system is an error where there is no other one.
pub(crate) async fn search<B: Blocks>(
    cache: &mut BlockCache<'_, B>,
    mut visit: impl FnMut(PartitionId, &Volume, &DirectoryEntry<'_>) -> ControlFlow<()>,
) -> Result<SearchedPartitions, Error<B::Error>> {
    let mut partitions = Partitions::read(cache).await?;
    let (mut searched, mut problem, mut any_fat) = (SearchedPartitions::new(), None, false);
    while let Some(Partition { partition, start }) = partitions.next(cache).await? {
        match search_partition(cache, partitions.count, partition, start, &mut visit).await {
            Ok((kind, flow)) => {
                any_fat = true;
                searched.push(partition, PartitionContent::of_kind(kind));
                if flow.is_break() {
                    return Ok(searched);
                }
            }
            Err(Error::Device(error)) => return Err(Error::Device(error)),
            Err(error) => {
                searched.push(partition, PartitionContent::of_error(&error));
                problem = Some(error);
            }
        }
    }
    match problem {
        _ if any_fat => Ok(searched),
        None => Err(Error::NoPartition),
        Some(error) if searched.len() == 1 => Err(error),
        Some(_) => Err(Error::NoFat { searched }),
    }
}

/// Shows `visit` every file of one root directory.
async fn search_partition<B: Blocks>(
    cache: &mut BlockCache<'_, B>,
    count: u32,
    partition: PartitionId,
    start: u64,
    visit: &mut impl FnMut(PartitionId, &Volume, &DirectoryEntry<'_>) -> ControlFlow<()>,
) -> Result<(FatKind, ControlFlow<()>), Error<B::Error>> {
    let volume = Volume::open(cache, start, partition, count).await?;
    let flow = walk(cache, &volume, |entry| visit(partition, &volume, entry)).await?;
    Ok((volume.kind, flow))
}
