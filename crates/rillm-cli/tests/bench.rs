//! `rillm bench`. No test depends on a time.

use std::fs;

use crate::support::{CONTEXT, Models, error, json, path, rillm, stdout};
use assert_cmd::Command;
use serde_json::Value;

/// Two repetitions of the random model.
fn bench(models: &Models) -> Command {
    let mut command = rillm(&["bench", "--repetitions", "2", "--model"]);
    command.arg(models.file());
    command
}

fn figure(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {report}"))
}

#[test]
fn the_figures_have_their_names_and_agree_with_each_other() {
    let models = Models::converted();
    for (args, prompt, generated) in [
        (&[][..], CONTEXT.into(), 64.0),
        (&["--prompt-tokens", "7", "-n", "3", "--source", "mmap", "--threads", "1"], 7.0, 3.0),
        (&["--prompt-tokens", "1", "-n", "1", "--source", "file", "--threads", "2"], 1.0, 1.0),
    ] {
        let report = json(bench(&models).args(args).arg("--json"));
        for stage in ["prefill", "decode"] {
            let [median, min, max] =
                ["", "_min", "_max"].map(|end| figure(&report, &format!("{stage}_tokens_per_second{end}")));
            assert!(0.0 < min && min <= median && median <= max && max.is_finite(), "{report}");
        }
        assert_eq!([figure(&report, "prompt_tokens"), figure(&report, "generated_tokens")], [prompt, generated]);
        let threads = args.iter().skip_while(|&&arg| arg != "--threads").nth(1).map(|threads| threads.parse::<f64>());
        match threads {
            Some(threads) => assert_eq!(figure(&report, "threads"), threads.unwrap()),
            None => assert!((1.0..=8.0).contains(&figure(&report, "threads")), "{report}"),
        }
        assert!(
            ["generic", "sse4.1", "avx2", "avx-vnni", "avx512", "neon"].contains(&report["kernel"].as_str().unwrap()),
            "{report}"
        );
        let bytes = figure(&report, "bytes_per_second") / figure(&report, "decode_tokens_per_second");
        assert!((bytes / figure(&report, "bytes_per_token") - 1.0).abs() < 1e-9, "{report}");
        assert_eq!(report.get("against"), None);
    }
    let people = stdout(&mut bench(&models));
    for name in ["model", "kernel", "prefill", "decode", "weights"] {
        assert!(people.lines().any(|line| line.starts_with(name)), "{people}");
    }
}

#[test]
fn more_tokens_than_the_context_holds() {
    let models = Models::converted();
    let message = error(bench(&models).args(["--prompt-tokens", "97"]), 1);
    assert!(message.contains("--prompt-tokens 97") && message.contains("at most 96"), "{message}");
    let message = error(bench(&models).args(["-n", "96"]), 1);
    assert!(message.contains("--max-tokens 96") && message.contains("at most 95"), "{message}");
}

#[test]
fn without_llama_bench_the_message_says_what_to_do() {
    let models = Models::converted();
    let file = models.file();
    let message = error(bench(&models).args(["--against", path(&file)]).env("PATH", path(&models.at("nowhere"))), 1);
    assert!(message.contains("llama-bench") && message.contains("PATH") && message.contains("--against"), "{message}");
    let message = error(bench(&models).args(["--against", path(&models.at("missing.gguf"))]), 1);
    assert!(message.contains("missing.gguf"), "{message}");
}

/// A stand-in for `llama-bench`, which writes its arguments to a file.
#[cfg(unix)]
fn stand_in(models: &Models, script: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let directory = models.at("bin");
    fs::create_dir_all(&directory).expect("a directory");
    let (program, arguments) = (directory.join("llama-bench"), models.at("arguments"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" > {}\n{script}\n", path(&arguments))).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    directory
}

#[cfg(unix)]
#[test]
fn llama_bench_is_asked_for_the_same_and_compared() {
    let models = Models::converted();
    let against = models.file();
    let bench = |script: &str| {
        let mut command = bench(&models);
        command.args(["--against", path(&against), "--prompt-tokens", "9", "-n", "4", "--threads", "2", "--json"]);
        command.env("PATH", stand_in(&models, script));
        command
    };
    let tests = r#"echo '[{"n_prompt":9,"n_gen":0,"samples_ts":[3,1,2],"build":"x"},{"n_prompt":0,"n_gen":4,"samples_ts":[5]}]'"#;
    let report = json(&mut bench(tests));
    let theirs = &report["against"];
    for (stage, speed) in [("prefill", 2.0), ("decode", 5.0)] {
        assert_eq!(figure(theirs, &format!("{stage}_tokens_per_second")), speed);
        let ratio = figure(&report, &format!("{stage}_tokens_per_second")) / speed;
        assert!((figure(theirs, &format!("{stage}_ratio")) / ratio - 1.0).abs() < 1e-9, "{report}");
    }
    let arguments = fs::read_to_string(models.at("arguments")).expect("the arguments");
    for option in [format!("-m {}", path(&against)), "-p 9".into(), "-n 4".into(), "-r 2".into(), "-t 2".into()] {
        assert!(arguments.contains(&option), "{arguments}");
    }

    let message = error(&mut bench("echo 'a wrong magic number' >&2; exit 3"), 1);
    assert!(message.contains("a wrong magic number") && message.contains("GGUF"), "{message}");
    for output in ["echo no", "echo '[]'"] {
        let message = error(&mut bench(output), 1);
        assert!(message.contains("llama.cpp of 2024 or later"), "{message}");
    }
}
