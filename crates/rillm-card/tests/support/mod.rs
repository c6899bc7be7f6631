//! Cards in memory, formatted by the crate `fatfs`, and what can go wrong with them.

#[cfg(any(feature = "sdio", feature = "spi"))]
pub mod registers;
#[cfg(any(feature = "sdio", feature = "spi"))]
pub mod story;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Write};
use std::ops::Range;
use std::rc::Rc;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use rillm::{Sector, WeightSource};
use rillm_card::{Blocks, CardFile, Error};

pub const BLOCK: usize = 512;
const MIB: usize = 1 << 20;

pub use rillm::block_on;

/// Pseudorandom bytes, so that a wrong position is noticed.
pub fn content(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// How a card is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub fat: FatType,
    pub cluster: usize,
    /// The first block of the partition; 0: no partition table.
    pub start: usize,
}

pub const FAT16: Layout = Layout { fat: FatType::Fat16, cluster: 512, start: 0 };
pub const FAT32: Layout = Layout { fat: FatType::Fat32, cluster: 512, start: 2048 };

/// FAT16 and FAT32, small and large clusters, with and without a partition table.
pub fn layouts() -> Vec<Layout> {
    let with = |fat, clusters: &[usize]| {
        clusters
            .iter()
            .flat_map(move |&cluster| [0, 63].map(|start| Layout { fat, cluster, start }))
            .collect::<Vec<_>>()
    };
    [with(FatType::Fat16, &[512, 2048, 32_768]), with(FatType::Fat32, &[512, 4096])].concat()
}

impl Layout {
    fn volume_len(self) -> usize {
        let clusters = if self.fat == FatType::Fat16 { 8000 } else { 66_000 };
        clusters * self.cluster + MIB
    }

    /// A formatted card, filled by `fill`.
    pub fn card(self, fill: impl FnOnce(&FileSystem<Cursor<&mut [u8]>>)) -> Vec<u8> {
        let start = self.start * BLOCK;
        let mut card = vec![0; start + self.volume_len()];
        let volume_blocks = (self.volume_len() / BLOCK) as u32;
        let volume = &mut card[start..];
        let options = FormatVolumeOptions::new().bytes_per_cluster(self.cluster as u32).volume_label(*b"RILLM.RILLM");
        format_volume(Cursor::new(&mut *volume), options).expect("a volume");
        let files = FileSystem::new(Cursor::new(volume), FsOptions::new()).expect("a volume");
        assert_eq!(files.fat_type(), self.fat);
        fill(&files);
        files.unmount().expect("unmounted");
        if start > 0 {
            let kind = if self.fat == FatType::Fat16 { 0x0e } else { 0x0c };
            partition(&mut card, 0, kind, self.start as u32, volume_blocks);
        }
        card
    }

    /// A card with `model.rillm` of that content, in as many fragments.
    pub fn with_model(self, content: &[u8], fragments: usize) -> Vec<u8> {
        self.card(|files| {
            let (mut model, mut other) = (create(files, "model.rillm", b""), create(files, "other file.txt", b""));
            let fragment = content.len().div_ceil(fragments).next_multiple_of(self.cluster);
            for fragment in content.chunks(fragment) {
                model.write_all(fragment).expect("room");
                other.write_all(&vec![0xee; self.cluster]).expect("room");
            }
        })
    }

    /// The offsets of the file system's parts on a card of this layout.
    pub fn geometry(self, card: &[u8]) -> Geometry {
        let at = |offset: usize| self.start * BLOCK + offset;
        let u16_at = |offset: usize| usize::from(u16::from_le_bytes([card[at(offset)], card[at(offset + 1)]]));
        let fat_len = if u16_at(22) == 0 { u16_at(36) } else { u16_at(22) };
        let (fat, fats) = (self.start + u16_at(14), fat_len * usize::from(card[at(16)]));
        let root_len = if u16_at(17) == 0 { self.cluster } else { u16_at(17) * 32 };
        let root = (fat + fats) * BLOCK;
        Geometry { boot: at(0), fat: fat * BLOCK, root: root..root + root_len }
    }
}

/// Offsets in a card.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub boot: usize,
    pub fat: usize,
    pub root: Range<usize>,
}

/// Writes an entry of a partition table.
pub fn partition(card: &mut [u8], index: usize, kind: u8, start: u32, len: u32) {
    let at = 446 + 16 * index;
    card[at + 4] = kind;
    card[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    card[at + 12..at + 16].copy_from_slice(&len.to_le_bytes());
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
}

/// Makes a file.
pub fn create<'a, 'c>(
    files: &'a FileSystem<Cursor<&'c mut [u8]>>,
    name: &str,
    content: &[u8],
) -> fatfs::File<'a, Cursor<&'c mut [u8]>> {
    let mut file = files.root_dir().create_file(name).expect("a file");
    file.write_all(content).expect("room");
    file.flush().expect("room");
    file
}

/// The driver's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl std::error::Error for Failed {}

/// A card in memory.
#[derive(Clone, Debug)]
pub struct MemoryCard {
    pub card: Rc<Vec<u8>>,
    /// Bytes that differ from the card's.
    pub changed: BTreeMap<usize, u8>,
    /// Operations, counted from 0, that fail.
    pub failing: Range<u32>,
    pub operations: u32,
    pub recoveries: u32,
    /// The first block and the length of every read.
    pub reads: Vec<(u32, usize)>,
}

impl MemoryCard {
    pub fn new(card: Vec<u8>) -> Self {
        Self::sharing(&Rc::new(card))
    }

    pub fn sharing(card: &Rc<Vec<u8>>) -> Self {
        let (card, changed) = (Rc::clone(card), BTreeMap::new());
        Self { card, changed, failing: 0..0, operations: 0, recoveries: 0, reads: Vec::new() }
    }

    fn operation(&mut self) -> Result<(), Failed> {
        self.operations += 1;
        if self.failing.contains(&(self.operations - 1)) { Err(Failed) } else { Ok(()) }
    }
}

impl Blocks for MemoryCard {
    type Error = Failed;

    async fn count(&mut self) -> Result<u32, Failed> {
        self.operation()?;
        Ok((self.card.len() / BLOCK) as u32)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Failed> {
        assert!(!buf.is_empty() && buf.len().is_multiple_of(BLOCK));
        self.reads.push((first, buf.len()));
        // A failed transfer leaves garbage.
        buf.fill(0xa5);
        self.operation()?;
        let start = first as usize * BLOCK;
        let end = start + buf.len();
        assert!(end <= self.card.len(), "block {first} is none of the card's");
        buf.copy_from_slice(&self.card[start..end]);
        for (&at, &byte) in self.changed.range(start..end) {
            buf[at - start] = byte;
        }
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Failed> {
        self.recoveries += 1;
        Ok(())
    }
}

/// Opens a file with the default capacity in extents.
pub fn open<B: Blocks>(blocks: B, name: Option<&str>) -> Result<CardFile<B>, Error<B::Error>> {
    block_on(CardFile::open(blocks, name))
}

/// The error of opening the first model of a card.
pub fn error(card: Vec<u8>) -> Error<Failed> {
    let Err(error) = open(MemoryCard::new(card), None) else { panic!("a file was opened") };
    // Every message says what was found and then what to do.
    let message = error.to_string();
    assert!(message.split([';', ',']).nth(1).is_some_and(|remedy| remedy.len() > 5), "{message}");
    error
}

/// Reads the file from its start to its end, in chunks of these numbers of sectors, over and over.
pub fn read_all<S: WeightSource>(file: &mut S, len: usize, chunks: &[usize]) -> Result<Vec<u8>, S::Error> {
    let mut bytes = vec![0; len.next_multiple_of(BLOCK)];
    let mut first = 0;
    let mut chunks = chunks.iter().cycle();
    while first < bytes.len() {
        let end = bytes.len().min(first + chunks.next().expect("a cycle") * BLOCK);
        block_on(file.read(Sector((first / BLOCK) as u32), &mut bytes[first..end]))?;
        first = end;
    }
    bytes.truncate(len);
    Ok(bytes)
}
