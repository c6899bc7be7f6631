//! A card: opens and reads the models on it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use rillm::{Sector, WeightSource, block_on};
use rillm_card::{Blocks, CardFile, for_each_model};

/// Length of a block in bytes.
const BLOCK: usize = 512;
/// Length of a block in an input: its number and its bytes.
const RECORD: usize = 4 + BLOCK;
/// Number of blocks of the card. An input contains a few of them; the others are zeros.
const COUNT: u32 = 1 << 20;
/// Most reads of a search: for every partition that is searched, a whole directory and its table.
const MOST_READS: u32 = 200 * 2 * 4096;

/// A card, given as its non-zero blocks: number and bytes of each.
pub fn card(data: &[u8]) {
    let (records, _) = data.as_chunks::<RECORD>();
    let blocks = records.iter().map(|record| {
        let (number, bytes) = record.split_first_chunk().expect("4 bytes and more");
        (u32::from_le_bytes(*number), bytes)
    });
    let mut card = Sparse { blocks: blocks.collect(), reads: 0 };
    let mut names = Vec::new();
    let _ = block_on(for_each_model(&mut card, |file| names.push(file.name.to_string())));
    for name in names.iter().take(8).map(|name| Some(&**name)).chain([None]) {
        card.reads = 0;
        // A file that was listed opens by its name, or fails with a reason.
        let file: Result<CardFile<_>, _> = block_on(CardFile::open(&mut card, name));
        assert!(name.is_none() || !matches!(file, Err(rillm_card::Error::NoSuchFile { .. })), "{name:?}");
        let Ok(mut file) = file else { continue };
        let sectors = file.len().div_ceil(BLOCK as u32);
        for sector in [0, sectors / 2, sectors - 1] {
            block_on(file.read(Sector(sector), &mut [0; BLOCK])).expect("a block of the card");
        }
    }
}

struct Sparse<'d> {
    blocks: BTreeMap<u32, &'d [u8]>,
    reads: u32,
}

impl Blocks for Sparse<'_> {
    type Error = Infallible;

    async fn count(&mut self) -> Result<u32, Infallible> {
        Ok(COUNT)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        self.reads += 1;
        assert!(self.reads < MOST_READS, "a search without an end");
        for (number, block) in (first..).zip(buf.chunks_mut(BLOCK)) {
            assert!(number < COUNT, "block {number} is none of the card's");
            block.fill(0);
            if let Some(bytes) = self.blocks.get(&number) {
                block.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
