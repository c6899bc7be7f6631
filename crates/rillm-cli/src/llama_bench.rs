//! llama.cpp's `llama-bench`, run on a GGUF file, and its figures.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::bench::{Speed, Speeds, Workload};
use crate::progress;

const PROGRAM: &str = "llama-bench";

/// A test in the output of `llama-bench -o json`. Either number of tokens is 0.
#[derive(Deserialize)]
struct Test {
    n_prompt: u32,
    n_gen: u32,
    /// Tokens a second of each repetition.
    samples_ts: Vec<f64>,
}

/// Fails unless the program is on the PATH.
pub fn find() -> Result<()> {
    match Command::new(PROGRAM).arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "--against needs {PROGRAM}, which is not on the PATH; build llama.cpp and put its build/bin on the PATH, or leave \
             --against out"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot run {PROGRAM}")),
    }
}

/// Measures `file` on the processor, with the workload's tokens, threads and repetitions.
pub fn run(file: &Path, workload: Workload) -> Result<Speeds> {
    let _bar = progress::steps(1).with_message(format!("· {PROGRAM} measures {}", file.display()));
    let Workload { prompt_tokens, generated_tokens, repetitions, threads } = workload;
    let numbers = [("-p", prompt_tokens), ("-n", generated_tokens), ("-r", repetitions), ("-t", threads), ("-ngl", 0)];
    let mut command = Command::new(PROGRAM);
    command.arg("-m").arg(file).args(["-o", "json"]).stdin(Stdio::null());
    for (option, number) in numbers {
        command.arg(option).arg(number.to_string());
    }
    let output = command.output().with_context(|| format!("cannot run {PROGRAM}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        bail!("{PROGRAM} failed ({}): {last}; is {} a GGUF file that it reads?", output.status, file.display());
    }
    let tests: Vec<Test> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{PROGRAM} printed other JSON than expected; use a llama.cpp of 2024 or later"))?;
    let speed = |what, wanted| {
        let test = tests.iter().find(|test| (test.n_prompt, test.n_gen) == wanted && !test.samples_ts.is_empty());
        let test =
            test.ok_or_else(|| anyhow!("{PROGRAM} printed no figures of {what}; use a llama.cpp of 2024 or later"))?;
        anyhow::Ok(Speed::of(test.samples_ts.clone()))
    };
    Ok(Speeds {
        prefill: speed("a prompt", (prompt_tokens, 0))?,
        decode: speed("generated tokens", (0, generated_tokens))?,
    })
}
