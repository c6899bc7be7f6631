//! `rillm run --prompt-cache`: nothing is computed twice, and no token changes.

use std::fs;

use crate::support::{CONTEXT, Models, error, json, path, text};
use predicates::str::contains;
use serde_json::Value;

const PROMPT: &str = "the cat and the dog and the bird";

fn run(models: &Models, prompt: &str, args: &[&str]) -> Value {
    json(models.run(&["--prompt", prompt, "--seed", "5", "-n", "9", "--json"]).args(args))
}

/// Compares what must not depend on the cache.
fn same(report: &Value, expected: &Value) {
    for field in ["text", "token_ids", "prompt_tokens", "logits_fingerprint"] {
        assert_eq!(report[field], expected[field], "{field}");
    }
}

#[test]
fn what_two_prompts_share_is_computed_once() {
    let models = Models::converted();
    let cache = models.at("run.cache");
    let with_cache = |prompt: &str, args: &[&str]| {
        let report = run(&models, prompt, &[args, &["--check", "--prompt-cache", path(&cache)]].concat());
        same(&report, &run(&models, prompt, &["--check"]));
        let number = |field: &str| report[field].as_u64().unwrap_or_else(|| panic!("no {field}"));
        assert_eq!(report["generated_tokens"], 9);
        (number("cached_tokens"), number("prompt_tokens"))
    };
    let (cached, all) = with_cache(PROMPT, &[]);
    assert_eq!(cached, 0);
    // The last token is always computed, since its logits select the next one.
    assert_eq!(with_cache(PROMPT, &[]), (all - 1, all));
    let (cached, longer) = with_cache(&format!("{PROMPT} and the fox"), &["--batch", "2"]);
    assert!(cached == all && longer > all, "{cached} {longer}");
    // The cache now holds the longer text, generated tokens included. Context and memory may differ.
    assert_eq!(with_cache(PROMPT, &["--context", "60", "--ram", "60K"]), (all - 1, all));
    let (cached, _) = with_cache("the cat and a mouse", &["--source", "mmap"]);
    assert!(cached > 1 && cached < all, "{cached}");
    // Only the beginning-of-text token is common.
    assert_eq!(with_cache("good day", &[]).0, 1);
    assert_eq!(models.names(), ["checkpoint", "model.rillm", "run.cache"]);
    assert_eq!(run(&models, PROMPT, &[])["cached_tokens"], 0);
}

#[test]
fn people_are_told_what_was_there() {
    let models = Models::converted();
    let cache = models.at("run.cache");
    let args = ["--prompt", PROMPT, "-n", "2", "--prompt-cache", path(&cache)];
    models.run(&args).assert().success().stderr(contains("\n0 of the prompt's "));
    let all = run(&models, PROMPT, &[])["prompt_tokens"].as_u64().expect("a number");
    let line = format!("\n{} of the prompt's {all} tokens from {}\n", all - 1, cache.display());
    models.run(&args).assert().success().stderr(contains(line));
}

#[test]
fn a_file_that_does_not_fit_is_an_error_and_left_alone() {
    let models = Models::converted();
    let cache = models.at("run.cache");
    let args = ["--prompt", PROMPT, "-n", "20", "--prompt-cache", path(&cache)];
    models.run(&args).assert().success();
    let whole = fs::read(&cache).expect("a file");
    let refused = |bytes: &[u8], more: &[&str], expected: &str| {
        fs::write(&cache, bytes).expect("a file");
        let message = error(models.run(&args).args(more), 1);
        for expected in [expected, path(&cache)] {
            assert!(message.contains(expected), "{expected:?} in {message}");
        }
        let remedies = ["name another file, or delete this one", "; name another file\n", "; use --context "];
        assert_eq!(remedies.iter().filter(|remedy| message.contains(**remedy)).count(), 1, "{message}");
        assert_eq!(fs::read(&cache).expect("a file"), bytes);
    };
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    refused(b"", &[], "is no prompt cache");
    refused(b"Once upon a time", &[], "is no prompt cache");
    refused(b"RILLS", &[], "it ends in the middle");
    refused(&whole[..whole.len() / 2], &[], "it ends in the middle");
    refused(&whole[..whole.len() - 4], &[], "it ends in the middle");
    refused(&whole[..whole.len() - 2], &[], "it ends in the middle");
    refused(&[&whole[..], &[0; 1000]].concat(), &[], "unexpected bytes follow its end");
    refused(&[&whole[..], &[0; 4]].concat(), &[], "its checksum is wrong");
    refused(&flipped(whole.len() - 1), &[], "its checksum is wrong");
    refused(&flipped(whole.len() / 2), &[], "it is damaged");
    refused(&flipped(20), &[], "it is damaged");
    refused(&flipped(8), &[], "its format version is 5");
    refused(&flipped(0), &[], "is no prompt cache");
    refused(&flipped(5), &[], "it is damaged");
    let tokens = u32::from_le_bytes(*whole[16..].first_chunk().expect("a number"));
    let remedy = format!("--context {tokens} or more");
    refused(&whole, &["--context", &(tokens - 1).to_string()], &remedy);
    models.run(&args).args(["--context", &tokens.to_string()]).assert().success();
    let other = run(&Models::converted(), PROMPT, &["--prompt-cache", path(&cache)]);
    assert_eq!(other["generated_tokens"], 9, "the same checkpoint gives the same model file");
    models.convert(&["--key-bits", "8"]).assert().success();
    refused(&whole, &[], "another model file");
}

#[test]
fn where_it_cannot_be_written_is_found_out_before_the_work() {
    let models = Models::converted();
    for (cache, expected) in [("nowhere/run.cache", "no directory"), ("checkpoint", "is a directory")] {
        let cache = models.at(cache);
        let args = ["--prompt", PROMPT, "--prompt-cache", path(&cache)];
        let message = error(&mut models.run(&args), 1);
        assert!(message.contains(path(&cache)) && message.contains(expected), "{message}");
        models.run(&args).assert().code(1).stdout("");
    }
}

#[test]
fn a_text_that_fills_the_context_can_be_kept() {
    let models = Models::converted();
    let cache = models.at("run.cache");
    let args = ["--prompt", PROMPT, "-n", "1000", "--json", "--prompt-cache", path(&cache)];
    for _ in 0..2 {
        let report = json(&mut models.run(&args));
        assert_eq!((&report["context"], &report["stop"]), (&CONTEXT.into(), &"context_full".into()));
    }
}

/// Ctrl-C during a text that would take minutes.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_computed() {
    use std::io::{BufReader, Read};
    use std::process::{Command, Stdio};

    let models = Models::converted();
    let cache = models.at("run.cache");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["run", "--model", path(&models.file()), "--prompt", PROMPT, "--prompt-cache", path(&cache)])
        .args(["--source", "throttled", "--card-latency", "20000", "--ram", "36K", "-n", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    // A first letter shows that the prompt is computed.
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_exact(&mut [0; PROMPT.len() + 1]).expect("the prompt and a letter");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130), "{}", text(output.stderr));
    let report = run(&models, PROMPT, &["--prompt-cache", path(&cache)]);
    assert_eq!(report["cached_tokens"].as_u64(), report["prompt_tokens"].as_u64().map(|all| all - 1));
}
