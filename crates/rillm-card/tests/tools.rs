//! Cards made by the tools that people have: dosfstools and mtools. Without them the tests say so and end.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use support::{BLOCK, Memory, content, open, partition, read_all};

/// Runs a tool; false where it is not installed.
fn run(tool: &str, args: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(tool).args(args).env("PATH", path).env("MTOOLS_SKIP_CHECK", "1").output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            eprintln!("skipped: {tool} is not installed (dosfstools, mtools)");
            false
        }
    }
}

/// Formats a file of so many KiB, copies models to it in pieces, and reads them back.
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
        let mut file = open(Memory::sharing(&card), name).unwrap_or_else(|error| panic!("{options:?}: {error}"));
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
