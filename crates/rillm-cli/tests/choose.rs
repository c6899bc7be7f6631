//! `rillm choose`.

use std::fs;

use crate::support::{CONTEXT, Models, error, json, path, rillm, stdout, text};
use serde_json::Value;

fn choose(args: &[&str]) -> assert_cmd::Command {
    let mut command = rillm(&["choose"]);
    command.args(args);
    command
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn the_bundled_model_knows_who_lives_in_a_tale() {
    let args =
        ["--prompt", "Once upon a time, there was a little ", "-o", "stock exchange", "-o", "fox", "-o", "invoice"];
    assert_eq!(stdout(&mut choose(&args)), "fox\n");
    let report = json(choose(&args).arg("--json"));
    let names = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&report), ["choice", "index", "options"]);
    assert_eq!((&report["choice"], &report["index"]), (&"fox".into(), &1.into()));
    let options = report["options"].as_array().expect("a list");
    assert_eq!(options.len(), 3);
    for (option, text) in options.iter().zip(["stock exchange", "fox", "invoice"]) {
        assert_eq!(names(option), ["log_probability", "text", "tokens"]);
        assert_eq!(option["text"], text);
        assert!(!option["tokens"].as_array().expect("a list").is_empty());
        assert!(number(&option["log_probability"]) <= number(&options[1]["log_probability"]));
    }
}

#[test]
fn it_does_not_matter_where_the_space_is_nor_where_the_texts_come_from() {
    let models = Models::converted();
    let model = models.file();
    let model = ["--model", path(&model), "--json"];
    let mut report = json(choose(&["-p", "the cat and", "-o", " the dog", "-o", " on", "-o", " the"]).args(model));
    let other = json(choose(&["-p", "the cat and ", "-o", "the dog", "-o", "on", "-o", "the"]).args(model));
    for option in report["options"].as_array_mut().expect("a list") {
        option["text"] = option["text"].as_str().expect("a text").trim_start().into();
    }
    assert_eq!(report["options"], other["options"]);
    assert_eq!(report["index"], other["index"]);

    let file = models.at("options.txt");
    fs::write(&file, "\non\r\n\nthe\n").expect("written");
    let file = path(&file);
    let piped = json(choose(&["--options", file, "-o", "the dog"]).args(model).write_stdin("the cat and \n"));
    assert_eq!(piped, other);
    let mut listed = choose(&["--options", "-", "-p", "the cat and "]);
    assert_eq!(json(listed.args(model).write_stdin("the dog\non\nthe"))["options"], other["options"]);
}

#[test]
fn the_likelihoods_are_shown() {
    let mut command = choose(&["-p", "The little", "-o", "fox", "-o", "ness"]);
    let output = command.assert().success().get_output().clone();
    let (chosen, notes) = (text(output.stdout), text(output.stderr));
    assert!(["fox\n", "ness\n"].contains(&&*chosen));
    let lines: Vec<&str> = notes.lines().collect();
    assert_eq!(lines.len(), 3, "{notes}");
    for (line, option) in lines.iter().zip(["fox", "ness"]) {
        assert!(line.trim_start().starts_with('-') && line.contains(" %  ") && line.ends_with(option), "{line}");
    }
    assert!(lines[2].contains("`littlefox` is one word"), "{notes}");
}

#[test]
fn what_cannot_be_chosen_from_is_refused() {
    let models = Models::converted();
    let model = models.file();
    let model = path(&model);
    let failure = |args: &[&str], code| error(choose(args).args(["--model", model]), code);
    assert!(failure(&["-p", "a"], 2).contains("--option"));
    assert!(failure(&["-p", "a", "b"], 2).contains("--option b"));
    assert!(failure(&["-p", "a", "-o", "on", "-o", "on"], 1).contains("\"on\" and \"on\" have the same tokens"));
    assert!(failure(&["-p", "a", "-o", ""], 1).contains("the option \"\" has no tokens"));
    let long = "x ".repeat(CONTEXT as usize);
    let message = failure(&["-p", "a", "-o", &long], 1);
    assert!(message.contains("there is room for 96") && !message.contains("--ram"), "{message}");
    let message = failure(&["-p", &long, "-o", "a", "--context", "20"], 1);
    assert!(message.contains("there is room for 20; shorten them, or raise --ram or --context"), "{message}");
    assert!(failure(&["-p", "a", "--options", "nowhere.txt"], 1).contains("nowhere.txt"));
    let empty = models.at("empty.txt");
    fs::write(&empty, "\n\n").expect("written");
    assert!(failure(&["-p", "a", "--options", path(&empty)], 1).contains("has no line"));
    assert!(failure(&["--options", "-"], 1).contains("--prompt"));
}
