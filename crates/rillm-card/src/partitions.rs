//! Where on a card file systems may start: its partitions, one after the other.

use crate::blocks::{Blocks, Window};
use crate::error::Error;
use crate::search::Place;
use crate::volume::{BLOCK_LEN, has_signature, starts_file_system, u32_at, u64_at};

/// Types of an MBR's entry: none, a chain of tables of logical partitions, and a GUID partition table (GPT) on the same card.
const UNUSED: u8 = 0;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
pub(crate) const GPT: u8 = 0xee;

/// Tables of a chain that are looked at, so that a chain that is a loop ends. Linux' fdisk makes 60 at most.
const MOST_LOGICAL: u8 = 64;
/// Entries of a GPT that are looked at: what it has room for, as a rule.
const MOST_GUID: u8 = 128;

/// Where a file system may start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    pub place: Place,
    /// Its first block, by the table; the card may have no such block.
    pub start: u64,
}

/// A card's partitions, in the order in which they are looked into: the MBR's entries, with the logical partitions of an
/// extended one in its place, then the GPT's, then the whole card.
pub(crate) struct Partitions {
    /// Blocks of the card.
    pub count: u32,
    entries: [Entry; 4],
    /// Entries that are done with.
    done: u8,
    chain: Chain,
    guid: Option<Guid>,
    whole: bool,
}

/// An entry of an MBR, or of a table of logical partitions.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u8,
    start: u32,
}

/// Tables of logical partitions, each of which has one and the place of the next table.
struct Chain {
    /// The extended partition's first block, which the places are counted from.
    base: u32,
    next: Option<u64>,
    /// Tables looked at.
    tables: u8,
    /// The number of the last logical partition.
    number: u8,
}

/// A GUID partition table.
#[derive(Clone, Copy)]
struct Guid {
    first: u32,
    entry_len: u32,
    entries: u8,
    done: u8,
}

impl Partitions {
    /// The card's, of its first block.
    pub async fn of<B: Blocks>(window: &mut Window<'_, B>) -> Result<Self, Error<B::Error>> {
        let block = window.block(0).await?;
        let whole = starts_file_system(block);
        let entries = match table(block) {
            Some(entries) => entries,
            // A file system that starts here has instructions where a table would be.
            None if whole => [Entry { kind: UNUSED, start: 0 }; 4],
            None => return Err(Error::Unformatted),
        };
        let count = window.count().await?;
        let chain = Chain { base: 0, next: None, tables: 0, number: 4 };
        Ok(Self { count, entries, done: 0, chain, guid: None, whole })
    }

    /// The next one.
    pub async fn next<B: Blocks>(&mut self, window: &mut Window<'_, B>) -> Result<Option<Partition>, Error<B::Error>> {
        loop {
            if let Some(block) = self.chain.next.take() {
                if let Some(logical) = self.logical(window, block).await? {
                    return Ok(Some(logical));
                }
            } else if let Some(&Entry { kind, start }) = self.entries.get(usize::from(self.done)) {
                self.done += 1;
                match kind {
                    UNUSED => {}
                    GPT => match self.guid(window).await? {
                        Some(guid) => self.guid = Some(guid),
                        // What is in its place is no FAT file system, and is told as what it should be.
                        None => return Ok(Some(Partition { place: self.entry(kind), start: 1 })),
                    },
                    kind if EXTENDED.contains(&kind) => {
                        (self.chain.base, self.chain.next) = (start, Some(start.into()))
                    }
                    kind => return Ok(Some(Partition { place: self.entry(kind), start: start.into() })),
                }
            } else if let Some(found) = self.next_guid(window).await? {
                return Ok(Some(found));
            } else {
                let whole = core::mem::take(&mut self.whole);
                return Ok(whole.then_some(Partition { place: Place::Card, start: 0 }));
            }
        }
    }

    /// The place of the entry that was taken last.
    fn entry(&self, kind: u8) -> Place {
        Place::Mbr { number: self.done, kind }
    }

    /// The logical partition of the table in `block`, and where the chain goes on.
    async fn logical<B: Blocks>(
        &mut self,
        window: &mut Window<'_, B>,
        block: u64,
    ) -> Result<Option<Partition>, Error<B::Error>> {
        if self.chain.tables == MOST_LOGICAL {
            return Ok(None);
        }
        self.chain.tables += 1;
        let entries = match u32::try_from(block) {
            Ok(block) if block < self.count => table(window.block(block).await?),
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
            // No table: it is told as a partition that has no file system.
            None => (EXTENDED[0], block),
        };
        self.chain.number += 1;
        Ok(Some(Partition { place: Place::Mbr { number: self.chain.number, kind }, start }))
    }

    /// The GPT, if its header makes sense. Its checksums and its copy at the card's end are not looked at.
    async fn guid<B: Blocks>(&self, window: &mut Window<'_, B>) -> Result<Option<Guid>, Error<B::Error>> {
        if self.count < 2 {
            return Ok(None);
        }
        let block = window.block(1).await?;
        let (first, entries, entry_len) = (u64_at(block, 72), u32_at(block, 80), u32_at(block, 84));
        let sound = block.starts_with(b"EFI PART") && first < self.count.into();
        // By the specification; an entry never lies in two blocks.
        let sound = sound && entry_len >= 128 && entry_len.is_power_of_two();
        let entries = entries.min(MOST_GUID.into()) as u8;
        Ok(sound.then_some(Guid { first: first as u32, entry_len, entries, done: 0 }))
    }

    /// The next partition of the GPT that the MBR does not have, too.
    async fn next_guid<B: Blocks>(&mut self, window: &mut Window<'_, B>) -> Result<Option<Partition>, Error<B::Error>> {
        let Some(guid) = &mut self.guid else { return Ok(None) };
        while guid.done < guid.entries {
            let at = u64::from(guid.done) * u64::from(guid.entry_len);
            guid.done += 1;
            let (block, at) = (u64::from(guid.first) + at / BLOCK_LEN as u64, (at % BLOCK_LEN as u64) as usize);
            if block >= self.count.into() {
                return Ok(None);
            }
            let entry = &window.block(block as u32).await?[at..at + 128];
            let (unused, start) = (entry[..16] == [0; 16], u64_at(entry, 32));
            let in_mbr = |entry: &Entry| ![UNUSED, GPT].contains(&entry.kind) && u64::from(entry.start) == start;
            if !unused && !self.entries.iter().any(in_mbr) {
                return Ok(Some(Partition { place: Place::Gpt { number: guid.done }, start }));
            }
        }
        Ok(None)
    }
}

/// The entries of a partition table. Each is marked as the one to start from, or not; anything else is no table.
fn table(block: &[u8; BLOCK_LEN]) -> Option<[Entry; 4]> {
    let (entries, _) = block[446..510].as_chunks::<16>();
    if !has_signature(block) || entries.iter().any(|entry| entry[0] & 0x7f != 0) {
        return None;
    }
    Some(core::array::from_fn(|index| {
        let (kind, start) = (entries[index][4], u32_at(&entries[index], 8));
        // Block 0 is the table's own: dosfstools mark a card without partitions like that.
        Entry { kind: if start == 0 { UNUSED } else { kind }, start }
    }))
}
