//! Cards made by dosfstools, mtools, sfdisk and sgdisk. A test is skipped with a message where its tool is not
//! installed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::support::{BLOCK, MemoryCard, block_on, content, open, partition, read_all};
use rillm_card::{PartitionId, for_each_model};

/// Runs a tool; false where it is not installed.
fn run(tool: &str, args: &[&str]) -> bool {
    run_with(tool, args, Stdio::null())
}

/// The same, with an input.
fn run_with(tool: &str, args: &[&str], input: Stdio) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(tool);
    command.args(args).stdin(input).env("PATH", path).env("MTOOLS_SKIP_CHECK", "1").env("LC_ALL", "C.UTF-8");
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            eprintln!("skipped: {tool} is not installed (dosfstools, mtools, fdisk, gdisk)");
            false
        }
    }
}

/// Formats a file of so many KiB, copies models to it in fragments, and reads them back.
fn format_copy_read(directory: &Path, kib: &str, options: &[&str], start: u32) {
    let at = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let (image, model, other) = (at("card.img"), at("A Model of 15M.rillm"), at("other.txt"));
    let _ = fs::remove_file(&image);
    if !run("mkfs.vfat", &[options, &["-C", &image, kib]].concat()) {
        return;
    }
    fs::write(&other, content(100_000, 1)).expect("a file");
    fs::write(&model, content(777_777, 2)).expect("a file");
    // A gap that the model does not fit into.
    for copied in [["a.txt", "b.txt"], ["c.txt", "d.txt"]].concat() {
        if !run("mcopy", &["-i", &image, &other, &format!("::{copied}")]) {
            return;
        }
    }
    run("mdel", &["-i", &image, "::a.txt"]);
    run("mdel", &["-i", &image, "::c.txt"]);
    run("mcopy", &["-i", &image, &model, "::"]);

    let volume = fs::read(&image).expect("an image");
    let mut card = vec![0; start as usize * BLOCK];
    card.extend(&volume);
    if start > 0 {
        partition(&mut card, 1, 0x0c, start, (volume.len() / BLOCK) as u32);
    }
    let card = Rc::new(card);
    for name in [None, Some("a model of 15m.rillm"), Some("amodel~1.ril")] {
        let mut file = open(MemoryCard::sharing(&card), name).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let bytes = read_all(&mut file, 777_777, &[13, 64]).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert!(bytes == content(777_777, 2), "{options:?}");
    }
}

#[test]
fn cards_of_dosfstools() {
    let directory = tempfile::tempdir().expect("a directory");
    for (kib, options) in [
        ("16384", &["-F", "16", "-n", "RILLM"][..]),
        ("65536", &["-F", "16", "-s", "16"]),
        ("40960", &["-F", "32", "-s", "1", "-n", "RILLM"]),
        ("65536", &["-F", "32", "-s", "1", "-f", "1"]),
        // What dosfstools chooses by itself.
        ("65536", &[]),
        ("65536", &["-F", "32", "-s", "1", "-R", "100"]),
    ] {
        for start in [0, 2048] {
            format_copy_read(directory.path(), kib, options, start);
        }
    }
}

/// Blocks where the volumes of a card lie, and how many each has.
const STARTS: [usize; 3] = [4096, 40_960, 81_920];
const LEN: usize = 32_768;

/// An image, without its table, with a model on each of its volumes; none without the tools.
fn three_volumes(directory: &Path) -> Option<String> {
    let at = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let (image, model) = (at("card.img"), at("model"));
    let _ = fs::remove_file(&image);
    File::create(&image).and_then(|file| file.set_len(128 * 1024 * BLOCK as u64)).expect("a file");
    fs::write(&model, "model").expect("a file");
    for (start, name) in STARTS.into_iter().zip(["first.rillm", "Größe.rillm", "third.rillm"]) {
        let (kib, place) = ((LEN / 2).to_string(), format!("{image}@@{}", start * BLOCK));
        let format = ["-F", "16", "--offset", &start.to_string(), &image, &kib];
        if !run("mkfs.vfat", &format) || !run("mcopy", &["-i", &place, &model, &format!("::{name}")]) {
            return None;
        }
    }
    Some(image)
}

fn models(image: &str) -> Vec<(String, PartitionId)> {
    let mut models = Vec::new();
    let card = MemoryCard::new(fs::read(image).expect("an image"));
    let visit = |file: rillm_card::File<'_>| models.push((file.name.to_string(), file.partition));
    block_on(for_each_model(card.clone(), visit)).expect("a card");
    for name in ["first.rillm", "GRÖßE.rillm", "größe.RILLM", "third.rillm"] {
        assert!(open(card.clone(), Some(name)).is_ok(), "{name}");
    }
    models
}

#[test]
fn partition_tables_of_sfdisk() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(image) = three_volumes(directory.path()) else { return };
    let script = directory.path().join("script");
    let [first, second, third] = STARTS;
    let table = |lines: &str| {
        fs::write(&script, format!("label: dos\n{lines}")).expect("a file");
        let input = File::open(&script).expect("a file").into();
        run_with("sfdisk", &["--force", "--no-reread", "--wipe", "never", &image], input).then(|| models(&image))
    };
    let mbr = |name: &str, number, kind| (name.to_owned(), PartitionId::Mbr { number, kind });

    let primary = format!(
        "4: start={first}, size={LEN}, type=1b\n2: start={second}, size={LEN}, type=ef\n1: start={third}, size={LEN}, type=83"
    );
    let Some(found) = table(&primary) else { return };
    let expected = [mbr("third.rillm", 1, 0x83), mbr("Größe.rillm", 2, 0xef), mbr("first.rillm", 4, 0x1b)];
    assert_eq!(found, expected);

    for kind in [0x05, 0x0f] {
        let logical = format!(
            "1: start=2048, size=1024, type=83\n3: start=3072, size=120000, type={kind:x}\n\
             5: start={first}, size={LEN}, type=c\n6: start={second}, size={LEN}, type=6\n7: start={third}, size={LEN}, type=e"
        );
        let expected = [mbr("first.rillm", 5, 0x0c), mbr("Größe.rillm", 6, 0x06), mbr("third.rillm", 7, 0x0e)];
        assert_eq!(table(&logical).expect("sfdisk"), expected);
    }
}

#[test]
fn partition_tables_of_sgdisk() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(image) = three_volumes(directory.path()) else { return };
    let new = STARTS.map(|start| format!("{start}:+{}K", LEN / 2 - 1));
    let [first, second, third] =
        [1, 2, 5].map(|number: u8| format!("{number}:{}", new[usize::from(number.min(3)) - 1]));
    let partitions = ["-n", &first, "-t", "1:ef00", "-n", &second, "-t", "2:0700", "-n", &third, "-t", "5:8300"];
    if !run("sgdisk", &[&partitions[..], &[&image]].concat()) {
        return;
    }
    let gpt = |name: &str, number| (name.to_owned(), PartitionId::Gpt { number });
    let expected = [gpt("first.rillm", 1), gpt("Größe.rillm", 2), gpt("third.rillm", 5)];
    assert_eq!(models(&image), expected);
    // Two of them in the MBR, too: each is found once.
    run("sgdisk", &["--hybrid", "5:1", &image]);
    let found = models(&image);
    assert_eq!(found.len(), 3);
    assert!(matches!(&found[0], (name, PartitionId::Mbr { kind: 0x83, .. }) if name == "third.rillm"), "{found:?}");
    assert!(matches!(&found[1], (name, PartitionId::Mbr { kind: 0xef, .. }) if name == "first.rillm"), "{found:?}");
    assert_eq!(found[2], expected[1]);
}
