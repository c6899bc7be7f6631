//! Damaged cards: opening or reading returns an error that names the damage, or the right bytes.

use std::rc::Rc;

use crate::support::{
    self, BLOCK, FAT16, FAT32, Layout, MemoryCard, content, error, layouts, open, partition, read_all,
};
use proptest::prelude::*;
use rillm_card::Error;

const LEN: usize = 6 * 512;

fn card(layout: Layout) -> Vec<u8> {
    layout.with_model(&content(LEN, 1), 1)
}

/// The error after a change to the file system's first block.
fn boot_error(layout: Layout, at: usize, bytes: &[u8]) -> Error<support::Failed> {
    let mut card = card(layout);
    let at = layout.geometry(&card).boot + at;
    card[at..at + bytes.len()].copy_from_slice(bytes);
    error(card)
}

#[test]
fn cards_that_are_not_formatted() {
    assert_eq!(error(vec![0; 100 * BLOCK]), Error::Unformatted);
    assert_eq!(error(content(100 * BLOCK, 1)), Error::Unformatted);
    let mut text = content(100 * BLOCK, 1);
    text[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(error(text), Error::Unformatted);
}

#[test]
fn other_file_systems() {
    for (name, expected) in [(b"EXFAT   ", Error::ExFat), (b"NTFS    ", Error::Ntfs)] {
        for layout in [FAT16, FAT32] {
            assert_eq!(boot_error(layout, 3, name), expected);
        }
        // As such partitions are marked, and exFAT leaves a length of sectors out where FAT has it.
        let mut card = card(FAT32);
        partition(&mut card, 0, 0x07, FAT32.start as u32, 1000);
        let at = FAT32.start * BLOCK;
        card[at + 3..at + 11].copy_from_slice(name);
        card[at + 11..at + 64].fill(0);
        assert_eq!(error(card), expected);
    }
}

#[test]
fn first_blocks_of_a_file_system() {
    for layout in [FAT16, FAT32] {
        assert_eq!(boot_error(layout, 11, &[0, 8]), Error::SectorLen { found: 2048 });
        for found in [0, 3, 255] {
            assert_eq!(boot_error(layout, 13, &[found]), Error::ClusterLen { found });
        }
        let field = |field, found| Error::BootSector { field, found };
        assert_eq!(boot_error(layout, 14, &[0, 0]), field("number of reserved sectors", 0));
        assert_eq!(boot_error(layout, 16, &[0]), field("number of tables", 0));
        assert_eq!(boot_error(layout, 19, &[9, 0]), field("number of sectors", 9));
    }
    let field = |field, found| Error::BootSector { field, found };
    assert_eq!(boot_error(FAT16, 19, &[0, 0]), field("number of sectors", 0));
    assert_eq!(boot_error(FAT32, 36, &[0; 4]), field("length of a table", 0));
    assert_eq!(boot_error(FAT32, 44, &[1, 0, 0, 0]), field("cluster of the root directory", 1));
    assert_eq!(boot_error(FAT32, 44, &[0, 0, 16, 0]), field("cluster of the root directory", 1 << 20));
    assert_eq!(boot_error(FAT32, 40, &[0x82]), field("table in use", 2));
    // So few clusters are FAT12.
    assert_eq!(boot_error(FAT16, 19, &4000_u16.to_le_bytes()), Error::Fat12);
}

#[test]
fn the_table_in_use() {
    let mut card = card(FAT32);
    let at = FAT32.geometry(&card);
    // The first table is not kept, and the second one is in use.
    card[at.boot + 40] = 0x81;
    card[at.fat..at.fat + BLOCK].fill(0);
    let mut file = open(MemoryCard::new(card.clone()), None).expect("a file");
    assert!(read_all(&mut file, LEN, &[4]).expect("bytes") == content(LEN, 1));
    card[at.boot + 40] = 0;
    assert!(matches!(error(card), Error::ChainFree { .. }));
}

#[test]
fn cards_smaller_than_their_file_system() {
    for layout in layouts() {
        let mut card = card(layout);
        let needed = (card.len() / BLOCK) as u64;
        card.truncate(card.len() / 2);
        let found = (card.len() / BLOCK) as u32;
        assert_eq!(error(card), Error::CardTooSmall { needed, found });
    }
}

/// Sets an entry of a card's table.
fn link(layout: Layout, card: &mut [u8], cluster: u32, value: u32) {
    let fat = layout.geometry(card).fat;
    let bytes = value.to_le_bytes();
    let (at, len) = if layout.fat == fatfs::FatType::Fat16 { (cluster * 2, 2) } else { (cluster * 4, 4) };
    card[fat + at as usize..][..len].copy_from_slice(&bytes[..len]);
}

#[test]
fn chains_of_clusters() {
    // The file's first cluster; FAT32's root directory has one before it.
    for (layout, first, bad) in [(FAT16, 2, 0xfff7), (FAT32, 3, 0x0fff_fff7)] {
        let mut last = 0;
        layout.card(|files| last = files.stats().expect("a volume").total_clusters() + 1);
        let chain_error = |cluster, value| {
            let mut card = card(layout);
            link(layout, &mut card, cluster, value);
            error(card)
        };
        let middle = first + 3;
        assert_eq!(chain_error(middle, first), Error::ChainLoop { cluster: first });
        assert_eq!(chain_error(middle, middle), Error::ChainLoop { cluster: middle });
        assert_eq!(chain_error(first + 5, first + 1), Error::ChainLoop { cluster: first + 1 });
        assert_eq!(chain_error(middle, 0), Error::ChainFree { cluster: middle });
        assert_eq!(chain_error(first + 5, 0), Error::ChainFree { cluster: first + 5 });
        assert_eq!(chain_error(middle, bad), Error::ChainBad { cluster: middle });
        assert_eq!(chain_error(middle, bad + 1), Error::ChainShort { found: 4, expected: 6 });
        assert_eq!(chain_error(middle, 1), Error::ChainOutside { cluster: 1, last });
        assert_eq!(chain_error(middle, last + 1), Error::ChainOutside { cluster: last + 1, last });
        // Room that is reserved behind the file is no damage.
        let mut longer = card(layout);
        link(layout, &mut longer, first + 5, last - 1);
        link(layout, &mut longer, last - 1, bad + 1);
        let mut file = open(MemoryCard::new(longer), None).expect("a file");
        assert!(read_all(&mut file, LEN, &[4]).expect("bytes") == content(LEN, 1));
    }
}

#[test]
fn directories_without_an_end() {
    let mut card = FAT32.card(|files| {
        for index in 0..20 {
            support::create(files, &format!("file {index}.txt"), b"text");
        }
    });
    // The root directory's second cluster, back to its first.
    let first = FAT32.geometry(&card).fat + 8;
    let second = u32::from_le_bytes(card[first..first + 4].try_into().expect("4 bytes"));
    link(FAT32, &mut card, second, 2);
    assert_eq!(error(card), Error::EndlessDirectory);
}

#[test]
fn empty_files() {
    assert_eq!(error(FAT16.card(|files| drop(support::create(files, "a.rillm", b"")))), Error::EmptyFile);
}

/// Three fragments, so that tables and directories have something in them.
fn sound() -> [(Layout, Rc<Vec<u8>>, Vec<u8>); 2] {
    thread_local! {
        static SOUND: [(Layout, Rc<Vec<u8>>, Vec<u8>); 2] = [FAT16, FAT32].map(|layout| {
            let content = content(40 * 512, 7);
            let card = Rc::new(layout.with_model(&content, 3));
            (layout, card, content)
        });
    }
    SOUND.with(Clone::clone)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Opening ends, with an error or with a file all of whose sectors lie on the card.
    #[test]
    fn bytes_that_flipped(
        which in 0..2_usize,
        flips in prop::collection::vec((0..5_usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (layout, card, _) = &sound()[which];
        let at = layout.geometry(card);
        let places = [0..512, at.boot..at.boot + 64, at.fat..at.fat + 256, at.root.clone(), at.root.start..at.root.start + 224];
        let mut memory = MemoryCard::sharing(card);
        for (place, index, byte) in flips {
            let place = &places[place];
            memory.changed.insert(place.start + index.index(place.len()), byte);
        }
        let Ok(mut file) = open(memory, None) else { return Ok(()) };
        let len = file.len() as usize;
        prop_assert!(len <= card.len());
        let bytes = read_all(&mut file, len, &[7]);
        prop_assert!(bytes.is_ok(), "{:?}", bytes.err());
    }

    /// Every link of the file's chain, at random.
    #[test]
    fn tables_of_nonsense(which in 0..2_usize, seed: u32, values in prop::collection::vec(0..120_u32, 1..64)) {
        let (layout, card, content) = &sound()[which];
        let at = layout.geometry(card).fat;
        let width = if which == 0 { 2 } else { 4 };
        let mut memory = MemoryCard::sharing(card);
        for (index, value) in values.into_iter().enumerate() {
            let cluster = 2 + (index + seed as usize % 40) % 64;
            for (place, byte) in value.to_le_bytes().into_iter().take(width).enumerate() {
                memory.changed.insert(at + cluster * width + place, byte);
            }
        }
        if let Ok(mut file) = open(memory, None) {
            prop_assert!(read_all(&mut file, content.len(), &[7]).is_ok());
        }
    }
}
