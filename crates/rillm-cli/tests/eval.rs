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
