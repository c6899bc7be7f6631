//! The search for a file on all file systems of a card.

use core::fmt;
use core::ops::ControlFlow;

use crate::block_cache::BlockCache;
use crate::blocks::Blocks;
use crate::directory::{DirectoryEntry, walk};
use crate::error::Error;
use crate::partitions::{Partition, Partitions};
use crate::volume::{FatKind, Volume};

/// A partition of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PartitionId {
    /// The whole card, which has no partitions.
    WholeCard,
    /// A partition of the MBR.
    Mbr {
        /// Its number, as in Linux: 1 to 4 for the table's entries, 5 and more for logical partitions.
        number: u8,
        /// Its partition type, from the table.
        kind: u8,
    },
    /// A partition of the GUID partition table.
    Gpt {
        /// Its number, counted from 1.
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

/// What a partition contains. Only FAT16 and FAT32 are searched for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PartitionContent {
    /// FAT16.
    Fat16,
    /// FAT32.
    Fat32,
    /// FAT12, the format of very small partitions.
    Fat12,
    /// exFAT.
    ExFat,
    /// NTFS.
    Ntfs,
    /// A damaged FAT file system.
    Damaged,
    /// A partition that starts or ends past the card's end.
    PastTheEnd,
    /// No file system that is known here.
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

/// Most partitions that [`SearchedPartitions`] lists.
const MAX_NOTED: usize = 6;

/// The partitions that a search looked into, in order, and what they contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

    /// The number of partitions.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty for a caller")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The first six partitions.
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

/// Calls `visit` for every file of every root directory, with its partition and file system, until it breaks. What is
/// wrong with a file system is an error only if the card has no other one.
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

/// Calls `visit` for every file of one root directory.
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
