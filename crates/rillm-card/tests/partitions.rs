//! Cards with several partitions: where files are looked for, in which order, and what is said where none is found.

use std::rc::Rc;
use std::sync::LazyLock;

use crate::support::{
    BLOCK, FAT16, FAT32, Failed, Layout, MemoryCard, block_on, create, error, open, partition, read_all,
};
use proptest::prelude::*;
use rillm_card::{Blocks, Error, PartitionContent, PartitionId, SearchedPartitions, for_each_model};

/// Blocks of a card on which volumes of FAT16 and FAT32 lie, and where they do.
const AT: [u32; 3] = [500, 11_000, 80_000];
const COUNT: u32 = 91_000;
const TABLE: u32 = 20;

/// A volume with these files, each of which has its name as its content.
fn volume(layout: Layout, names: &[&str]) -> Vec<u8> {
    Layout { start: 0, ..layout }.card(|files| {
        for name in names {
            create(files, name, name.as_bytes());
        }
    })
}

/// A card with FAT16, FAT32 and FAT16 at [`AT`], and no partition table yet.
fn card(names: [&[&str]; 3]) -> Vec<u8> {
    let mut card = vec![0; COUNT as usize * BLOCK];
    for ((at, names), layout) in AT.into_iter().zip(names).zip([FAT16, FAT32, FAT16]) {
        put(&mut card, at, &volume(layout, names));
    }
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
    card
}

fn put(card: &mut [u8], block: u32, bytes: &[u8]) {
    card[block as usize * BLOCK..][..bytes.len()].copy_from_slice(bytes);
}

/// One model on each.
fn one_each() -> Vec<u8> {
    static CARD: LazyLock<Vec<u8>> =
        LazyLock::new(|| card([&["notes.txt", "one.rillm"], &["two.rillm"], &["three.rillm", "one.rillm"]]));
    CARD.clone()
}

/// Writes an entry of the table in some block.
fn entry(card: &mut [u8], table: u32, index: usize, kind: u8, start: u32) {
    partition(&mut card[table as usize * BLOCK..], index, kind, start, 1000);
}

/// Writes a GPT with these entries' numbers and first blocks.
fn guid_table(card: &mut [u8], entry_len: usize, entries: &[(usize, u64)]) {
    const FIRST: u64 = 2;
    let mut header = [0; BLOCK];
    header[..8].copy_from_slice(b"EFI PART");
    header[72..80].copy_from_slice(&FIRST.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&(entry_len as u32).to_le_bytes());
    put(card, 1, &header);
    for &(number, start) in entries {
        let at = FIRST as usize * BLOCK + (number - 1) * entry_len;
        card[at..at + 16].copy_from_slice(b"any type at all.");
        card[at + 32..at + 40].copy_from_slice(&start.to_le_bytes());
    }
}

/// A card that is not copied.
struct Lent<'c>(&'c [u8]);

impl Blocks for Lent<'_> {
    type Error = Failed;

    async fn count(&mut self) -> Result<u32, Failed> {
        Ok((self.0.len() / BLOCK) as u32)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Failed> {
        buf.copy_from_slice(&self.0[first as usize * BLOCK..][..buf.len()]);
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

fn read(card: &[u8], name: Option<&str>) -> Result<String, Error<Failed>> {
    let mut file = open(Lent(card), name)?;
    let len = file.len() as usize;
    Ok(String::from_utf8(read_all(&mut file, len, &[1])?).expect("text"))
}

/// Every model with its partition, and where they were looked for.
fn models(card: &[u8]) -> (Vec<(String, PartitionId)>, SearchedPartitions) {
    let mut models = Vec::new();
    let visit = |file: rillm_card::File<'_>| models.push((file.name.to_string(), file.partition));
    let searched = block_on(for_each_model(Lent(card), visit)).expect("a card");
    (models, searched)
}

fn names(card: &[u8]) -> Vec<String> {
    models(card).0.into_iter().map(|(name, _)| name).collect()
}

fn mbr(number: u8, kind: u8) -> PartitionId {
    PartitionId::Mbr { number, kind }
}

#[test]
fn any_entry_of_the_table_of_any_type() {
    // FAT's types, hidden ones, that of an EFI system partition, exFAT's, Linux', and one that nobody has.
    for kind in [0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e, 0x14, 0x16, 0x1b, 0x1c, 0x1e, 0xef, 0x07, 0x83, 0x42] {
        let mut card = card([&["one.rillm"], &[], &[]]);
        card.truncate(AT[1] as usize * BLOCK);
        for index in 0..4 {
            card[446..510].fill(0);
            entry(&mut card, 0, index, kind, AT[0]);
            assert_eq!(models(&card).0, [("one.rillm".to_owned(), mbr(index as u8 + 1, kind))]);
        }
    }
}

#[test]
fn the_table_s_order_counts_and_a_name_is_looked_for_on_all() {
    let mut card = one_each();
    for (index, start) in [(0, AT[2]), (1, AT[1]), (3, AT[0])] {
        entry(&mut card, 0, index, 0x0c, start);
    }
    assert_eq!(read(&card, None).as_deref(), Ok("three.rillm"));
    assert_eq!(names(&card), ["three.rillm", "one.rillm", "two.rillm", "one.rillm"]);
    for name in ["one.rillm", "two.rillm", "notes.txt"] {
        assert_eq!(read(&card, Some(name)).as_deref(), Ok(name));
    }
    let Err(Error::NoSuchFile { searched }) = read(&card, Some("four.rillm")) else { panic!("a file") };
    let expected = [
        (mbr(1, 0x0c), PartitionContent::Fat16),
        (mbr(2, 0x0c), PartitionContent::Fat32),
        (mbr(4, 0x0c), PartitionContent::Fat16),
    ];
    assert_eq!(searched.first(), expected);
}

#[test]
fn what_cannot_be_read_is_passed_by() {
    let mut card = one_each();
    for (index, start) in [(0, AT[0]), (1, AT[1]), (2, AT[2])] {
        entry(&mut card, 0, index, 0x0c, start);
    }
    let boot = AT[0] as usize * BLOCK;
    type Damage<'a> = (&'a [(usize, &'a [u8])], PartitionContent);
    let damages: [Damage<'_>; 8] = [
        (&[(3, b"EXFAT   ")], PartitionContent::ExFat),
        (&[(3, b"NTFS    ")], PartitionContent::Ntfs),
        (&[(19, &[0, 10])], PartitionContent::Fat12),
        (&[(11, &[0, 8])], PartitionContent::Damaged),
        (&[(13, &[3])], PartitionContent::Damaged),
        (&[(16, &[0])], PartitionContent::Damaged),
        (&[(19, &[0, 0]), (32, &[0xff; 4])], PartitionContent::PastTheEnd),
        (&[(510, &[0, 0])], PartitionContent::NotFat),
    ];
    for (changes, content) in damages {
        let mut card = card.clone();
        for (at, bytes) in changes {
            card[boot + at..][..bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(read(&card, None).as_deref(), Ok("two.rillm"), "{content:?}");
        let found = models(&card).1;
        assert_eq!(found.first()[0], (mbr(1, 0x0c), content));
        let Err(Error::NoSuchFile { searched }) = read(&card, Some("notes.txt")) else { panic!("a file") };
        assert_eq!(searched, found);
    }
    // The second one's root directory, a full one, is a loop: it is passed by where it has no such file.
    let (at, start) = (Layout { start: 0, ..FAT32 }.geometry(&card[AT[1] as usize * BLOCK..]), AT[1] as usize * BLOCK);
    card[start + at.fat + 8..][..4].copy_from_slice(&2_u32.to_le_bytes());
    for entry in card[start..][at.root].chunks_exact_mut(32).filter(|entry| entry[0] == 0) {
        entry[0] = 0xe5;
    }
    assert_eq!(read(&card, Some("two.rillm")).as_deref(), Ok("two.rillm"));
    let Err(Error::NoSuchFile { searched }) = read(&card, Some("four.rillm")) else { panic!("a file") };
    assert_eq!(searched.first()[1], (mbr(2, 0x0c), PartitionContent::Damaged));
    assert_eq!(searched.first()[2], (mbr(3, 0x0c), PartitionContent::Fat16));
}

#[test]
fn what_is_said_where_nothing_can_be_read() {
    let blank = || {
        let mut card = vec![0; 4000 * BLOCK];
        card[510..512].copy_from_slice(&[0x55, 0xaa]);
        card
    };
    assert_eq!(error(blank()), Error::NoPartition);
    let mut one = blank();
    entry(&mut one, 0, 1, 0x83, 100);
    assert_eq!(error(one.clone()), Error::NotFat { partition: mbr(2, 0x83), block: 100 });
    entry(&mut one, 0, 1, 0x0c, u32::MAX);
    assert_eq!(error(one.clone()), Error::CardTooSmall { needed: 1 << 32, found: 4000 });
    let Error::NoFat { searched } = error({
        entry(&mut one, 0, 3, 0x82, 200);
        one
    }) else {
        panic!("another error")
    };
    assert_eq!(
        searched.first(),
        [(mbr(2, 0x0c), PartitionContent::PastTheEnd), (mbr(4, 0x82), PartitionContent::NotFat)]
    );
    let said = "partition 2 of type 0x0c reaches past the card's end, partition 4 of type 0x82 has no FAT file system";
    assert_eq!(searched.to_string(), said);
    let mut gpt = blank();
    entry(&mut gpt, 0, 0, 0xee, 1);
    assert_eq!(error(gpt), Error::Gpt);
}

/// A chain of tables in these blocks, from an extended partition at [`TABLE`] on.
fn chain(card: &mut [u8], tables: &[(u32, Option<u32>)]) {
    for (index, &(table, logical)) in tables.iter().enumerate() {
        card[table as usize * BLOCK + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
        if let Some(logical) = logical {
            entry(card, table, 0, 0x0c, logical - table);
        }
        if let Some((next, _)) = tables.get(index + 1) {
            entry(card, table, 1, 0x05, next - TABLE);
        }
    }
}

#[test]
fn logical_partitions() {
    for kind in [0x05, 0x0f, 0x85] {
        let mut card = one_each();
        entry(&mut card, 0, 2, kind, TABLE);
        // The first table has no partition, and the chain does not go forwards only.
        chain(&mut card, &[(TABLE, None), (40, Some(AT[1])), (30, Some(AT[0]))]);
        entry(&mut card, 0, 3, 0x0e, AT[2]);
        let (found, searched) = models(&card);
        let expected = [("two.rillm", 5), ("one.rillm", 6), ("three.rillm", 4), ("one.rillm", 4)];
        let kinds = |number| if number == 4 { 0x0e } else { 0x0c };
        assert_eq!(found, expected.map(|(name, number)| (name.to_owned(), mbr(number, kinds(number)))));
        assert_eq!(searched.len(), 3);
        assert_eq!(read(&card, Some("one.rillm")).as_deref(), Ok("one.rillm"));
    }
}

#[test]
fn chains_that_are_damaged() {
    let mut sound = one_each();
    entry(&mut sound, 0, 0, 0x0f, TABLE);
    entry(&mut sound, 0, 1, 0x0c, AT[0]);
    chain(&mut sound, &[(TABLE, Some(AT[1])), (40, Some(AT[2]))]);
    assert_eq!(models(&sound).1.len(), 3);
    // Onto itself, onto the first one, past the card's end, onto a block of zeros and onto the card's own table.
    for (table, next) in
        [(40, 20), (40, 0), (TABLE, 0), (40, u32::MAX - 30), (40, COUNT), (40, 100), (40, 0_u32.wrapping_sub(TABLE))]
    {
        let mut card = sound.clone();
        entry(&mut card, table, 1, 0x05, next);
        assert_eq!(read(&card, Some("one.rillm")).as_deref(), Ok("one.rillm"));
        let mut memory = MemoryCard::new(card);
        assert!(matches!(open(&mut memory, Some("none.rillm")), Err(Error::NoSuchFile { .. })));
        assert!(memory.reads.len() < 500, "{} reads", memory.reads.len());
    }
    // A message has room for six.
    let mut endless = sound;
    entry(&mut endless, 40, 1, 0x05, 20);
    let Err(Error::NoSuchFile { searched }) = read(&endless, Some("none.rillm")) else { panic!("a file") };
    assert_eq!((searched.len(), searched.first().len()), (65, 6));
    assert!(searched.to_string().ends_with(", and 59 more"), "{searched}");
}

#[test]
fn guid_partition_tables() {
    for entry_len in [128, 256, 512, 1024] {
        let mut card = one_each();
        entry(&mut card, 0, 0, 0xee, 1);
        guid_table(&mut card, entry_len, &[(1, AT[1].into()), (2, 400), (6, AT[0].into()), (7, u64::MAX)]);
        let (found, searched) = models(&card);
        let gpt = |number| PartitionId::Gpt { number };
        assert_eq!(found, [("two.rillm".to_owned(), gpt(1)), ("one.rillm".to_owned(), gpt(6))]);
        let contents = [
            (gpt(1), PartitionContent::Fat32),
            (gpt(2), PartitionContent::NotFat),
            (gpt(6), PartitionContent::Fat16),
            (gpt(7), PartitionContent::PastTheEnd),
        ];
        assert_eq!(searched.first(), contents);
        assert_eq!(read(&card, None).as_deref(), Ok("two.rillm"));
        assert_eq!(read(&card, Some("one.rillm")).as_deref(), Ok("one.rillm"));
    }
}

#[test]
fn both_tables() {
    for index in 0..3 {
        let mut card = one_each();
        entry(&mut card, 0, index, 0xee, 1);
        entry(&mut card, 0, 3, 0x0c, AT[0]);
        // Without a GPT.
        assert_eq!(names(&card), ["one.rillm"]);
        // What both tables have is looked at once.
        guid_table(&mut card, 128, &[(1, AT[0].into()), (2, AT[1].into())]);
        assert_eq!(
            models(&card).0,
            [("one.rillm".to_owned(), mbr(4, 0x0c)), ("two.rillm".to_owned(), PartitionId::Gpt { number: 2 })]
        );
    }
}

#[test]
fn a_table_in_a_file_system_s_first_block() {
    let whole = volume(FAT32, &["whole.rillm"]);
    assert_eq!(models(&whole).0, [("whole.rillm".to_owned(), PartitionId::WholeCard)]);
    // dosfstools write an entry for the whole card.
    let mut marked = whole.clone();
    partition(&mut marked, 0, 0x0c, 0, (whole.len() / BLOCK) as u32);
    assert_eq!(names(&marked), ["whole.rillm"]);
    // A card that was formatted without partitions, and then got a table: what fdisk leaves of the block.
    let mut card = one_each();
    card[..446].copy_from_slice(&whole[..446]);
    entry(&mut card, 0, 0, 0x0c, AT[1]);
    assert_eq!(read(&card, None).as_deref(), Ok("two.rillm"));
    // Instructions where a table would be.
    let mut code = whole;
    code[440..510].fill(0x90);
    assert_eq!(names(&code), ["whole.rillm"]);
}

#[test]
fn opening_takes_few_reads() {
    let mut card = one_each();
    for (index, start) in AT.into_iter().enumerate() {
        entry(&mut card, 0, index, 0x0c, start);
    }
    let card = Rc::new(card);
    for (name, most) in [("one.rillm", 4), ("two.rillm", 6), ("three.rillm", 8)] {
        let reads = open(MemoryCard::sharing(&card), Some(name)).expect("a file").into_blocks().reads;
        assert!(reads.len() <= most, "{name}: {reads:?}");
    }
}

#[test]
fn a_card_that_fails_on_one_partition_is_no_card_without_the_file() {
    let mut card = one_each();
    entry(&mut card, 0, 0, 0x0c, AT[0]);
    entry(&mut card, 0, 1, 0x0c, AT[1]);
    // After the table and the count: the first partition, and the three attempts after.
    let memory = MemoryCard { failing: 2..6, ..MemoryCard::new(card) };
    assert_eq!(open(memory, Some("two.rillm")).err(), Some(Error::Device(Failed)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every byte of every table may be anything: the search ends soon, and never leaves the card.
    #[test]
    fn tables_of_nonsense(
        changes in prop::collection::vec((0..5_usize, 0..128_usize, any::<u8>()), 1..12),
        starts in prop::collection::vec((0..4_usize, 0..4_usize, any::<u32>(), 0..64_u32), 0..4),
    ) {
        let card = with_every_table();
        let tables = [0, 20, 40, 1, 2].map(|block| block * BLOCK);
        let mut memory = MemoryCard::sharing(&card);
        let mut change = |at: usize, byte| _ = memory.changed.insert(at, byte);
        for (table, at, byte) in changes {
            change(tables[table] + if table < 3 { 384 + at } else { at }, byte);
        }
        // Near blocks and far ones.
        for (table, index, start, shift) in starts {
            for (place, byte) in start.checked_shr(shift).unwrap_or(0).to_le_bytes().into_iter().enumerate() {
                change(tables[table] + if table < 3 { 446 + 16 * index + 8 } else { 72 + 4 * index } + place, byte);
            }
        }
        let result = open(&mut memory, Some("none.rillm"));
        prop_assert!(result.is_err());
        prop_assert!(memory.reads.len() < 1500, "{} reads", memory.reads.len());
        let mut listed = 0;
        let _ = block_on(for_each_model(&mut memory, |_| listed += 1));
        prop_assert!(listed < 300);
    }
}

/// A card with an MBR, logical partitions and a GPT.
fn with_every_table() -> Rc<Vec<u8>> {
    thread_local! {
        static CARD: Rc<Vec<u8>> = Rc::new({
            let mut card = one_each();
            entry(&mut card, 0, 0, 0x0f, TABLE);
            entry(&mut card, 0, 1, 0xee, 1);
            entry(&mut card, 0, 2, 0x0c, AT[0]);
            chain(&mut card, &[(TABLE, Some(AT[1])), (40, Some(AT[2]))]);
            guid_table(&mut card, 128, &[(1, AT[1].into()), (128, AT[0].into())]);
            card
        });
    }
    CARD.with(Clone::clone)
}
