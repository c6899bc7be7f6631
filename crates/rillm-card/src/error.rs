//! The errors of a card.

use core::fmt;

use crate::search::{PartitionId, SearchedPartitions};

/// Why a file could not be opened or read. The message says what was found and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<E> {
    /// The driver's error, after [`RETRIES`](crate::RETRIES) retries.
    Device(E),
    /// No card answers in the slot.
    NoCard,
    /// The first block is neither a partition table (MBR) nor the start of a FAT file system.
    Unformatted,
    /// The card's GUID partition table (GPT) is damaged.
    Gpt,
    /// The card, or its partition, is formatted as exFAT, the factory format of cards above 32 GB.
    ExFat,
    /// The card, or its partition, is formatted as NTFS.
    Ntfs,
    /// The card, or its partition, is formatted as FAT12, the format of very small cards.
    Fat12,
    /// The partition table is empty.
    NoPartition,
    /// The card has several partitions, and none has a readable FAT32 or FAT16 file system.
    NoFat {
        /// The partitions and what they contain.
        searched: SearchedPartitions,
    },
    /// The card's only partition does not start with a FAT file system.
    NotFat {
        /// The partition.
        partition: PartitionId,
        /// Its first block.
        block: u32,
    },
    /// The file system's sectors are not 512 bytes long.
    SectorLen {
        /// Bytes per sector.
        found: u16,
    },
    /// The number of sectors per cluster is not a power of two.
    ClusterLen {
        /// Sectors per cluster.
        found: u8,
    },
    /// Another field of the boot sector has an impossible value.
    BootSector {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
    },
    /// The file system reaches past the end of the card: it was made for a larger card, or was not written completely.
    CardTooSmall {
        /// Blocks that the file system needs.
        needed: u64,
        /// Blocks of the card.
        found: u32,
    },
    /// The root directory has more entries than FAT allows: its cluster chain is a loop.
    EndlessDirectory,
    /// No root directory has a file of this name.
    NoSuchFile {
        /// The partitions that were searched.
        searched: SearchedPartitions,
    },
    /// No root directory has a `*.rillm`.
    NoModel {
        /// The partitions that were searched.
        searched: SearchedPartitions,
    },
    /// The file is empty.
    EmptyFile,
    /// The cluster chain is a loop.
    ChainLoop {
        /// The cluster that the chain reaches twice.
        cluster: u32,
    },
    /// The cluster chain leads out of the file system.
    ChainOutside {
        /// The cluster that the chain leads to.
        cluster: u32,
        /// The last cluster of the file system.
        last: u32,
    },
    /// The cluster chain contains a cluster that is marked free: the card was removed before all was written.
    ChainFree {
        /// The cluster.
        cluster: u32,
    },
    /// The cluster chain contains a cluster that is marked bad.
    ChainBad {
        /// The cluster.
        cluster: u32,
    },
    /// The cluster chain is shorter than the file: the file was not written completely.
    ChainShort {
        /// Clusters of the chain.
        found: u32,
        /// Clusters that the file's length needs.
        expected: u32,
    },
    /// The file has more extents than there is room for.
    TooManyExtents {
        /// The extents that there is room for.
        most: usize,
    },
    /// A read past the end of the file: the file is shorter than its header says.
    PastTheEnd {
        /// The first sector asked for, counted from the file's start.
        first: u32,
        /// Bytes asked for.
        len: usize,
        /// Bytes of the file.
        file_len: u32,
    },
    /// The length of a read is not a whole number of sectors.
    NotSectors {
        /// Bytes asked for.
        len: usize,
    },
}

const FORMAT: &str = "format it as FAT32, or write an image that `rillm card` makes";
const COPY: &str = "copy it again, and eject the card before pulling it out";

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "the card cannot be read: {error}; is it pushed in fully?"),
            Self::NoCard => f.write_str(
                "no card answers; push one in fully, and look at its power, 3.3 V, and at the wires of the clock and of the \
                 command line (CMD or MOSI)",
            ),
            Self::Unformatted => write!(f, "the card has no partition table and no FAT file system; {FORMAT}"),
            Self::Gpt => write!(f, "the card's GUID partition table (GPT) is damaged; {FORMAT}"),
            Self::ExFat => write!(f, "the card is formatted as exFAT; {FORMAT}"),
            Self::Ntfs => write!(f, "the card is formatted as NTFS; {FORMAT}"),
            Self::Fat12 => write!(f, "the card is formatted as FAT12; {FORMAT}"),
            Self::NoPartition => write!(f, "the card's partition table is empty; {FORMAT}"),
            Self::NoFat { searched } => {
                write!(f, "the card has no FAT32 or FAT16 file system that can be read ({searched}); {FORMAT}")
            }
            Self::NotFat { partition, block } => {
                write!(f, "{partition}, at block {block}, does not start with a FAT file system; {FORMAT}")
            }
            Self::SectorLen { found } => {
                write!(f, "the file system has sectors of {found} bytes and they must be 512; {FORMAT}")
            }
            Self::ClusterLen { found } => {
                write!(f, "the file system has clusters of {found} sectors, which is no power of two; {FORMAT}")
            }
            Self::BootSector { field, found } => {
                write!(f, "the file system is damaged: its {field} cannot be {found}; {FORMAT}")
            }
            Self::CardTooSmall { needed, found } => write!(
                f,
                "the file system needs {needed} blocks and the card has {found}: it is made for a larger card, or was \
                 not written whole; {FORMAT}"
            ),
            Self::EndlessDirectory => {
                write!(f, "the file system is damaged: its root directory has no end; {FORMAT}")
            }
            Self::NoSuchFile { searched } => write!(
                f,
                "the card's root directory has no file of that name ({searched}); copy it there, not into a folder"
            ),
            Self::NoModel { searched } => {
                write!(f, "the card's root directory has no .rillm file ({searched}); copy one there, not into a folder")
            }
            Self::EmptyFile => write!(f, "the file has no bytes; {COPY}"),
            Self::ChainLoop { cluster } => {
                write!(f, "the file system is damaged: a chain of clusters meets cluster {cluster} twice; {FORMAT}")
            }
            Self::ChainOutside { cluster, last } => write!(
                f,
                "the file system is damaged: a chain of clusters leads to cluster {cluster} and the last one is {last}; \
                 {FORMAT}"
            ),
            Self::ChainFree { cluster } => {
                write!(f, "the file was not written whole: its cluster {cluster} is marked free; {COPY}")
            }
            Self::ChainBad { cluster } => {
                write!(f, "the file's cluster {cluster} is marked bad: the card wears out; take another one")
            }
            Self::ChainShort { found, expected } => {
                write!(f, "the file was not written whole: its clusters are {found} and should be {expected}; {COPY}")
            }
            Self::TooManyExtents { most } => write!(
                f,
                "the file has more than {most} fragments; copy it to a freshly formatted card, or write an image that \
                 `rillm card` makes"
            ),
            Self::PastTheEnd { first, len, file_len } => write!(
                f,
                "the file ends after {file_len} bytes, before the {len} bytes from sector {first} on: it was not copied \
                 whole; {COPY}"
            ),
            Self::NotSectors { len } => write!(f, "a read of {len} bytes; reads are whole sectors of 512"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::error::Error as _;
    use core::fmt::Error as Failed;

    use super::*;
    use crate::slot::SlotError;

    #[test]
    fn the_source_of_an_error_is_the_drivers() {
        assert!(Error::Device(Failed).source().is_some_and(|source| source.is::<Failed>()));
        assert!(Error::<Failed>::NoCard.source().is_none());
        // In the words of a slot's error are the driver's already.
        assert!(SlotError::Driver(Error::Device(Failed)).source().is_some_and(|source| source.is::<Failed>()));
    }
}
