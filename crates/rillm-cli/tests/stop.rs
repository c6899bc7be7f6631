//! `rillm run --stop`: texts that end before a string.

use crate::support::{self, error, json, rillm, stdout};
use serde_json::Value;

/// The bundled model's JSON report of a greedy text.
fn story(args: &[&str]) -> Value {
    json(rillm(&["run", "--prompt", "Once upon a time", "--temperature", "0", "-n", "60", "--json"]).args(args))
}

#[test]
fn the_text_ends_before_the_string() {
    let whole = story(&[]);
    let text = whole["text"].as_str().expect("text");
    assert!(text.contains("little leaf on the highest"), "{text}");
    for stop in ["leaf on", "on the", "a", " l", "f on the hi", "."] {
        let report = story(&["--stop", stop]);
        assert_eq!(report["text"], text.split(stop).next().expect("a piece"), "{stop}");
        assert_eq!(report["stop"], "stop_string");
        // Discarded tokens count as generated.
        let tokens = report["token_ids"].as_array().expect("a list");
        assert_eq!(tokens[..], whole["token_ids"].as_array().expect("a list")[..tokens.len()], "{stop}");
    }
    let report = story(&["--stop", "leaf", "--stop", "little", "--stop", "zebra"]);
    assert_eq!(report["text"], text.split("little").next().expect("a piece"));
    let report = story(&["--stop", "zebra"]);
    assert_eq!((&report["text"], &report["stop"]), (&whole["text"], &whole["stop"]));
}

#[test]
fn what_is_printed_is_the_text() {
    let args = ["run", "--prompt", "Once upon a time", "--temperature", "0", "--stop", "leaf on"];
    let report = story(&["--stop", "leaf on"]);
    let expected = format!("Once upon a time{}\n", report["text"].as_str().expect("text"));
    assert_eq!(stdout(&mut rillm(&args)), expected);
    let summary = rillm(&args).assert().success().get_output().stderr.clone();
    assert!(support::text(summary).contains(" tokens/s, stop string found · RAM "));
}

#[test]
fn limits_are_said() {
    let long = "x".repeat(65);
    let message = error(&mut rillm(&["run", "--stop", &long]), 2);
    assert!(message.contains("has 65 bytes and may have 64"), "{message}");
    let message = error(&mut rillm(&["run", "--stop", ""]), 2);
    assert!(message.contains("a stop string is empty"), "{message}");
    let five = ["--stop", "a", "--stop", "b", "--stop", "c", "--stop", "d", "--stop", "e"];
    let message = error(rillm(&["run"]).args(five), 2);
    assert!(message.contains("there are 5 stop strings and may be 4"), "{message}");
    assert_eq!(error(rillm(&["chat"]).args(five), 2), message);
    assert_eq!(story(&["--stop", &long[1..]])["stop"], "max_tokens");
}
