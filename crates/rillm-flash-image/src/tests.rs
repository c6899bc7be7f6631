//! Images made here, changed, and read again as the bootloader does.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, vec};

use rillm::format::{Header, Section, SectionKind};
use sha2::{Digest, Sha256};

use crate::{Error, FlashImage};

const APP: usize = 0x1_0000;
/// A chip with the addresses of constants, code, and two segments of RAM.
type Case = (u16, &'static str, [u32; 4]);
const CASES: [Case; 5] = [
    (0, "ESP32", [0x3f40_0020, 0x400d_0020, 0x3ffb_0000, 0x4008_0000]),
    (9, "ESP32-S3", [0x3c00_0020, 0x4210_0020, 0x3fc8_8000, 0x4037_8000]),
    (5, "ESP32-C3", [0x3c00_0020, 0x4210_0020, 0x3fc8_0000, 0x4038_0000]),
    (13, "ESP32-C6", [0x4200_0020, 0x4210_0020, 0x4080_0000, 0x4081_0000]),
    (18, "ESP32-P4", [0x4000_0020, 0x4010_0048, 0x4ff4_0000, 0x4ff5_0000]),
];
const C3: Case = CASES[2];

/// A model's header and bytes without meaning, `sectors` long together.
fn model(sectors: u64, seed: u8) -> Vec<u8> {
    let mut header = Header::new();
    (header.hidden_size, header.intermediate_size, header.head_dim) = (64, 64, 64);
    (header.n_layers, header.n_heads, header.n_kv_heads) = (1, 1, 1);
    (header.vocab_size, header.context_length) = (4, 64);
    let kinds = [SectionKind::Rope, SectionKind::Tensors, SectionKind::Tokenizer, SectionKind::Embedding];
    for (index, kind) in kinds.into_iter().enumerate() {
        header.push_section(Section { kind, offset: 512 * (1 + index as u64), len: 9, crc32: 0 });
    }
    header.push_section(Section { kind: SectionKind::Tape, offset: 2560, len: 512 * (sectors - 5), crc32: 0 });
    let mut bytes = header.emit().to_vec();
    bytes.resize(512 * sectors as usize, 0);
    noise(&mut bytes[512..], seed);
    bytes
}

/// All values in some order, again and again.
fn noise(bytes: &mut [u8], seed: u8) {
    let mut value = seed;
    for byte in bytes {
        value = value.wrapping_mul(77).wrapping_add(31);
        *byte = value;
    }
}

/// An image with zeros before its code, and RAM behind it: valid, and not how espflash lays it out.
fn image((chip, _, [constants, code, data, iram]): Case, model: &[u8]) -> Vec<u8> {
    let mut first = vec![7; 256];
    // The engine contains the magic bytes.
    first[64..72].copy_from_slice(b"RILLM\x1a\r\n");
    first.extend_from_slice(model);
    let bytes = |len, seed| {
        let mut bytes = vec![0; len];
        noise(&mut bytes, seed);
        bytes
    };
    let gap = (code as usize + 0x2_0000 - 16 - (24 + 8 + first.len()) % 0x1_0000) % 0x1_0000;
    let segments = [
        (constants, first),
        (0, vec![0; gap]),
        (code, bytes(3000, 1)),
        (data, bytes(40_000, 2)),
        (iram, bytes(400, 3)),
    ];
    let mut app = vec![0; 24];
    (app[0], app[1], app[23]) = (0xe9, segments.len() as u8, 1);
    app[12..14].copy_from_slice(&chip.to_le_bytes());
    let mut checksum = 0xef;
    for (address, bytes) in segments {
        app.extend(address.to_le_bytes().into_iter().chain((bytes.len() as u32).to_le_bytes()));
        checksum = bytes.iter().fold(checksum, |checksum, byte| checksum ^ byte);
        app.extend(bytes);
    }
    app.resize((app.len() + 1).next_multiple_of(16), 0);
    *app.last_mut().expect("a checksum") = checksum;
    let hash = Sha256::digest(&app);
    app.extend_from_slice(&hash);

    let mut image = vec![0; APP];
    // Of the bootloader no more than its first byte.
    image[0] = 0xe9;
    let partitions = [(1, 2, 0x9000, 0x6000, "nvs"), (0, 0, APP as u32, 0x10_0000, "factory")];
    for (index, (kind, sub, offset, len, name)) in partitions.into_iter().enumerate() {
        let entry = &mut image[0x8000 + 32 * index..][..32];
        entry.fill(0);
        entry[..4].copy_from_slice(&[0xaa, 0x50, kind, sub]);
        entry[4..8].copy_from_slice(&u32::to_le_bytes(offset));
        entry[8..12].copy_from_slice(&u32::to_le_bytes(len));
        entry[12..12 + name.len()].copy_from_slice(name.as_bytes());
    }
    image.extend(app);
    image
}

/// Memory after the bootloader has read the application: bytes by address, those of pages that it maps among them.
fn load(image: &[u8], [constants, code, ..]: [u32; 4]) -> BTreeMap<u32, Vec<u8>> {
    let app = &image[APP..];
    let word = |at: usize| u32::from_le_bytes(app[at..at + 4].try_into().expect("a word"));
    let (mut at, mut memory, mut checksum) = (24, BTreeMap::<u32, Vec<u8>>::new(), 0xef);
    assert!(app[1] <= 16, "more segments than the bootloader reads");
    for _ in 0..app[1] {
        let (address, len) = (word(at), word(at + 4) as usize);
        at += 8;
        assert!(address.is_multiple_of(4) && len.is_multiple_of(4));
        let bytes = &app[at..at + len];
        checksum = bytes.iter().fold(checksum, |checksum, byte| checksum ^ byte);
        at += len;
        if address == constants || address == code {
            assert_eq!((address as usize + 0x1_0000 - (at - len)) % 0x1_0000, 0, "{address:x}");
            assert!((at - 1) % 0x1_0000 >= 0x23, "the bootloader does not map the last page");
        }
        // RAM in pieces.
        let before = memory.range_mut(..address).next_back();
        match before.filter(|(start, before)| **start as usize + before.len() == address as usize) {
            _ if address == 0 => assert!(bytes.iter().all(|&byte| byte == 0)),
            Some((_, before)) if address != code => before.extend(bytes),
            _ => assert!(memory.insert(address, bytes.to_vec()).is_none()),
        }
    }
    let end = (at + 1).next_multiple_of(16);
    assert_eq!(app[end - 1], checksum);
    assert_eq!(app[end..], Sha256::digest(&app[..end])[..]);
    memory
}

#[test]
fn memory_is_as_before_but_for_the_model() {
    for case in CASES {
        let (_, chip, addresses) = case;
        let original = image(case, &model(9, 1));
        let parsed = FlashImage::parse(&original).expect(chip);
        assert_eq!((parsed.chip(), parsed.model()), (chip, &model(9, 1)[..]));
        let before = load(&original, addresses);
        // Across three pages.
        for sectors in (6..20).chain(90..140).chain(240..400).step_by(7) {
            let other = model(sectors, sectors as u8);
            let changed = parsed.with_model(&other).expect(chip);
            assert_eq!(changed[..APP], original[..APP]);
            let after = load(&changed, addresses);
            assert!(before.keys().eq(after.keys()), "{chip}, {sectors}");
            for ((address, before), after) in before.iter().zip(after.values()) {
                if *address == addresses[0] {
                    assert!(after[..256] == before[..256] && after[256..].starts_with(&other));
                    assert!(after[256 + other.len()..].iter().all(|&byte| byte == 0));
                } else {
                    assert!(after.starts_with(before), "{address:x}");
                }
            }
            // The way to an image leaves no trace.
            let changed = FlashImage::parse(&changed).expect(chip);
            assert_eq!(changed.model(), other);
            let back = changed.with_model(&model(9, 1)).expect(chip);
            assert!(back == parsed.with_model(&model(9, 1)).expect(chip));
        }
    }
}

#[test]
fn the_longest_model_fills_the_partition_or_the_addresses() {
    for case in CASES {
        let original = image(case, &model(9, 1));
        let parsed = FlashImage::parse(&original).expect("an image");
        let most = parsed.longest_model() as u64;
        let code = 0x10_0000 - 0x20 - 256 - 0x24;
        // With 64 KiB of code behind the next page, and RAM.
        assert!((0xd_0000..code).contains(&most), "{most}");
        let longest = parsed.with_model(&model(most / 512, 2)).expect("it fits");
        assert!(longest.len() <= APP + 0x10_0000);
        load(&longest, case.2);
        let refused = parsed.with_model(&model(most / 512 + 1, 2));
        assert_eq!(refused, Err(Error::TooLong { len: most + 512, most }));
    }
    // Code four pages behind the constants.
    let near = (5, "ESP32-C3", [0x3c00_0020, 0x4204_0020, 0x3fc8_0000, 0x4038_0000]);
    let original = image(near, &model(9, 1));
    let most = FlashImage::parse(&original).expect("an image").longest_model();
    assert_eq!(most, (0x4_0000 - 0x20 - 256 - 0x24) / 512 * 512);
}

#[test]
fn what_is_no_whole_image_of_rillm_is_refused() {
    let good = image(C3, &model(9, 1));
    let parse = |bytes: &[u8]| FlashImage::parse(bytes).map(|_| ()).expect_err("no image");
    for len in [0, 0x8000, 0x8c00 - 1] {
        assert_eq!(parse(&good[..len]), Error::NoApplication);
    }
    for len in [0x9000, APP + 23, APP + 24, APP + 5000, good.len() - 1] {
        assert!(matches!(parse(&good[..len]), Error::Damaged | Error::NoApplication), "{len}");
    }
    for at in (APP + 24..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        assert!(matches!(parse(&bad), Error::Damaged | Error::NoModel), "{at}");
    }
    assert_eq!(parse(&image((5, "", C3.2), &[1; 5000])), Error::NoModel);
    assert_eq!(parse(&image((2, "", C3.2), &model(9, 1))), Error::UnknownChip(2));
    // Constants behind the model.
    let followed = [model(9, 1), vec![0; 64]].concat();
    assert_eq!(parse(&image(C3, &followed)), Error::NoModel);
    let mut no_application = good.clone();
    no_application[APP] = 0;
    assert_eq!(parse(&no_application), Error::NoApplication);
}

#[test]
fn what_is_no_whole_model_is_refused() {
    let image = image(C3, &model(9, 1));
    let image = FlashImage::parse(&image).expect("an image");
    assert!(matches!(image.with_model(&[0; 600]), Err(Error::Model(_))));
    assert_eq!(image.with_model(&[0; 100]), Err(Error::CutModel { len: 100, expected: 512 }));
    assert_eq!(image.with_model(&model(9, 1)[..4000]), Err(Error::CutModel { len: 4000, expected: 4608 }));
    // Bytes behind the model do not count.
    let longer = [model(7, 2), vec![9; 99]].concat();
    assert!(image.with_model(&longer) == image.with_model(&model(7, 2)));
}

/// For the tests of the command and of the page.
#[test]
fn the_image_in_tests_is_made_here() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/esp32-c3.bin");
    assert!(fs::read(file).expect("an image") == image(C3, &model(9, 1)));
}
