//! Files on cards of every layout, read back.

use crate::support::{self, BLOCK, FAT16, FAT32, MemoryCard, block_on, content, layouts, open, read_all};
use proptest::prelude::*;
use rillm::{Sector, WeightSource};
use rillm_card::{CardFile, Error};

#[test]
fn every_layout_gives_the_file_back() {
    for (seed, layout) in layouts().into_iter().enumerate() {
        for (fragments, len) in [(1, 1), (1, 512), (1, 100_000), (7, 300_001)] {
            let content = content(len, seed as u32);
            let card = layout.with_model(&content, fragments);
            let mut file = open(MemoryCard::new(card), None).unwrap_or_else(|error| panic!("{layout:?}: {error}"));
            assert_eq!(file.len() as usize, len);
            // A fragment is whole clusters.
            let fragment = len.div_ceil(fragments).next_multiple_of(layout.cluster);
            assert_eq!(file.extents(), len.div_ceil(fragment), "{layout:?}");
            for chunks in [&[1][..], &[3, 64, 1], &[1000]] {
                assert!(
                    read_all(&mut file, len, chunks).expect("bytes") == content,
                    "{layout:?} {fragments} {chunks:?}"
                );
            }
            assert_eq!(file.retries(), 0);
        }
    }
}

#[test]
fn a_whole_file_is_one_read_and_no_table_is_looked_at() {
    for layout in [FAT16, FAT32] {
        let content = content(1_000_000, 3);
        let mut file = open(MemoryCard::new(layout.with_model(&content, 1)), None).expect("a file");
        let mut bytes = vec![0; content.len().next_multiple_of(BLOCK)];
        block_on(file.read(Sector(0), &mut bytes)).expect("bytes");
        block_on(file.read(Sector(1000), &mut bytes[..2 * BLOCK])).expect("bytes");
        let memory = file.into_blocks();
        let (all, two) = (memory.reads[memory.reads.len() - 2], memory.reads[memory.reads.len() - 1]);
        assert_eq!(all.1, bytes.len());
        assert_eq!(two, (all.0 + 1000, 2 * BLOCK));
        // A block of the table tells of 256 clusters, or of 128.
        let opening = memory.reads.len() - 2;
        assert!(opening < 10 + 1_000_000 / 512 / 128, "{opening} reads");
    }
}

#[test]
fn a_read_is_split_where_the_file_is() {
    let content = content(8 * 512, 5);
    let mut file = open(MemoryCard::new(FAT16.with_model(&content, 4)), None).expect("a file");
    assert_eq!(file.extents(), 4);
    let mut bytes = vec![0; 4 * BLOCK];
    block_on(file.read(Sector(1), &mut bytes)).expect("bytes");
    assert!(bytes == content[BLOCK..5 * BLOCK]);
    let memory = file.into_blocks();
    let lens: Vec<_> = memory.reads.iter().rev().take(3).map(|read| read.1 / BLOCK).collect();
    assert_eq!(lens, [1, 2, 1]);
}

#[test]
fn what_lies_past_the_end() {
    let content = content(1300, 9);
    let mut file = open(MemoryCard::new(FAT32.with_model(&content, 1)), None).expect("a file");
    let mut bytes = vec![0; 2 * BLOCK];
    // The last sector's end lies in the file's cluster.
    block_on(file.read(Sector(1), &mut bytes)).expect("bytes");
    assert!(bytes[..1300 - BLOCK] == content[BLOCK..]);
    for first in [2, 3, u32::MAX] {
        let error = block_on(file.read(Sector(first), &mut bytes)).expect_err("an error");
        assert_eq!(error, Error::PastTheEnd { first, len: 1024, file_len: 1300 });
    }
    let error = block_on(file.read(Sector(0), &mut bytes[..700])).expect_err("an error");
    assert_eq!(error, Error::NotSectors { len: 700 });
}

#[test]
fn room_for_runs() {
    let content = content(16 * 512, 2);
    let card = MemoryCard::new(FAT16.with_model(&content, 8));
    let mut file: CardFile<_, 8> = block_on(CardFile::open(card.clone(), None)).expect("a file");
    assert_eq!(file.extents(), 8);
    assert!(read_all(&mut file, content.len(), &[5]).expect("bytes") == content);
    let error = block_on(CardFile::<_, 7>::open(card.clone(), None)).expect_err("an error");
    assert_eq!(error, Error::TooManyExtents { most: 7 });
    let error = block_on(CardFile::<_, 0>::open(card, None)).expect_err("an error");
    assert_eq!(error, Error::TooManyExtents { most: 0 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_read_of_any_file(
        which in 0..3_usize, len in 1..60_000_usize, fragments in 1..30_usize, reads in prop::collection::vec((0..140_u32, 1..70_usize), 1..20)
    ) {
        let layout = [FAT16, support::Layout { start: 63, ..FAT16 }, support::Layout { cluster: 2048, ..FAT16 }][which];
        let content = content(len, which as u32);
        let mut file = open(MemoryCard::new(layout.with_model(&content, fragments)), Some("MODEL.RILLM")).expect("a file");
        for (first, sectors) in reads {
            let mut bytes = vec![0; sectors * BLOCK];
            let start = first as usize * BLOCK;
            let result = block_on(file.read(Sector(first), &mut bytes));
            if start + bytes.len() <= len.next_multiple_of(BLOCK) {
                prop_assert!(result.is_ok());
                let end = len.min(start + bytes.len());
                prop_assert!(bytes[..end - start] == content[start..end]);
            } else {
                let past = matches!(result, Err(Error::PastTheEnd { .. }));
                prop_assert!(past, "{:?}", result);
            }
        }
    }
}
