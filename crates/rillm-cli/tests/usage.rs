//! Messages about invalid arguments.

use std::fs;

use crate::support::{self, Models, error, path, rillm, stdout};

/// Options without effect, with the option that the message names and the reason.
const USELESS: &[(&[&str], &str, &str)] = &[
    (&["run", "--card-rate", "9M"], "--card-rate", "without --source throttled"),
    (&["run", "--card-latency", "600"], "--card-latency", "without --source throttled"),
    (&["run", "--source", "mmap", "--card-latency", "1"], "--card-latency", "without --source throttled"),
    (&["chat", "--card-rate", "1M"], "--card-rate", "without --source throttled"),
    (&["chat", "--source", "file", "--card-latency", "1"], "--card-latency", "without --source throttled"),
    (&["tokenize", "--card-rate", "1M", "a"], "--card-rate", "without --source throttled"),
    (&["tokenize", "--card-latency", "1", "a"], "--card-latency", "without --source throttled"),
    (&["bench", "--card-rate", "1M"], "--card-rate", "without --source throttled"),
    (&["run", "--temperature", "0", "--top-k", "5"], "--top-k", "with --temperature 0"),
    (&["run", "--temperature", "0.0", "--top-p", "0.5"], "--top-p", "with --temperature 0"),
    (&["run", "--min-p", "0.1", "--temperature", "0"], "--min-p", "with --temperature 0"),
    (&["chat", "--temperature", "0", "--top-p", "0.95"], "--top-p", "with --temperature 0"),
    (&["run", "--source", "mmap", "--chunk", "4K"], "--chunk", "with --source mmap"),
    (&["chat", "--source", "mmap", "--chunk", "4K"], "--chunk", "with --source mmap"),
    (&["choose", "--option", "a", "--source", "mmap", "--chunk", "4K"], "--chunk", "with --source mmap"),
    (&["choose", "--option", "a", "--card-rate", "1M"], "--card-rate", "without --source throttled"),
    (&["plan", "--model", "m.rillm"], "--model", "--board"),
    (&["plan", "--context", "9"], "--context", "--board"),
    (&["plan", "--source", "card"], "--source", "--board"),
    (&["plan", "--board", "--no-psram"], "--no-psram", "--board"),
    (&["plan", "--old-chip"], "--old-chip", "--board"),
    (&["plan", "--board", "esp32-c3", "--no-psram"], "--no-psram", "--board"),
    (&["plan", "--board", "esp32-s3-devkitc", "--old-chip"], "--old-chip", "--board"),
    (&["plan", "--board", "esp32-cam", "--old-chip", "--no-psram"], "--old-chip", "--no-psram"),
    (&["card", "--check", "card.img", "--size", "64M"], "--check", "--size"),
    (&["card", "--check", "card.img", "--label", "RILLM"], "--check", "--label"),
    (&["card", "--check", "card.img", "--out", "card.img"], "--check", "--out"),
    (&["card", "--check", "card.img", "model.rillm"], "--check", "MODEL"),
    (&["convert", "a", "b", "--calibrate", "c"], "--calibrate", "--bits 4"),
    (&["convert", "a", "b", "--max-kl", "0.1", "--evaluate"], "--evaluate", "--max-kl"),
    (&["convert", "a", "b", "--target-size", "1M", "--bits", "8"], "--bits", "--target-size"),
    (&["convert", "a", "b", "--target-size", "1M", "--head-bits", "4"], "--head-bits", "--target-size"),
    (&["convert", "a", "b", "--target-size", "1M", "--max-kl", "0.1"], "--max-kl", "--target-size"),
    (
        &["convert", "a", "b", "--bits", "4", "--layer-bits", "8", "--head-bits", "8", "--embed-bits", "8"],
        "--bits",
        "all",
    ),
];

#[test]
fn an_option_without_effect_is_an_error_that_names_why() {
    for (args, option, why) in USELESS {
        let message = error(&mut rillm(args), 2);
        assert!(message.contains(option) && message.contains(why), "{args:?}: {message}");
    }
}

#[test]
fn options_that_have_an_effect_together() {
    let models = Models::converted();
    for args in [
        // Defaults do not count, and a seed is always allowed.
        &["--temperature", "0"][..],
        &["--temperature", "0", "--seed", "5", "--repeat-penalty", "1.2", "--stop", "x"],
        &["--temperature", "0.1", "--top-k", "1", "--top-p", "0", "--min-p", "1"],
        &["--source", "throttled", "--card-rate", "900M", "--card-latency", "0"],
        &["--source", "mmap", "--batch", "2", "--context", "20"],
        &["--source", "file", "--chunk", "1K"],
    ] {
        models.run(&["--prompt", "a", "-n", "2"]).args(args).assert().success();
    }
    for args in [
        &["plan"][..],
        &["plan", "--json"],
        &["plan", "--board", "--json"],
        &["plan", "--board", "esp32-cam", "--old-chip", "--context", "64"],
        &["plan", "--board", "esp32-cam", "--no-psram", "--source", "card"],
    ] {
        rillm(args).assert().success();
    }
}

#[test]
fn each_number_has_one_range() {
    for (option, range, wrong) in [
        ("--temperature", "0 to 100", ["-1", "-0.001", "100.1", "1000"]),
        ("--top-p", "0 to 1", ["-1", "-0.001", "1.001", "1000"]),
        ("--min-p", "0 to 1", ["-1", "-0.001", "1.001", "1000"]),
        ("--repeat-penalty", "1 to 100", ["-1", "0.5", "100.1", "1000"]),
        ("--ram", "1 to 900000G", ["0", "-1", "0.5", "10000000G"]),
    ] {
        for number in wrong {
            let message = error(&mut rillm(&["run", &format!("{option}={number}")]), 2);
            assert!(message.contains(&format!("it must be {range}")), "{option} {number}: {message}");
        }
    }
    let help = stdout(rillm(&["run", "--help"]).env("COLUMNS", "1000"));
    assert_eq!(["0 to 100", ", 0 to 1;", "1 to 100;"].map(|range| help.matches(range).count()), [1, 2, 1], "{help}");
    for size in ["0", "-1", "10000000G"] {
        let message = error(&mut rillm(&["card", "-o", "card.img", &format!("--size={size}")]), 2);
        assert!(message.contains("it must be 37M to 1024G"), "{message}");
    }
    for size in ["1", "36.9M", "1025G"] {
        let message = error(&mut rillm(&["card", "-o", "nowhere/card.img", "--size", size]), 1);
        assert!(message.contains("37M at least") || message.contains("1024G at most"), "{message}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("card.img");
    rillm(&["card", "-o", path(&image), "--size", "37M"]).assert().success();
}

#[test]
fn what_was_probably_meant() {
    let models = Models::converted();
    fs::write(models.at("model.gguf"), "GGUF").expect("a file");
    let hub = "hf download arnir0/Tiny-LLM --local-dir Tiny-LLM";
    for (args, code, tip) in [
        (&["run", "hi"][..], 2, "rillm run --prompt hi"),
        (&["run", "Once upon a time"], 2, "rillm run --prompt \"Once upon a time\""),
        (&["run", "-"], 2, "without --prompt the text is read from standard input"),
        (&["--prompt", "hi"], 2, "rillm run --prompt hi"),
        (&["-p", "hi there", "-n", "9"], 2, "rillm run -p \"hi there\" -n 9"),
        (&["--model=model.rillm"], 2, "rillm run --model=model.rillm"),
        (&["--board", "esp32-cam"], 2, "rillm plan --board esp32-cam"),
        (&["a story about a fox"], 2, "rillm run --prompt \"a story about a fox\""),
        (&["model.rillm"], 2, "rillm run --model model.rillm"),
        (&["run", "model.rillm"], 2, "rillm run --model model.rillm"),
        (&["model.gguf"], 2, "rillm convert model.gguf model.rillm"),
        (&["checkpoint"], 2, "rillm convert checkpoint model.rillm"),
        (&["chat", "checkpoint/"], 2, "rillm convert checkpoint/ model.rillm"),
        (&["arnir0/Tiny-LLM"], 2, hub),
        (&["run", "arnir0/Tiny-LLM"], 2, hub),
        (&["convert", "arnir0/Tiny-LLM"], 2, hub),
        (&["convert", "arnir0/Tiny-LLM", "tiny.rillm"], 1, hub),
        (&["run", "--model", "arnir0/Tiny-LLM"], 1, hub),
        (&["eval", "--model", "model.rillm", "--against", "arnir0/Tiny-LLM", "--text", "model.gguf"], 1, hub),
        (&["convert", "checkpoint"], 2, "rillm convert checkpoint checkpoint.rillm"),
        (&["run", "--model", "model.gguf"], 1, "rillm convert model.gguf model.rillm"),
        (&["chat", "--model", "checkpoint"], 1, "rillm convert checkpoint model.rillm"),
        (&["inspect", "checkpoint/model.safetensors"], 1, "rillm convert checkpoint model.rillm"),
        (&["inspect", "--model", "model.rillm"], 2, "rillm inspect FILE"),
        (&["plan", "esp32-cam"], 2, "rillm plan --board esp32-cam"),
        (&["tokenize", "--prompt", "hi"], 2, "rillm tokenize \"The little fox\""),
        (&["chat", "hi"], 2, "type messages in the chat"),
    ] {
        let message = error(rillm(args).current_dir(models.at("")), code);
        assert!(message.contains(tip), "{args:?}: {message}");
    }
}

#[test]
fn one_of_a_thing_is_said_as_one() {
    let models = Models::converted();
    let said = |command: &mut assert_cmd::Command| {
        let output = command.assert().success().get_output().clone();
        support::text([output.stdout, output.stderr].concat())
    };
    let run = said(&mut models.run(&["--prompt", "", "-n", "1", "--check"]));
    assert!(run.contains("\n1 token at ") && run.contains("check: 2 tokens, ids"), "{run}");
    assert!(said(&mut rillm(&["tokenize", "--model", path(&models.file()), ""])).contains("encoded: 1 token;"));
    let plan = said(&mut rillm(&["plan", "--board", "esp32-cam", "--context", "1"]));
    for several in ["1 tokens", "1 positions", "1 layers", "1 reads,", "1 seeks\n"] {
        assert!(!plan.contains(&format!(" {several}")), "{plan}");
    }
}

/// A text of millions of tokens is rejected before it is encoded to its end.
#[test]
fn a_prompt_that_can_fit_no_context_is_refused_at_once() {
    let models = Models::converted();
    let prompt = "the cat and the dog ".repeat(1 << 18);
    let start = std::time::Instant::now();
    let message = error(models.run(&[]).write_stdin(prompt), 1);
    assert!(message.contains("more than 96 tokens and there is room for 96; shorten it"), "{message}");
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}
