//! File names, and which file of a card is opened.

use crate::support::{FAT16, FAT32, Failed, Layout, MemoryCard, block_on, create, open, read_all};
use rillm_card::{Error, for_each_model};

/// Reads the file of that name, which says who it is.
fn read(card: &[u8], name: Option<&str>) -> Result<String, Error<Failed>> {
    let mut file = open(MemoryCard::new(card.to_vec()), name)?;
    let len = file.len() as usize;
    Ok(String::from_utf8(read_all(&mut file, len, &[1])?).expect("text"))
}

fn models(card: Vec<u8>) -> Vec<(String, u32)> {
    let mut models = Vec::new();
    block_on(for_each_model(MemoryCard::new(card), |file| models.push((file.name.to_string(), file.len))))
        .expect("a card");
    models
}

/// Marks the entries of long names as deleted, as a system does that knows none.
fn forget_long_names(layout: Layout, card: &mut [u8]) {
    let root = layout.geometry(card).root;
    for entry in card[root].chunks_exact_mut(32).filter(|entry| entry[11] == 0x0f) {
        entry[0] = 0xe5;
    }
}

/// The entry of the file with that 8.3 name.
fn entry<'c>(layout: Layout, card: &'c mut [u8], short: &[u8; 11]) -> &'c mut [u8] {
    let root = layout.geometry(card).root;
    card[root].chunks_exact_mut(32).find(|entry| entry[..11] == *short).expect("an entry")
}

#[test]
fn the_first_model_of_the_root_directory() {
    for layout in [FAT16, FAT32] {
        let card = layout.card(|files| {
            create(files, "readme.txt", b"text");
            create(files, "._second.rillm", b"what macOS writes");
            create(files, "model.rillm.bak", b"a copy");
            create(files, "deleted.rillm", b"deleted");
            let folder = files.root_dir().create_dir("folder.rillm").expect("a folder");
            folder.create_file("in a folder.rillm").expect("a file");
            create(files, "second.RILLM", b"second");
            create(files, "first by name.rillm", b"third");
            files.root_dir().remove("deleted.rillm").expect("removed");
        });
        assert_eq!(read(&card, None).expect("a file"), "second");
        let all = [("second.RILLM".to_owned(), 6), ("first by name.rillm".to_owned(), 5)];
        assert_eq!(models(card.clone()), all);

        assert_eq!(read(&card, Some("FIRST by NAME.rillm")).expect("a file"), "third");
        assert_eq!(read(&card, Some("readme.txt")).expect("a file"), "text");
        assert_eq!(read(&card, Some("README.TXT")).expect("a file"), "text");
        assert_eq!(read(&card, Some("._second.rillm")).expect("a file"), "what macOS writes");
        assert_eq!(read(&card, Some("second~1.ril")).expect("a file"), "second");
        for name in ["deleted.rillm", "folder.rillm", "in a folder.rillm", "RILLM.RILLM", "second", ""] {
            assert!(matches!(read(&card, Some(name)), Err(Error::NoSuchFile { .. })), "{name}");
        }
    }
}

#[test]
fn no_model() {
    let card = FAT32.card(|files| {
        create(files, "readme.txt", b"text");
        create(files, "model.rillmx", b"a long name that goes on");
    });
    assert!(matches!(read(&card, None), Err(Error::NoModel { .. })));
    assert!(matches!(read(&FAT16.card(|_| ()), None), Err(Error::NoModel { .. })));
    assert_eq!(models(card), []);
}

#[test]
fn names_of_every_length_and_script() {
    let long = |len: usize| format!("{}.rillm", "n".repeat(len - 6));
    let names = [long(7), long(12), long(13), long(14), long(26), long(27), long(255)];
    let others = ["größe.rillm", "モデル.rillm", "a b.c.rillm", ".rillm"].map(str::to_owned);
    let names: Vec<_> = names.into_iter().chain(others).collect();
    for layout in [FAT16, FAT32] {
        let card = layout.card(|files| {
            for name in &names {
                create(files, name, name.as_bytes());
            }
        });
        for name in &names {
            assert_eq!(read(&card, Some(name)).as_ref(), Ok(name));
        }
        assert_eq!(models(card).into_iter().map(|model| model.0).collect::<Vec<_>>(), names);
    }
}

#[test]
fn a_directory_of_many_clusters() {
    let card = FAT32.card(|files| {
        for index in 0..300 {
            create(files, &format!("a file with a rather long name {index}.txt"), b"text");
        }
        create(files, "model.rillm", b"model");
    });
    assert_eq!(read(&card, None).expect("a file"), "model");
}

#[test]
fn short_names_alone() {
    let mut card = FAT16.card(|files| {
        create(files, "my model.rillm", b"model");
        create(files, "notes.txt", b"text");
    });
    forget_long_names(FAT16, &mut card);
    assert_eq!(read(&card, None).expect("a file"), "model");
    assert_eq!(models(card.clone()), [("MYMODE~1.RIL".to_owned(), 5)]);
    assert_eq!(read(&card, Some("mymode~1.ril")).expect("a file"), "model");
    assert!(matches!(read(&card, Some("my model.rillm")), Err(Error::NoSuchFile { .. })));

    // Windows' marks for lower case.
    entry(FAT16, &mut card, b"MYMODE~1RIL")[12] = 0x18;
    assert_eq!(models(card.clone()), [("mymode~1.ril".to_owned(), 5)]);
    // A letter of a code page.
    for byte in [0x90, 0x05] {
        let mut card = card.clone();
        entry(FAT16, &mut card, b"MYMODE~1RIL")[0] = byte;
        assert_eq!(models(card.clone()), [("\u{fffd}ymode~1.ril".to_owned(), 5)]);
        assert_eq!(read(&card, Some("\u{fffd}YMODE~1.RIL")).expect("a file"), "model");
    }
}

#[test]
fn long_names_that_belong_to_none() {
    let new = || FAT16.card(|files| drop(create(files, "a model with a long name.rillm", b"model")));
    let root = FAT16.geometry(&new()).root;
    let pieces: Vec<_> = root.clone().step_by(32).filter(|&at| new()[at + 11] == 0x0f).collect();
    assert_eq!(pieces.len(), 3);
    type Change<'a> = &'a dyn Fn(&mut [u8]);
    let changes: [Change<'_>; 5] = [
        // A piece of another file's name, a piece missing, the last one missing, one twice, and a piece that cannot be.
        &|card| card[pieces[1] + 13] ^= 1,
        &|card| card[pieces[1]] = 0xe5,
        &|card| card[pieces[0]] = 0xe5,
        &|card| card[pieces[2]] = card[pieces[1]],
        &|card| card[pieces[0]] = 0x7f,
    ];
    for change in changes {
        let mut card = new();
        change(&mut card);
        assert_eq!(models(card.clone()), [("AMODEL~1.RIL".to_owned(), 5)]);
        assert_eq!(read(&card, None).expect("a file"), "model");
    }
}

/// Replaces units of a long name, each once.
fn rename(card: &mut [u8], from: &[u16], to: &[u16]) {
    let root = FAT16.geometry(card).root;
    for (from, to) in from.iter().zip(to) {
        let pieces = root.clone().step_by(32).filter(|&at| card[at + 11] == 0x0f);
        let mut places =
            pieces.flat_map(|at| [1..11, 14..26, 28..32].into_iter().flatten().step_by(2).map(move |place| at + place));
        let at = places.find(|&at| card[at..at + 2] == from.to_le_bytes()).expect("the unit");
        card[at..at + 2].copy_from_slice(&to.to_le_bytes());
    }
}

#[test]
fn names_beyond_the_basic_plane() {
    // fatfs writes none, so that units are put in place of others.
    let card = |units: &[u16]| {
        let mut card = FAT16.card(|files| drop(create(files, "a model \u{e001}\u{e002}.rillm", b"model")));
        rename(&mut card, &[0xe001, 0xe002], units);
        card
    };
    let fox = card(&[0xd83e, 0xdd8a]);
    assert_eq!(models(fox.clone()), [("a model 🦊.rillm".to_owned(), 5)]);
    assert_eq!(read(&fox, None).expect("a file"), "model");
    assert_eq!(read(&fox, Some("A MODEL 🦊.rillm")).expect("a file"), "model");
    for other in ["a model 🦋.rillm", "a model .rillm", "a model \u{fffd}.rillm", "a model \u{fffd}\u{fffd}.rillm"] {
        assert!(matches!(read(&fox, Some(other)), Err(Error::NoSuchFile { .. })), "{other}");
    }
    // A half by itself, two of them in the wrong order, and two first halves.
    for units in [[0xd83e, u16::from(b'x')], [0xdd8a, 0xd83e], [0xd83e, 0xd83e]] {
        let card = card(&units);
        let [(name, 5)] = &models(card.clone())[..] else { panic!("one model") };
        assert!(name.contains('\u{fffd}'), "{name}");
        assert_eq!(read(&card, None).expect("a file"), "model");
        assert_eq!(read(&card, Some(name)).expect("a file"), "model");
    }
}

#[test]
fn upper_and_lower_case() {
    let pairs =
        ["größe", "ÉTÉ naïve", "ЁЖИК ёжик", "Ελλάδα", "Łódź žluťoučký", "ĶŠŅ", "Հայերեն", "Ґ ґ", "MÜNCHEN Ωmega"];
    for name in pairs {
        let card = FAT32.card(|files| drop(create(files, &format!("{name}.rillm"), b"model")));
        for typed in [name.to_lowercase(), name.chars().flat_map(one_upper).collect()] {
            assert_eq!(read(&card, Some(&format!("{typed}.Rillm"))).as_deref(), Ok("model"), "{typed}");
        }
    }
    let card = FAT32.card(|files| drop(create(files, "Ärger÷×.rillm", b"model")));
    for other in ["Arger÷×.rillm", "Ärger×÷.rillm", "Ãrger÷×.rillm"] {
        assert!(matches!(read(&card, Some(other)), Err(Error::NoSuchFile { .. })), "{other}");
    }
}

/// The upper case, if it is one letter.
fn one_upper(c: char) -> Option<char> {
    let mut upper = c.to_uppercase();
    if upper.len() == 1 { upper.next() } else { Some(c) }
}
