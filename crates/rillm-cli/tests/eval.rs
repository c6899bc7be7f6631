//! `rillm eval`.

use std::fs;

use crate::support::{Models, error, json, path, rillm, stdout};
use assert_cmd::Command;

fn eval(models: &Models, text: &[u8]) -> Command {
    let book = models.at("book.txt");
    fs::write(&book, text).expect("a file");
    let (file, checkpoint) = (models.file(), models.checkpoint());
    rillm(&["eval", "--model", path(&file), "--against", path(&checkpoint), "--text", path(&book)])
}

#[test]
fn a_file_is_near_its_checkpoint() {
    let models = Models::converted();
    let text = "the cat and the dog went away. ".repeat(100);
    // A text of more than two windows.
    let found = json(eval(&models, text.as_bytes()).args(["--max-tokens", "250", "--json"]));
    let figure = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {found}"));
    assert!(figure("tokens") >= 250.0, "{found}");
    assert!((0.0..0.02).contains(&figure("kl")), "{found}");
    assert!((0.9..=1.0).contains(&figure("top1")), "{found}");
    assert!((figure("ppl") / figure("ppl_reference") - 1.0).abs() < 0.05, "{found}");

    let people = stdout(eval(&models, text.as_bytes()).args(["--max-tokens", "20"]));
    for name in ["positions", "perplexity", "KL", "top-1"] {
        assert!(people.lines().any(|line| line.starts_with(name)), "{people}");
    }
    assert!(!people.contains('\x1b'));
}

#[test]
fn texts_that_say_nothing() {
    let models = Models::converted();
    let message = error(&mut eval(&models, b""), 1);
    assert!(message.contains("0 found"), "{message}");
    let message = error(eval(&models, b"the cat").args(["--max-tokens", "1"]), 1);
    assert!(message.contains("1 found"), "{message}");
    let message = error(&mut eval(&models, &[0xff, 0xfe]), 1);
    assert!(message.contains("book.txt") && message.contains("UTF-8"), "{message}");
}

#[test]
fn another_checkpoint() {
    let models = Models::converted();
    let (file, elsewhere) = (models.file(), models.at("nowhere"));
    let message =
        error(&mut rillm(&["eval", "--model", path(&file), "--against", path(&elsewhere), "--text", path(&file)]), 1);
    assert!(message.contains("nowhere") || message.contains("UTF-8"), "{message}");

    models.set_config("num_hidden_layers", 1.into());
    let message = error(&mut eval(&models, b"the cat and the dog"), 1);
    assert!(message.contains("checkpoint"), "{message}");
}

#[test]
fn several_files_are_compared_and_drawn() {
    let models = Models::new();
    let [checkpoint, eight, four] = ["checkpoint", "int8.rillm", "a<b.rillm"].map(|name| models.at(name));
    for (file, bits) in [(&eight, "8"), (&four, "4")] {
        let convert = ["convert", path(&checkpoint), path(file), "--embed-bits", bits, "--head-bits", bits];
        rillm(&convert).assert().success();
    }
    let [one, two] = ["one.txt", "two.txt"].map(|name| models.at(name));
    fs::write(&one, "the cat and the dog went away. ").expect("a file");
    fs::write(&two, "and the dog").expect("a file");
    let plot = models.at("plot.svg");
    let eval = |files: &[&str], texts: &[&str], args: &[&str]| {
        let mut command = rillm(&["eval", "--against", path(&checkpoint)]);
        command.args(files).args(texts.iter().flat_map(|text| ["--text", text])).args(args);
        command
    };
    let files = [path(&eight), path(&four)];
    let lines = stdout(&mut eval(&files, &[path(&one), path(&two)], &["--plot", path(&plot), "--json"]));
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let figure = |row: &serde_json::Value, name: &str| row[name].as_f64().expect("a number");
    assert_eq!((&rows[0]["file"], &rows[1]["file"], rows.len()), (&path(&eight).into(), &path(&four).into(), 2));
    assert!(figure(&rows[1], "bytes_per_token") < figure(&rows[0], "bytes_per_token"), "{lines}");
    assert!(figure(&rows[1], "kl") > figure(&rows[0], "kl"), "{lines}");
    // Each alone is the same, and so are the texts.
    let alone = json(&mut eval(&files[1..], &[path(&one), path(&two)], &["--json"]));
    assert_eq!(alone, rows[1]);
    let [first, second] = [&one, &two].map(|text| json(&mut eval(&files[1..], &[path(text)], &["--json"])));
    let mean = |name| {
        let [a, b] = [&first, &second].map(|row| (figure(row, "tokens"), figure(row, name)));
        (a.0 * a.1 + b.0 * b.1) / (a.0 + b.0)
    };
    assert!((mean("kl") - figure(&alone, "kl")).abs() < 1e-9, "{first} {second} {alone}");

    let drawn = fs::read_to_string(&plot).expect("a plot");
    for part in ["<circle ", ">int8</text>", ">a&lt;b</text>", "KL, nats", "bytes that a token reads"] {
        assert!(drawn.contains(part), "{part} in {drawn}");
    }
    assert_eq!(drawn.matches("<circle ").count(), 2);
    let table = stdout(&mut eval(&files, &[path(&two)], &[]));
    assert!(table.lines().count() == 4 && table.contains("bytes a token"), "{table}");

    // No input is replaced.
    for input in [&eight, &one, &checkpoint.join("config.json"), &checkpoint.join("plot.json")] {
        let before = fs::read(input).ok();
        let message = error(&mut eval(&files, &[path(&one)], &["--plot", path(input)]), 1);
        assert!(message.contains(path(input)) && fs::read(input).ok() == before, "{message}");
    }
    assert!(models.names().iter().all(|name| !name.ends_with(".part")));
}
