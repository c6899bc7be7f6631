//! Looking for a file on all of a card's file systems.

use core::fmt;
use core::ops::ControlFlow;

use crate::blocks::{Blocks, Window};
use crate::directory::{Entry, walk};
use crate::error::Error;
use crate::partitions::{Partition, Partitions};
use crate::volume::{Kind, Volume};

/// Where on a card something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the whole card, which has no partitions.
    Card,
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card => f.write_str("the whole card"),
            Self::Mbr { number, kind } => write!(f, "partition {number} of type {kind:#04x}"),
            Self::Gpt { number } => write!(f, "GPT partition {number}"),
        }
    }
}

/// What a partition was found to be. Files are looked for on FAT16 and FAT32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
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

impl Content {
    fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Fat16 => Self::Fat16,
            Kind::Fat32 => Self::Fat32,
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

impl fmt::Display for Content {
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

/// Partitions that [`Searched`] has room for.
const NOTED: usize = 6;

/// The partitions of a card that were looked at, in their order, and what they were found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Searched {
    first: [(Place, Content); NOTED],
    len: u8,
}

impl Searched {
    fn new() -> Self {
        Self { first: [(Place::Card, Content::NotFat); NOTED], len: 0 }
    }

    fn push(&mut self, place: Place, content: Content) {
        if let Some(slot) = self.first.get_mut(usize::from(self.len)) {
            *slot = (place, content);
        }
        self.len = self.len.saturating_add(1);
    }

    /// How many they are.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty for a caller")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The first six of them.
    pub fn first(&self) -> &[(Place, Content)] {
        &self.first[..self.len().min(NOTED)]
    }
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, content)) in self.first().iter().enumerate() {
            write!(f, "{}{place} {content}", if index == 0 { "" } else { ", " })?;
        }
        match self.len().saturating_sub(NOTED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Shows `visit` every file of every root directory, until it breaks, with the place and the file system that it lies on.
/// What is wrong with a file system is an error where there is no other one.
pub(crate) async fn search<B: Blocks>(
    window: &mut Window<'_, B>,
    mut visit: impl FnMut(Place, &Volume, &Entry<'_>) -> ControlFlow<()>,
) -> Result<Searched, Error<B::Error>> {
    let mut partitions = Partitions::of(window).await?;
    let (mut searched, mut problem, mut any_fat) = (Searched::new(), None, false);
    while let Some(Partition { place, start }) = partitions.next(window).await? {
        match look_into(window, partitions.count, place, start, &mut visit).await {
            Ok((kind, flow)) => {
                any_fat = true;
                searched.push(place, Content::of_kind(kind));
                if flow.is_break() {
                    return Ok(searched);
                }
            }
            Err(Error::Device(error)) => return Err(Error::Device(error)),
            Err(error) => {
                searched.push(place, Content::of_error(&error));
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
async fn look_into<B: Blocks>(
    window: &mut Window<'_, B>,
    count: u32,
    place: Place,
    start: u64,
    visit: &mut impl FnMut(Place, &Volume, &Entry<'_>) -> ControlFlow<()>,
) -> Result<(Kind, ControlFlow<()>), Error<B::Error>> {
    let volume = Volume::open(window, start, place, count).await?;
    let flow = walk(window, &volume, |entry| visit(place, &volume, entry)).await?;
    Ok((volume.kind, flow))
}
