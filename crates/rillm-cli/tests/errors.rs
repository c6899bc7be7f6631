//! Invalid arguments, and too little memory.

use crate::support::{self, CONTEXT, Models, error, json, rillm, stdout, text, words};
use predicates::str::contains;

#[test]
fn values_out_of_range_are_usage_errors() {
    for (option, value, expected) in [
        ("--temperature", "-1", "0 to 100"),
        ("--temperature", "warm", "no number"),
        ("--temperature", "NaN", "no number"),
        ("--top-p", "2", "0 to 1"),
        ("--min-p", "-0.5", "0 to"),
        ("--repeat-penalty", "0.5", "1 to 100"),
        ("--top-k", "x", "invalid"),
        ("--context", "0", "not in"),
        ("--batch", "0", "not in"),
        ("--ram", "0", "it must be 1 to"),
        ("--ram", "many", "256K"),
        ("--ram", "12Q", "K, M or G"),
        ("--chunk", "-1", "unexpected"),
        ("--source", "card", "throttled"),
        ("--card-rate", "0", "it must be 1 to"),
        ("--card-latency", "99999999999", "not in"),
        ("--seed", "1.5", "invalid"),
    ] {
        let message = error(&mut rillm(&["run", option, value]), 2);
        assert!(message.contains(value) && message.contains(expected), "{option} {value}: {message}");
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for args in [
        &["walk"][..],
        &["--walk"],
        &["run", "a prompt without its option"],
        &["convert"],
        &["convert", "one"],
        &["convert", "one", "two", "--key-bits", "4"],
        &["inspect"],
        &["eval", "--model", "m"],
        &["card", "model.rillm"],
        &["card", "--check", "card.img", "-o", "other.img"],
        &["card", "-o", "card.img", "--label", "twelve chars"],
        &["card", "-o", "card.img", "--label", ""],
    ] {
        error(&mut rillm(args), 2);
    }
}

#[test]
fn a_command_has_the_same_line_in_both_helps() {
    let help = stdout(&mut rillm(&["--help"]));
    for command in ["run", "chat", "convert", "inspect", "tokenize", "card", "eval", "choose", "bench"] {
        let line = help.lines().find_map(|line| line.strip_prefix(&format!("  {command} "))).expect("a line").trim();
        assert!(line.len() <= 70 && stdout(&mut rillm(&[command, "--help"])).starts_with(line), "{line}");
    }
    assert!(stdout(&mut rillm(&["chat", "--help"])).contains("the oldest turns"));
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    for command in [
        &[][..],
        &["run"],
        &["chat"],
        &["convert"],
        &["inspect"],
        &["tokenize"],
        &["eval"],
        &["card"],
        &["flash-image"],
        &["choose"],
        &["bench"],
    ] {
        for help in ["-h", "--help"] {
            let help = rillm(command).arg(help).env("COLUMNS", "80").assert().success().stdout(contains("Examples:"));
            let help = support::text(help.get_output().stdout.clone());
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            // Examples must stay copyable: none is wrapped at the width of the terminal.
            let examples = help.split_once("Examples:\n").expect("examples").1;
            for line in examples.lines().take_while(|line| !line.is_empty()) {
                assert!(
                    ["  rillm", "  echo ", "  hf ", "  # ", "  > "].iter().any(|start| line.starts_with(start)),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn too_little_memory_says_what_would_do() {
    let models = Models::converted();
    let context = CONTEXT.to_string();
    let message = error(&mut models.run(&["--prompt", "a", "--ram", "1K"]), 1);
    let remedy = |message: &str, option: &str| {
        let after = message.split(option).nth(1).unwrap_or_else(|| panic!("no {option} in {message}"));
        after.trim_start().split([' ', ',', '\n']).next().expect("a word").to_owned()
    };
    let ram = remedy(&message, "use --ram");
    models.run(&["--prompt", "", "-n", "1", "--ram", &ram]).assert().success();

    let message = error(&mut models.run(&["--prompt", "a", "--ram", "16K", "--context", &context]), 1);
    let (ram, fitting) = (remedy(&message, "use --ram"), remedy(&message, "--context"));
    models.run(&["--prompt", "a", "-n", "1", "--ram", &ram, "--context", &context]).assert().success();
    models.run(&["--prompt", "", "-n", "1", "--ram", "16K", "--context", &fitting]).assert().success();

    let message = error(&mut models.run(&["--prompt", "a", "--ram", "30K", "--chunk", "1M", "--batch", "9"]), 1);
    assert!(message.contains("a smaller --batch") && message.contains("a smaller --chunk"), "{message}");
}

#[test]
fn a_full_context_names_the_memory_that_has_room_for_more() {
    let models = Models::converted();
    let args = ["--prompt", "a", "--temperature", "0"];
    let run = |more: &[&str]| models.run(&[&args, more].concat());
    let stderr = |more: &[&str]| text(run(more).assert().success().get_output().stderr.clone());
    let full = stderr(&["--ram", "18K", "-n", "60"]);
    assert!(full.contains(" full · RAM "), "{full}");
    let (ram, context) = (words(&full, "\n--ram ", " has room"), words(&full, "room for a context of ", "\n"));
    let report = json(&mut run(&["--json", "-n", "60", "--ram", &ram]));
    assert_eq!((report["context"].to_string(), &report["stop"]), (context, &"max_tokens".into()));
    // No hint at more memory where the context was given, or is the model's maximum.
    for more in [&["--ram", "18K", "--context", "9"][..], &["-n", "1000"], &["--ram", "18K", "-n", "1"]] {
        assert!(!stderr(more).contains("has room"), "{more:?}");
    }
    run(&["--json", "--ram", "18K"]).assert().success().stderr("");
}

#[test]
fn a_prompt_longer_than_the_context() {
    let models = Models::converted();
    let prompt = "the cat and the dog ".repeat(100);
    let message = error(&mut models.run(&["--prompt", &prompt]), 1);
    assert!(message.contains(&format!("room for {CONTEXT}")) && !message.contains("--context"), "{message}");
    models.run(&["--prompt", &prompt]).assert().code(1).stdout("");
    let message = error(&mut models.run(&["--prompt", &prompt, "--context", "3"]), 1);
    assert!(message.contains("room for 3") && message.contains("--context"), "{message}");
}

#[test]
fn a_prompt_that_is_no_text() {
    let message = error(rillm(&["run"]).write_stdin([0xff, 0xfe, 0x00]), 1);
    assert!(message.contains("standard input") && message.contains("UTF-8"), "{message}");
}

#[test]
fn files_that_are_not_there() {
    for args in [
        &["run", "--model", "nowhere.rillm"][..],
        &["inspect", "nowhere.rillm"],
        &["convert", "nowhere.rillm", "out.rillm"],
        &["eval", "--model", "nowhere.rillm", "--against", "a", "--text", "Cargo.toml"],
    ] {
        let message = error(&mut rillm(args), 1);
        assert!(message.contains("nowhere.rillm"), "{message}");
        let reasons = ["(os error 2)", "there is no such file or directory"];
        assert_eq!(reasons.iter().map(|reason| message.matches(reason).count()).sum::<usize>(), 1, "{message}");
    }
}
