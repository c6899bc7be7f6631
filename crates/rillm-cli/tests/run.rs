//! `rillm run`, and `rillm` alone.

use std::process::Stdio;

use crate::support::{self, CONTEXT, Models, json, rillm, stdout, text};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {report}"))
}

#[test]
fn the_bundled_model_tells_a_story() {
    rillm(&[])
        .assert()
        .success()
        .stdout(predicate::str::starts_with("Once upon a time"))
        .stdout(predicate::function(|text: &str| text.len() > 20))
        .stderr(contains("tokens/s").count(1));
}

#[test]
fn the_bundled_model_stays_within_its_memory() {
    for ram in ["64K", "256K", "4M"] {
        let report = json(&mut rillm(&["run", "--prompt", "Once", "--ram", ram, "-n", "8", "--json"]));
        assert!(number(&report, "ram_used") <= number(&report, "ram_given"), "{report}");
        assert!(number(&report, "seeks_per_token") <= 2.0, "{report}");
    }
}

#[test]
fn json_has_all_figures() {
    let models = Models::converted();
    let output =
        stdout(&mut models.run(&["--prompt", "hello", "--json", "-n", "20", "--ram", "40K", "--source", "file"]));
    assert_eq!(output.lines().count(), 1);
    let report: Value = serde_json::from_str(&output).expect("JSON");
    assert!(report["text"].is_string());
    assert_eq!(report["token_ids"].as_array().expect("a list").len(), 20);
    assert_eq!(report["generated_tokens"], 20);
    assert_eq!(report["stop"], "max_tokens");
    assert_eq!(report["ram_given"], 40 * 1024);
    for name in ["prompt_tokens", "ram_used", "bytes_read", "reads", "seeks"] {
        assert!(report[name].as_u64().expect("a whole number") > 0, "{name}");
    }
    for name in ["tokens_per_second", "bytes_per_token", "reads_per_token", "seeks_per_token"] {
        assert!(number(&report, name) > 0.0, "{name}");
    }
    assert!(number(&report, "ram_used") <= number(&report, "ram_given"));
    assert!(number(&report, "seeks_per_token") <= 2.0);
}

#[test]
fn a_file_is_mapped_unless_the_reads_have_a_length() {
    let models = Models::converted();
    for (args, is_read) in [(&[][..], false), (&["--source", "file"], true), (&["--chunk", "1K"], true)] {
        let report = json(models.run(&["--prompt", "a", "-n", "3", "--json"]).args(args));
        assert_eq!(report["bytes_per_token"].as_f64().expect("a number") > 0.0, is_read, "{args:?}: {report}");
    }
}

#[test]
fn memory_and_access_do_not_change_the_tokens() {
    let models = Models::converted();
    let tokens = |args: &[&str]| {
        let shared = ["--prompt", "the cat and the dog", "--seed", "5", "-n", "40", "--json"];
        json(models.run(&shared).args(args))["token_ids"].clone()
    };
    let expected = tokens(&[]);
    assert_eq!(expected.as_array().expect("a list").len(), 40);
    for args in [
        &["--ram", "36K"][..],
        &["--ram", "16M"],
        &["--ram", "60K", "--chunk", "512"],
        &["--chunk", "3000"],
        &["--batch", "1"],
        &["--batch", "3", "--chunk", "1K"],
        &["--source", "mmap"],
        &["--source", "mmap", "--batch", "2"],
        &["--source", "throttled", "--card-rate", "900000G", "--card-latency", "0"],
        &["--context", "60"],
        &["--threads", "3"],
    ] {
        assert_eq!(tokens(args), expected, "{args:?}");
    }
}

/// In a text of so many tokens, threads share the heads of attention, too.
#[test]
fn threads_change_no_logit_of_a_long_text() {
    let prompt = "Once upon a time there was a little cat. ".repeat(20);
    let check = |threads: &str| {
        let report =
            json(&mut rillm(&["run", "--prompt", &prompt, "--seed", "2", "--check", "--json", "--threads", threads]));
        assert!(number(&report, "prompt_tokens") > 200.0, "{report}");
        report["logits_fingerprint"].clone()
    };
    let expected = check("1");
    assert!(expected.is_string(), "{expected}");
    for threads in ["2", "3"] {
        assert_eq!(check(threads), expected, "{threads}");
    }
}

#[test]
fn a_seed_gives_one_text() {
    let models = Models::converted();
    let run = |seed: &str| json(&mut models.run(&["--prompt", "a", "--seed", seed, "-n", "30", "--json"]));
    let first = run("7");
    assert_eq!(first["seed"], 7);
    assert_eq!(run("7")["text"], first["text"]);
    assert_ne!(run("8")["token_ids"], first["token_ids"]);
}

#[test]
fn a_check_is_one_line_and_the_same_in_any_memory() {
    let models = Models::converted();
    let check = |args: &[&str]| {
        let mut command = models.run(&["--prompt", "hello", "--seed", "3", "-n", "12", "--check"]);
        text(command.args(args).assert().success().get_output().stderr.clone())
    };
    let stderr = check(&[]);
    let line = stderr.lines().nth(1).expect("a second line").to_owned();
    assert!(stderr.lines().count() == 2 && stderr.starts_with("12 tokens at "), "{stderr}");
    for args in [&["--ram", "36K"][..], &["--source", "mmap"], &["--batch", "1"]] {
        assert_eq!(check(args).lines().nth(1), Some(&line[..]), "{args:?}");
    }
    let report = json(&mut models.run(&["--prompt", "hello", "--seed", "3", "-n", "12", "--check", "--json"]));
    let ids: String = report["token_ids"].as_array().expect("a list").iter().map(|id| format!(" {id}")).collect();
    let fingerprint = report["logits_fingerprint"].as_str().expect("a fingerprint");
    assert!(
        line.starts_with(&format!(
            "check: {} tokens, ids 1 ",
            12 + report["prompt_tokens"].as_u64().expect("a number")
        )),
        "{line}"
    );
    assert!(line.ends_with(&format!("{ids}, logits {fingerprint}")), "{line}");
    // The same tokens with other logits: one token fewer.
    let shorter = json(&mut models.run(&["--prompt", "hello", "--seed", "3", "-n", "11", "--check", "--json"]));
    assert_ne!(shorter["logits_fingerprint"], report["logits_fingerprint"]);
    let unchecked = json(&mut models.run(&["--prompt", "hello", "--seed", "3", "-n", "12", "--json"]));
    assert!(unchecked.get("logits_fingerprint").is_none() && unchecked["token_ids"] == report["token_ids"]);
}

#[test]
fn at_temperature_0_the_seed_does_not_matter() {
    let models = Models::converted();
    let run = |seed: &str| {
        json(&mut models.run(&["--prompt", "a", "--temperature", "0", "--seed", seed, "-n", "20", "--json"]))
    };
    assert_eq!(run("1")["token_ids"], run("2")["token_ids"]);
}

#[test]
fn every_way_of_sampling_runs() {
    let models = Models::converted();
    for args in [
        &["--top-k", "40"][..],
        &["--top-k", "1"],
        &["--top-k", "402"],
        &["--top-k", "1000000"],
        &["--top-k", "4294967295", "--top-p", "1"],
        &["--top-p", "0"],
        &["--min-p", "0.1", "--repeat-penalty", "1.3"],
        &["--temperature", "100"],
    ] {
        let report = json(models.run(&["--prompt", "a", "-n", "5", "--json"]).args(args));
        assert_eq!(report["generated_tokens"], 5, "{args:?}");
    }
}

#[test]
fn text_goes_to_stdout_and_one_line_to_stderr() {
    let models = Models::converted();
    let assert = models.run(&["--prompt", "hello", "--seed", "3", "-n", "12"]).assert().success();
    let output = assert.get_output();
    let report = json(&mut models.run(&["--prompt", "hello", "--seed", "3", "-n", "12", "--json"]));
    let expected = format!("hello{}\n", report["text"].as_str().expect("text"));
    assert_eq!(text(output.stdout.clone()), expected);
    let summary = text(output.stderr.clone());
    assert_eq!(summary.lines().count(), 1, "{summary}");
    assert!(summary.starts_with("12 tokens at ") && summary.ends_with("seed 3\n"), "{summary}");
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b));
}

#[test]
fn the_prompt_comes_from_standard_input() {
    let models = Models::converted();
    let args = ["--seed", "3", "-n", "6", "--json"];
    let piped = json(models.run(&args).write_stdin("good day\n"));
    let given = json(models.run(&args).args(["--prompt", "good day"]));
    assert_eq!(piped["prompt_tokens"], given["prompt_tokens"]);
    assert_eq!(piped["token_ids"], given["token_ids"]);
}

#[test]
fn nothing_on_standard_input_is_no_prompt() {
    rillm(&["run", "-n", "3"]).assert().success().stdout(predicate::str::starts_with("Once upon a time"));
}

#[test]
fn prompts_in_any_script() {
    let models = Models::converted();
    for prompt in ["😀🦊", "狐狸和老虎", "žluťoučký kůň", "a\u{0}b", "\r\n\tx", "<s>", "<0x41>", "e\u{301}"]
    {
        // On standard input, since no argument can contain a zero byte. The final newline is not part of the prompt.
        let stdout = stdout(models.run(&["-n", "4"]).write_stdin(format!("{prompt}\n")));
        assert!(stdout.starts_with(prompt), "{prompt:?}: {stdout:?}");
    }
    let stdout = stdout(&mut rillm(&["run", "-n", "4", "--prompt", "狐狸 😀"]));
    assert!(stdout.starts_with("狐狸 😀"), "{stdout:?}");
}

#[test]
fn an_empty_prompt_is_the_start_of_a_text() {
    let models = Models::converted();
    let report = json(&mut models.run(&["--prompt", "", "-n", "4", "--json"]));
    assert_eq!(report["prompt_tokens"], 1);
    assert_eq!(report["generated_tokens"], 4);
}

#[test]
fn no_tokens_wanted() {
    let models = Models::converted();
    let report = json(&mut models.run(&["--prompt", "hello", "-n", "0", "--json"]));
    assert_eq!(report["generated_tokens"], 0);
    assert_eq!(report["text"], "");
    assert_eq!(report["tokens_per_second"], 0.0);
    models.run(&["--prompt", "hello", "-n", "0"]).assert().success().stdout("hello\n");
}

#[test]
fn the_text_ends_where_the_context_does() {
    let models = Models::converted();
    for context in [1, 2, 9, CONTEXT] {
        let report =
            json(&mut models.run(&["--prompt", "", "--context", &context.to_string(), "-n", "1000", "--json"]));
        assert_eq!(report["generated_tokens"], context - 1);
        assert_eq!(report["context"], context);
        assert_eq!(report["stop"], "context_full");
    }
    models.run(&["--prompt", "", "--context", "9"]).assert().success().stderr(contains("context of 9 full"));
}

#[test]
fn a_context_that_does_not_fit_is_made_smaller_unless_asked_for() {
    let models = Models::converted();
    let args = ["--prompt", "", "-n", "1000", "--json", "--ram", "16K"];
    let report = json(&mut models.run(&args));
    let context = report["context"].as_u64().expect("a number");
    assert!((2..u64::from(CONTEXT)).contains(&context), "{context}");
    assert_eq!(report["generated_tokens"], context - 1);
    assert!(number(&report, "ram_used") <= 16384.0);
    models.run(&args).args(["--context", &CONTEXT.to_string()]).assert().code(1);
}

#[test]
fn memory_that_the_plan_does_not_use_is_not_taken() {
    let models = Models::converted();
    let report = json(&mut models.run(&["--prompt", "a", "-n", "2", "--ram", "900000G", "--json"]));
    assert_eq!(report["generated_tokens"], 2);
}

/// Ctrl-C during a text that would take minutes.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_text_with_its_figures() {
    use std::io::{BufReader, Read};
    use std::process::Command;

    let models = Models::converted();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["run", "--model", support::path(&models.file()), "--prompt", "hello"])
        .args(["--source", "throttled", "--card-latency", "20000", "--ram", "36K", "-n", "90"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    // The prompt is printed after the handler for Ctrl-C is installed.
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_exact(&mut [0; 5]).expect("the prompt");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    let output = child.wait_with_output().expect("an end");
    let summary = text(output.stderr);
    assert_eq!(output.status.code(), Some(130), "{summary}");
    assert!(summary.contains(", interrupted · RAM "), "{summary}");
}

/// A closed pipe, as with `head`, prints no error.
#[test]
fn a_closed_pipe_is_silent() {
    use std::process::Command;

    let models = Models::converted();
    for args in [&["inspect"][..], &["run", "--prompt", "a", "--model"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_rillm"))
            .args(args)
            .arg(models.file())
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .expect("an end");
        assert_eq!(text(output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}
