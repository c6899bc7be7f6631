//! `rillm bench`: tokens a second of a model on this computer, beside llama.cpp's.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use console::style;
use rillm::kernels::Kernel;
use rillm::{Memory, MemoryLen, Model, Plan, PlanOptions, Sampling, Session, block_on};
use serde::Serialize;

use crate::model_file::ModelArgs;
use crate::number::grouped;
use crate::source::{Access, ModelSource};
use crate::threads::{self, ThreadArgs};
use crate::{files, llama_bench, progress, say};

/// Measure tokens a second
///
/// A prompt is computed in batches (prefill), then tokens are generated one at a time (decode), several times. The figures are
/// medians, with the smallest and the largest.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "The prompt is made of tokens from the whole vocabulary; each generated token is the likeliest one. The memory is as large as the
context needs. With --against, llama.cpp's `llama-bench` is run on a GGUF file of the same model, with as many
threads and tokens.

Examples:
  # The bundled model
  rillm bench
  rillm bench --model tiny-llm.rillm --repetitions 20 --json
  # As a device reads a card, but at this computer's pace
  rillm bench --model tiny-llm.rillm --source file
  rillm bench --model smollm2.rillm --threads 4
  # Beside llama.cpp
  rillm bench --model smollm2.rillm --against SmolLM2-135M-Instruct.Q8_0.gguf"
)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens of the prompt; without it 200, or as many as the model supports
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    prompt_tokens: Option<u32>,
    /// Tokens to generate; without it 64, or as many as the model supports
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    #[command(flatten)]
    threads: ThreadArgs,
    /// A GGUF file of the same model, to be measured with `llama-bench`, which must be on the PATH
    #[arg(long, value_name = "GGUF", value_parser = files::input())]
    against: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The workload of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub prompt_tokens: u32,
    pub generated_tokens: u32,
    pub repetitions: u32,
    pub threads: u32,
}

/// Tokens a second in several repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    median: f64,
    min: f64,
    max: f64,
}

impl Speed {
    /// `samples` is not empty.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let middle = (samples.len() - 1) / 2;
        // Of an even number, the mean of the two in the middle.
        let median = (samples[middle] + samples[samples.len() / 2]) / 2.0;
        Self { median, min: samples[0], max: samples[samples.len() - 1] }
    }
}

/// The speeds of a program.
#[derive(Clone, Copy, Debug)]
pub struct Speeds {
    pub prefill: Speed,
    pub decode: Speed,
}

/// The JSON object of `--json`. Scripts depend on these field names.
#[derive(Serialize)]
struct BenchReport {
    model: String,
    kernel: &'static str,
    threads: u32,
    prompt_tokens: u32,
    generated_tokens: u32,
    repetitions: u32,
    prefill_tokens_per_second: f64,
    prefill_tokens_per_second_min: f64,
    prefill_tokens_per_second_max: f64,
    decode_tokens_per_second: f64,
    decode_tokens_per_second_min: f64,
    decode_tokens_per_second_max: f64,
    bytes_per_second: f64,
    bytes_per_token: u64,
    ram_used: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// llama.cpp's figures, and the ratios of rillm's to them.
#[derive(Serialize)]
struct Against {
    file: String,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
    prefill_ratio: f64,
    decode_ratio: f64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let (model, source) = args.model.open(Access::Mmap)?;
    let workload = args.workload(&model)?;
    if let Some(file) = &args.against {
        files::check_input(file)?;
        File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        llama_bench::find()?;
    }
    let bytes_per_token = model.tape_len();
    let (speeds, ram_used) = measure(&model, source, workload)?;
    let against = args.against.as_ref().map(|file| {
        let theirs = llama_bench::run(file, workload)?;
        anyhow::Ok(Against {
            file: file.display().to_string(),
            prefill_tokens_per_second: theirs.prefill.median,
            decode_tokens_per_second: theirs.decode.median,
            prefill_ratio: speeds.prefill.median / theirs.prefill.median,
            decode_ratio: speeds.decode.median / theirs.decode.median,
        })
    });
    let Speeds { prefill, decode } = speeds;
    let report = BenchReport {
        model: args.model.model.as_ref().map_or("the bundled model".to_owned(), |path| path.display().to_string()),
        kernel: Kernel::fastest().name,
        threads: workload.threads,
        prompt_tokens: workload.prompt_tokens,
        generated_tokens: workload.generated_tokens,
        repetitions: workload.repetitions,
        prefill_tokens_per_second: prefill.median,
        prefill_tokens_per_second_min: prefill.min,
        prefill_tokens_per_second_max: prefill.max,
        decode_tokens_per_second: decode.median,
        decode_tokens_per_second_min: decode.min,
        decode_tokens_per_second_max: decode.max,
        bytes_per_second: decode.median * bytes_per_token as f64,
        bytes_per_token,
        ram_used,
        against: against.transpose()?,
    };
    let mut out = say::out();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report, &mut out)?;
    }
    Ok(())
}

impl Args {
    /// The workload, which the model's context must hold.
    fn workload(&self, model: &Model) -> Result<Workload> {
        let context = model.header().context_length;
        // A token is generated from a start token.
        let most = [context, context.saturating_sub(1).max(1)];
        let given = [("--prompt-tokens", self.prompt_tokens, 200), ("--max-tokens", self.max_tokens, 64)];
        let mut tokens = [0; 2];
        for ((tokens, most), (option, given, default)) in tokens.iter_mut().zip(most).zip(given) {
            *tokens = given.unwrap_or(default.min(most));
            ensure!(
                *tokens <= most,
                "{option} {tokens} is too much for this model's context of {context}; give at most {most}"
            );
        }
        let [prompt_tokens, generated_tokens] = tokens;
        Ok(Workload { prompt_tokens, generated_tokens, repetitions: self.repetitions, threads: self.threads.number() })
    }
}

/// Measures the model. Returns its speeds, and the bytes of memory used.
fn measure(model: &Model, source: ModelSource, workload: Workload) -> Result<(Speeds, usize)> {
    let Workload { prompt_tokens, generated_tokens, repetitions, .. } = workload;
    let context = (prompt_tokens as usize).max(generated_tokens as usize + 1);
    let options =
        PlanOptions::default().context(context).batch(BATCH.min(prompt_tokens as usize)).chunk(CHUNK).resident(0);
    let plan = Plan::new(model, &source, MemoryLen::internal(usize::MAX), &options)?;
    let ram = plan.memory().internal;
    let mut memory = vec![0; ram];
    let mut session = Session::from_plan(model, source, plan, Memory::internal(&mut memory))?;
    threads::use_in(&mut session, workload.threads)?;

    let vocab_size = model.header().vocab_size;
    // Tokens from all over the vocabulary: a step that has no factor in common with most sizes.
    let prompt: Vec<u32> = (0..prompt_tokens).map(|at| (u64::from(at) * 7919 % u64::from(vocab_size)) as u32).collect();
    let start = model.header().bos.unwrap_or(0);
    let [mut prefill, mut decode] = [Vec::new(), Vec::new()];
    let bar = progress::steps(u64::from(repetitions) + 1);
    for repetition in 0..=repetitions {
        session.reset();
        session.push(&prompt)?;
        let clock = Instant::now();
        block_on(session.logits(|_| ()))?;
        let prefill_speed = f64::from(prompt_tokens) / clock.elapsed().as_secs_f64();

        session.reset();
        session.push(&[start])?;
        let clock = Instant::now();
        for _ in 0..generated_tokens {
            block_on(session.next(&Sampling::GREEDY))?;
        }
        let decode_speed = f64::from(generated_tokens) / clock.elapsed().as_secs_f64();
        // The first repetition brings the weights into memory, and is not counted.
        if repetition > 0 {
            prefill.push(prefill_speed);
            decode.push(decode_speed);
        }
        bar.inc(1);
    }
    Ok((Speeds { prefill: Speed::of(prefill), decode: Speed::of(decode) }, ram))
}

/// Prompt tokens in one pass, as a plan has them where memory is plentiful.
const BATCH: usize = 32;
/// Bytes of one read of a source that is read.
const CHUNK: usize = 16 * 1024;

fn print(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    let mut field = |name: &str, value: String| writeln!(out, "{} {value}", style(format!("{name:<10}")).bold());
    field("model", format!("{}, {} bytes a token", report.model, grouped(report.bytes_per_token)))?;
    let threads = if report.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", report.threads) };
    field("kernel", format!("{}, {threads}", report.kernel))?;
    let speed = |median: f64, min: f64, max: f64, tokens: u32| {
        let [median, min, max] = [median, min, max].map(rounded);
        format!("{median} tokens/s ({min} to {max}), {tokens} tokens {} times", report.repetitions)
    };
    let BenchReport { prefill_tokens_per_second: median, prefill_tokens_per_second_min: min, .. } = *report;
    field("prefill", speed(median, min, report.prefill_tokens_per_second_max, report.prompt_tokens))?;
    let BenchReport { decode_tokens_per_second: median, decode_tokens_per_second_min: min, .. } = *report;
    field("decode", speed(median, min, report.decode_tokens_per_second_max, report.generated_tokens))?;
    field("weights", format!("{:.2} GB/s in decode", report.bytes_per_second / 1e9))?;
    if let Some(against) = &report.against {
        let beside = |speed, ratio| format!("{} tokens/s, ratio {ratio:.2}", rounded(speed));
        field("llama.cpp", against.file.clone())?;
        field("  prefill", beside(against.prefill_tokens_per_second, against.prefill_ratio))?;
        field("  decode", beside(against.decode_tokens_per_second, against.decode_ratio))?;
    }
    Ok(())
}

/// Three digits, or all of a whole number.
fn rounded(speed: f64) -> String {
    match speed {
        100.0.. => grouped(speed.round() as u64),
        10.0.. => format!("{speed:.1}"),
        _ => format!("{speed:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_the_median_and_the_ends() {
        assert_eq!(Speed::of(vec![5.0, 1.0, 2.0]), Speed { median: 2.0, min: 1.0, max: 5.0 });
        assert_eq!(Speed::of(vec![4.0, 1.0, 2.0, 8.0]), Speed { median: 3.0, min: 1.0, max: 8.0 });
        assert_eq!(Speed::of(vec![7.0]), Speed { median: 7.0, min: 7.0, max: 7.0 });
    }
}
