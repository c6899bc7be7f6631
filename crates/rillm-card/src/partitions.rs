//! The partitions of a card, where file systems may start.

use crate::block_cache::BlockCache;
use crate::blocks::Blocks;
use crate::error::Error;
use crate::search::PartitionId;
use crate::volume::{BLOCK_LEN, has_signature, starts_file_system, u32_at, u64_at};

/// Partition types of an MBR entry: unused, an extended partition (a chain of tables of logical partitions), and a GUID
/// partition table (GPT) on the same card.
const UNUSED: u8 = 0;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
pub(crate) const GPT: u8 = 0xee;

/// Most tables of a chain that are read, so that a chain that is a loop ends. Linux' fdisk makes 60 at most.
const MAX_LOGICAL_TABLES: u8 = 64;
/// Most entries of a GPT that are read: its usual size.
const MAX_GPT_ENTRIES: u8 = 128;

/// A partition, where a file system may start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    pub partition: PartitionId,
    /// Its first block, by the table; it may lie past the end of the card.
    pub start: u64,
}

/// A card's partitions in search order: the MBR's entries, with logical partitions in the place of their extended one,
/// then the GPT's entries, then the whole card.
pub(crate) struct Partitions {
    /// Blocks of the card.
    pub count: u32,
    entries: [MbrEntry; 4],
    /// Entries that were visited.
    done: u8,
    chain: LogicalChain,
    gpt: Option<Gpt>,
    whole: bool,
}

/// An entry of an MBR, or of a table of logical partitions.
#[derive(Clone, Copy, Debug)]
struct MbrEntry {
    kind: u8,
    start: u32,
}

/// The chain of tables of an extended partition. Each table has one logical partition and the position of the next
/// table.
struct LogicalChain {
    /// The first block of the extended partition, to which positions in the chain are relative.
    base: u32,
    next: Option<u64>,
    /// Tables that were read.
    tables: u8,
    /// The number of the last logical partition.
    number: u8,
}

/// A GUID partition table.
#[derive(Clone, Copy)]
struct Gpt {
    first: u32,
    entry_len: u32,
    entries: u8,
    done: u8,
}

impl Partitions {
    /// Reads the partition table in the card's first block.
    pub async fn read<B: Blocks>(cache: &mut BlockCache<'_, B>) -> Result<Self, Error<B::Error>> {
        let block = cache.block(0).await?;
        let whole = starts_file_system(block);
        let entries = match table(block) {
            Some(entries) => entries,
            // A file system that starts here has code where a table would be.
            None if whole => [MbrEntry { kind: UNUSED, start: 0 }; 4],
            None => return Err(Error::Unformatted),
        };
        let count = cache.count().await?;
        let chain = LogicalChain { base: 0, next: None, tables: 0, number: 4 };
        Ok(Self { count, entries, done: 0, chain, gpt: None, whole })
    }

    /// The next partition.
    pub async fn next<B: Blocks>(
        &mut self,
        cache: &mut BlockCache<'_, B>,
    ) -> Result<Option<Partition>, Error<B::Error>> {
        loop {
            if let Some(block) = self.chain.next.take() {
                if let Some(logical) = self.logical(cache, block).await? {
                    return Ok(Some(logical));
                }
            } else if let Some(&MbrEntry { kind, start }) = self.entries.get(usize::from(self.done)) {
                self.done += 1;
                match kind {
                    UNUSED => {}
                    GPT => match self.gpt(cache).await? {
                        Some(gpt) => self.gpt = Some(gpt),
                        // Its place holds no FAT file system, so the search reports the entry as a damaged GPT.
                        None => return Ok(Some(Partition { partition: self.entry(kind), start: 1 })),
                    },
                    kind if EXTENDED.contains(&kind) => {
                        (self.chain.base, self.chain.next) = (start, Some(start.into()))
                    }
                    kind => return Ok(Some(Partition { partition: self.entry(kind), start: start.into() })),
                }
            } else if let Some(found) = self.next_gpt(cache).await? {
                return Ok(Some(found));
            } else {
                let whole = core::mem::take(&mut self.whole);
                return Ok(whole.then_some(Partition { partition: PartitionId::WholeCard, start: 0 }));
            }
        }
    }

    /// The id of the entry that was visited last.
    fn entry(&self, kind: u8) -> PartitionId {
        PartitionId::Mbr { number: self.done, kind }
    }

    /// The logical partition of the table in `block`. Also notes the next table of the chain.
    async fn logical<B: Blocks>(
        &mut self,
        cache: &mut BlockCache<'_, B>,
        block: u64,
    ) -> Result<Option<Partition>, Error<B::Error>> {
        if self.chain.tables == MAX_LOGICAL_TABLES {
            return Ok(None);
        }
        self.chain.tables += 1;
        let entries = match u32::try_from(block) {
            Ok(block) if block < self.count => table(cache.block(block).await?),
            _ => None,
        };
        let (kind, start) = match entries {
            Some(entries) => {
                let [extended, partition] = [true, false].map(|extended| {
                    let mut used = entries.iter().filter(|entry| entry.kind != UNUSED);
                    used.find(|entry| EXTENDED.contains(&entry.kind) == extended)
                });
                self.chain.next = extended.map(|entry| u64::from(self.chain.base) + u64::from(entry.start));
                let Some(entry) = partition else { return Ok(None) };
                (entry.kind, block + u64::from(entry.start))
            }
            // Not a table: reported as a partition without a file system.
            None => (EXTENDED[0], block),
        };
        self.chain.number += 1;
        Ok(Some(Partition { partition: PartitionId::Mbr { number: self.chain.number, kind }, start }))
    }

    /// The GPT, if its header is valid. Its checksums and its copy at the end of the card are not read.
    async fn gpt<B: Blocks>(&self, cache: &mut BlockCache<'_, B>) -> Result<Option<Gpt>, Error<B::Error>> {
        if self.count < 2 {
            return Ok(None);
        }
        let block = cache.block(1).await?;
        let (first, entries, entry_len) = (u64_at(block, 72), u32_at(block, 80), u32_at(block, 84));
        let sound = block.starts_with(b"EFI PART") && first < self.count.into();
        // Required by the specification. An entry never spans two blocks.
        let sound = sound && entry_len >= 128 && entry_len.is_power_of_two();
        let entries = entries.min(MAX_GPT_ENTRIES.into()) as u8;
        Ok(sound.then_some(Gpt { first: first as u32, entry_len, entries, done: 0 }))
    }

    /// The next partition of the GPT that is not in the MBR, too.
    async fn next_gpt<B: Blocks>(
        &mut self,
        cache: &mut BlockCache<'_, B>,
    ) -> Result<Option<Partition>, Error<B::Error>> {
        let Some(gpt) = &mut self.gpt else { return Ok(None) };
        while gpt.done < gpt.entries {
            let at = u64::from(gpt.done) * u64::from(gpt.entry_len);
            gpt.done += 1;
            let (block, at) = (u64::from(gpt.first) + at / BLOCK_LEN as u64, (at % BLOCK_LEN as u64) as usize);
            if block >= self.count.into() {
                return Ok(None);
            }
            let entry = &cache.block(block as u32).await?[at..at + 128];
            let (unused, start) = (entry[..16] == [0; 16], u64_at(entry, 32));
            let in_mbr = |entry: &MbrEntry| ![UNUSED, GPT].contains(&entry.kind) && u64::from(entry.start) == start;
            if !unused && !self.entries.iter().any(in_mbr) {
                return Ok(Some(Partition { partition: PartitionId::Gpt { number: gpt.done }, start }));
            }
        }
        Ok(None)
    }
}

/// The entries of a partition table; `None` without a signature, or with a boot flag other than 0 and 0x80.
fn table(block: &[u8; BLOCK_LEN]) -> Option<[MbrEntry; 4]> {
    let (entries, _) = block[446..510].as_chunks::<16>();
    if !has_signature(block) || entries.iter().any(|entry| entry[0] & 0x7f != 0) {
        return None;
    }
    Some(core::array::from_fn(|index| {
        let (kind, start) = (entries[index][4], u32_at(&entries[index], 8));
        // Block 0 holds the table itself. dosfstools writes such an entry on a card without partitions.
        MbrEntry { kind: if start == 0 { UNUSED } else { kind }, start }
    }))
}
