//! `rillm card`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use crate::support::{self, Models, error, json, path, rillm, stdout};
use fatfs::{FileSystem, FsOptions};
use fscommon::StreamSlice;

const PARTITION: u64 = 4 << 20;

/// Mounts the file system of an image.
fn mount(image: &Path) -> FileSystem<StreamSlice<File>> {
    let file = OpenOptions::new().read(true).write(true).open(image).expect("an image");
    let len = file.metadata().expect("a length").len();
    FileSystem::new(StreamSlice::new(file, PARTITION, len).expect("a partition"), FsOptions::new()).expect("a card")
}

fn card(models: &Models, args: &[&str]) -> assert_cmd::Command {
    let mut command = rillm(&["card", "-o", path(&models.at("card.img"))]);
    command.args(args);
    command
}

fn check(models: &Models) -> assert_cmd::Command {
    rillm(&["card", "--check", path(&models.at("card.img"))])
}

#[test]
fn the_bundled_model() {
    let models = Models::new();
    let made = json(&mut card(&models, &["--json"]));
    let image = models.at("card.img");
    let bundled = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/model.rillm")).expect("it");
    assert_eq!(made["image"], path(&image));
    assert_eq!(made["image_bytes"], 64 << 20);
    assert_eq!(fs::metadata(&image).expect("a file").len(), 64 << 20);
    assert_eq!((&made["label"], &made["cluster_bytes"]), (&"RILLM".into(), &512.into()));
    let files = serde_json::json!([
        {"name": "rill-tales-1m.rillm", "bytes": bundled.len(), "fragments": 1, "problem": null}
    ]);
    assert_eq!(made["files"], files);
    let checked = json(check(&models).arg("--json"));
    assert_eq!((&checked["checked"], &checked["files"]), (&path(&image).into(), &files));

    let card = mount(&image);
    assert_eq!(card.volume_label(), "RILLM");
    let mut bytes = Vec::new();
    card.root_dir().open_file("rill-tales-1m.rillm").expect("a file").read_to_end(&mut bytes).expect("bytes");
    assert!(bytes == bundled);
    drop(card);

    // The same inputs give the same bytes, and the new image replaces the old one.
    let before = fs::read(&image).expect("an image");
    json(&mut self::card(&models, &["--json"]));
    assert!(fs::read(&image).expect("an image") == before);
    assert_eq!(models.names(), ["card.img", "checkpoint"]);
}

#[test]
fn models_in_their_order() {
    let models = Models::converted();
    let other = models.at("A second one.RILLM");
    fs::copy(models.file(), &other).expect("a file");
    let model = models.file();
    let args = [path(&other), path(&model), "--size", "100M", "--label", "my-card"];
    let text = stdout(&mut card(&models, &args));
    for expected in ["A second one.RILLM", "model.rillm", "100.00 MiB", "dd if=", "Imager"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains('\x1b'));
    let names: Vec<_> =
        mount(&models.at("card.img")).root_dir().iter().map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["A second one.RILLM", "model.rillm"]);
    assert_eq!(mount(&models.at("card.img")).volume_label(), "MY-CARD");
    let checked = json(check(&models).arg("--json"));
    assert_eq!(checked["files"][0]["name"], "A second one.RILLM");
    assert_eq!(checked["files"][1]["name"], "model.rillm");
}

#[test]
fn names_of_any_characters() {
    let models = Models::converted();
    // The last name fills its directory entry of 13 units, except half of a surrogate pair.
    let names = ["🦊.rillm", "größe モデル 👩\u{200d}🚀.rillm", "\u{e000} and 𝄞.rillm", "twelve units🦊.rillm"];
    let files: Vec<_> = names
        .iter()
        .map(|name| {
            fs::copy(models.file(), models.at(name)).expect("a file");
            models.at(name)
        })
        .collect();
    let args: Vec<_> = files.iter().map(|file| path(file)).collect();
    card(&models, &args).assert().success();
    let found = json(check(&models).arg("--json"));
    let found: Vec<_> = found["files"].as_array().expect("files").iter().map(|file| file["name"].clone()).collect();
    assert_eq!(found, names);
    let card = mount(&models.at("card.img"));
    assert_eq!(card.root_dir().iter().map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>(), names);
}

/// A card with one file system that cannot be read and two that can, each with its files.
fn several_partitions(models: &Models, first: &[(&str, &[u8])], second: &[(&str, &[u8])]) {
    const LEN: usize = 5 << 20;
    let starts = [1 << 20, 8 << 20, 16 << 20];
    let mut card = vec![0; starts[2] + LEN];
    for (index, start) in starts.into_iter().enumerate() {
        card[446 + 16 * index + 4] = 0x0e;
        card[446 + 16 * index + 8..][..4].copy_from_slice(&((start / 512) as u32).to_le_bytes());
        let mut volume = std::io::Cursor::new(&mut card[start..][..LEN]);
        fatfs::format_volume(&mut volume, fatfs::FormatVolumeOptions::new().bytes_per_cluster(512)).expect("a volume");
        let files = FileSystem::new(volume, FsOptions::new()).expect("a volume");
        for (name, bytes) in [&[], first, second][index] {
            files.root_dir().create_file(name).and_then(|mut file| file.write_all(bytes)).expect("a file");
        }
    }
    card[starts[0] + 3..][..8].copy_from_slice(b"EXFAT   ");
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(models.at("card.img"), card).expect("an image");
}

#[test]
fn several_file_systems() {
    let models = Models::converted();
    let model = &fs::read(models.file()).expect("a file")[..];
    several_partitions(&models, &[], &[("model.rillm", model)]);
    let looked_at = "looked at: partition 1 of type 0x0e is exFAT, partition 2 of type 0x0e is FAT16, partition 3 of";
    let text = stdout(&mut check(&models));
    assert!(text.contains("whole  on partition 3 of type 0x0e") && text.contains(looked_at), "{text}");
    let report = json(check(&models).arg("--json"));
    assert_eq!(report["files"][0]["partition"], "partition 3 of type 0x0e");

    several_partitions(&models, &[], &[]);
    let message = error(&mut check(&models), 1);
    assert!(message.contains("no .rillm file (partition 1 of type 0x0e is exFAT, partition 2 of"), "{message}");
    assert!(message.contains("copy one there"), "{message}");

    // A device never opens the second file of the same name. It does open one of another name.
    let second = [("MODEL.rillm", model), ("other.rillm", model)];
    several_partitions(&models, &[("model.rillm", model)], &second);
    let message = error(&mut check(&models), 1);
    let expected =
        "MODEL.rillm: a device opens model.rillm of partition 2 of type 0x0e by this name; rename one of them";
    assert!(message.contains(expected) && !message.contains("other.rillm"), "{message}");
}

#[test]
fn what_no_image_is_made_of() {
    let models = Models::converted();
    let at = |name: &str, bytes: &[u8]| {
        fs::write(models.at(name), bytes).expect("a file");
        models.at(name)
    };
    let bytes = fs::read(models.file()).expect("a file");
    let mut bit = bytes.clone();
    bit[bytes.len() / 2] ^= 1;
    let (short, text, bit) =
        (at("short.rillm", &bytes[..9000]), at("text.rillm", &[b'x'; 2000]), at("bit.rillm", &bit));
    let (other, companion) = (at("model.bin", &bytes), at("._model.rillm", &bytes));
    let before = models.names();
    for (args, expected) in [
        (&[path(&short)][..], "copied whole"),
        (&[path(&text)], "not a .rillm file"),
        (&[path(&bit)], "damaged"),
        (&[path(&other)], "ends in .rillm"),
        (&[path(&companion)], "rename"),
        (&[path(&models.file()), path(&models.file())], "two of the models"),
        (&[path(&models.checkpoint())], ".rillm"),
        (&["nowhere.rillm"], "nowhere.rillm"),
        (&["--size", "10M"], "use --size 64M"),
        (&["--size", "4096G"], "smaller"),
    ] {
        let message = error(&mut card(&models, args), 1);
        assert!(message.contains(expected), "{message}");
        assert_eq!(models.names(), before);
    }
    for (out, expected) in [
        (models.checkpoint(), "card.img"),
        (models.at("no directory/card.img"), "make it first"),
        (models.file(), "one of the models"),
        #[cfg(unix)]
        ("/dev/null".into(), "is a device"),
    ] {
        let message = error(&mut rillm(&["card", path(&models.file()), "-o", path(&out)]), 1);
        assert!(message.contains(expected) && message.contains(path(&out)), "{message}");
    }
    assert_eq!(fs::read(models.file()).expect("a file"), bytes);
}

#[test]
fn one_bit_on_a_card() {
    let models = Models::converted();
    card(&models, &[path(&models.file())]).assert().success();
    let image = models.at("card.img");
    let model = fs::read(models.file()).expect("a file");
    let mut bytes = fs::read(&image).expect("an image");
    let at = bytes.windows(512).step_by(512).position(|sector| sector == &model[..512]).expect("the model");
    bytes[at * 512 + model.len() / 2] ^= 1;
    fs::write(&image, bytes).expect("an image");
    let message = error(&mut check(&models), 1);
    assert!(message.contains("model.rillm: damaged: ") && message.contains("copy the file again"), "{message}");
    // With `--json` the object is printed as well.
    let output = check(&models).arg("--json").assert().code(1).get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).expect("JSON");
    assert!(report["files"][0]["problem"].as_str().expect("a problem").contains("damaged"));
    assert_eq!(report["files"][0]["fragments"], 1);
}

#[test]
fn fragmented_files_and_files_cut_off() {
    let models = Models::converted();
    card(&models, &[]).assert().success();
    let model = fs::read(models.file()).expect("a file");
    let image = models.at("card.img");
    {
        let card = mount(&image);
        let root = card.root_dir();
        let create = |name: &str| root.create_file(name).expect("a file");
        let in_fragments = |name: &str, fragments: usize| {
            let (mut file, mut other) = (create(name), create("other.txt"));
            for fragment in model.chunks(model.len().div_ceil(fragments).next_multiple_of(512)) {
                file.write_all(fragment).expect("room");
                other.write_all(&[0; 512]).expect("room");
            }
        };
        in_fragments("three.rillm", 3);
        in_fragments("many.rillm", 100);
        create("short.rillm").write_all(&model[..model.len() / 2]).expect("room");
        create("empty.rillm");
        root.create_dir("folder").expect("a folder");
    }
    let message = error(&mut check(&models), 1);
    for expected in
        ["many.rillm: it has", "stores 64", "short.rillm: the file has", "empty.rillm: the file has no bytes"]
    {
        assert!(message.contains(expected), "{expected} in {message}");
    }
    assert!(!message.contains("three.rillm") && !message.contains("rill-tales"), "{message}");
    let text = support::text(check(&models).assert().code(1).get_output().stdout.clone());
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    assert!(line("three.rillm").contains(" 3  whole"), "{text}");
    assert!(line("short.rillm").ends_with("wrong"), "{text}");
}

#[test]
fn what_is_no_card() {
    let models = Models::converted();
    card(&models, &[]).assert().success();
    let image = models.at("card.img");
    let mut no_model = fs::read(&image).expect("an image");
    mount(&image).root_dir().remove("rill-tales-1m.rillm").expect("removed");
    for (change, expected) in [
        (None, "no .rillm file"),
        (Some((450, vec![0x83])), "type 0x83"),
        (Some((450, vec![0xee])), "GPT"),
        (Some((PARTITION + 3, b"EXFAT   ".to_vec())), "exFAT"),
        (Some((PARTITION + 13, vec![0])), "clusters of 0 sectors"),
        (Some((510, vec![0])), "no partition table"),
    ] {
        let mut file = OpenOptions::new().read(true).write(true).open(&image).expect("an image");
        let mut before = Vec::new();
        if let Some((at, bytes)) = &change {
            before = vec![0; bytes.len()];
            file.seek(SeekFrom::Start(*at)).and_then(|_| file.read_exact(&mut before)).expect("bytes");
            file.seek(SeekFrom::Start(*at)).and_then(|_| file.write_all(bytes)).expect("written");
        }
        let message = error(&mut check(&models), 1);
        assert!(message.contains(expected) && message.contains("card.img"), "{message}");
        if let Some((at, _)) = change {
            file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&before)).expect("written");
        }
    }
    no_model.truncate(30 << 20);
    fs::write(&image, no_model).expect("an image");
    let message = error(&mut check(&models), 1);
    assert!(message.contains("131072 blocks and the card has 61440"), "{message}");

    fs::write(&image, [0; 100]).expect("a file");
    assert!(error(&mut check(&models), 1).contains("it has 100 bytes"));
    let message = error(&mut rillm(&["card", "--check", path(&models.file())]), 1);
    assert!(message.contains("rillm inspect --verify") && message.contains(path(&models.file())), "{message}");
    assert!(error(&mut rillm(&["card", "--check", "nowhere.img"]), 1).contains("nowhere.img"));
}

#[test]
fn a_card_that_is_mounted() {
    let models = Models::converted();
    fs::write(models.at("._model.rillm"), "what macOS writes").expect("a file");
    let directory = models.file().parent().expect("a directory").to_owned();
    let check = || rillm(&["card", "--check", path(&directory)]);
    let text = stdout(&mut check());
    assert!(text.contains("model.rillm") && text.contains("/dev/sdX") && !text.contains("._"), "{text}");
    let report = json(check().arg("--json"));
    let bytes = fs::metadata(models.file()).expect("a file").len();
    let expected = serde_json::json!([{"name": "model.rillm", "bytes": bytes, "fragments": null, "problem": null}]);
    assert_eq!(report["files"], expected);

    fs::write(models.at("broken.rillm"), &fs::read(models.file()).expect("a file")[..5000]).expect("a file");
    let message = error(&mut check(), 1);
    assert!(message.contains("broken.rillm") && message.contains("copy it again"), "{message}");

    let message = error(&mut rillm(&["card", "--check", path(&models.checkpoint())]), 1);
    assert!(message.contains("no .rillm file") && message.contains(path(&models.checkpoint())), "{message}");
}

#[test]
fn dosfstools_find_nothing_wrong() {
    let models = Models::converted();
    let image = models.at("card.img");
    for size in ["40M", "64M", "512M"] {
        card(&models, &[path(&models.file()), "--size", size]).assert().success();
        let partition = models.at("partition.img");
        let mut file = File::open(&image).expect("an image");
        file.seek(SeekFrom::Start(PARTITION)).expect("a partition");
        std::io::copy(&mut file, &mut File::create(&partition).expect("a file")).expect("copied");
        let tools = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        match Command::new("fsck.vfat").args(["-n", path(&partition)]).env("PATH", tools).output() {
            Ok(output) => assert!(output.status.success(), "{size}: {}", String::from_utf8_lossy(&output.stdout)),
            Err(_) => return eprintln!("skipped: fsck.vfat is not installed (dosfstools)"),
        }
    }
}
