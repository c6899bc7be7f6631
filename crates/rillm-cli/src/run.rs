//! `rillm run`: continue a prompt.

use std::io::{self, IsTerminal, Read, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args as _, FromArgMatches as _};
use console::style;
use indicatif::BinaryBytes;
use rillm::error::Error;
use rillm::model::Model;
use rillm::plan::{Plan, PlanError, PlanOptions};
use rillm::sampler::{Q16, Sampling};
use rillm::session::Session;
use rillm::source::WeightSource;
use rillm_console::stop::{StopError, StopStrings};
use rillm_console::summary::{Averages, Check, Meter, Summary, Unit};
use rillm_console::text::{Stop, Text};
use serde::Serialize;

use crate::block_on::block_on;
use crate::interrupt;
use crate::model_file::ModelArgs;
use crate::number;
use crate::prompt_cache;

const DEFAULT_PROMPT: &str = "Once upon a time";

/// Continue a prompt, the text streaming as it comes; then one line on standard error says what it took.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm run --prompt \"Anna found a key\"
  echo \"The little fox\" | rillm run --max-tokens 100 --temperature 0
  rillm run --model tiny-llm.rillm --ram 64K --context 128
  rillm run --prompt Hello --seed 7 --json | jq .bytes_per_token
  # The second time only what comes after the instructions is computed
  rillm run --prompt \"$(cat instructions.txt) Hello\" --prompt-cache run.cache
  # At the pace of a card over SPI
  rillm run --source throttled --card-rate 1.6M")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Text to continue, marks such as `</s>` in it included; if absent, what comes on standard input, or "Once upon a
    /// time" where that is a terminal or empty
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    /// Memory for the engine, a hard limit: 64K, 4M
    #[arg(long, value_name = "BYTES", default_value = "256K", allow_negative_numbers = true, value_parser = number::bytes)]
    ram: usize,
    /// Tokens to make room for, prompt and answer together; if absent, as many as the model was made for, or as fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Prompt tokens that go through the weights together; as many as the memory has room for if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Bytes to read at a time; as the memory has room for if absent
    #[arg(long, value_name = "BYTES", value_parser = number::bytes)]
    chunk: Option<usize>,
    /// End after so many tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Above 1 bolder, below 1 safer, 0 always the likeliest token
    #[arg(long, value_name = "T", default_value = "0.8", allow_negative_numbers = true, value_parser = number::q16)]
    temperature: Q16,
    /// Choose among so many of the likeliest tokens; 0 for the whole vocabulary
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Choose among the fewest tokens that have this probability together; 1 for all
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, value_parser = number::probability)]
    top_p: Q16,
    /// Choose among tokens with at least this share of the likeliest one's probability; 0 for all
    #[arg(long, value_name = "P", default_value = "0", allow_negative_numbers = true, value_parser = number::probability)]
    min_p: Q16,
    /// Make the last 64 tokens less likely to come again; 1 for no penalty
    #[arg(long, value_name = "R", default_value = "1", allow_negative_numbers = true, value_parser = number::penalty)]
    repeat_penalty: Q16,
    /// End before this string, up to 64 bytes; may be given up to 4 times
    #[arg(long, value_name = "STRING", value_parser = stop_string)]
    stop: Vec<String>,
    /// Keep what was computed in this file: what the next prompt has in common with it, from its start on, is not computed
    /// again. Written at the end, also after Ctrl-C
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<PathBuf>,
    /// The same seed gives the same text; from the clock if absent
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Say in one more line which tokens there are and what their logits add up to, to compare with a board's `/check on`
    #[arg(long)]
    check: bool,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What `rillm` alone does: the bundled model and the default prompt, whatever standard input is.
    pub fn story() -> Self {
        let command = Self::augment_args(clap::Command::new("run"));
        let matches = command.get_matches_from(["run", "--prompt", DEFAULT_PROMPT]);
        Self::from_arg_matches(&matches).expect("every other argument has a default")
    }

    fn sampling(&self) -> Sampling {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64 % 1_000_000);
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            seed: self.seed.unwrap_or_else(clock),
        }
    }

    fn plan_options(&self) -> PlanOptions {
        let defaults = PlanOptions::new(self.ram);
        PlanOptions {
            context: self.context.map(|n| n as usize),
            batch: self.batch.map(|n| n as usize),
            chunk: self.chunk,
            candidates: defaults.candidates.max(self.top_k as usize),
            ..defaults
        }
    }

    /// The plan's error in terms of the options that mend it.
    fn too_little_memory(&self, error: &PlanError) -> anyhow::Error {
        let PlanError { needed, given, context, fitting_context, smallest } = *error;
        let given = number::kibibytes(given);
        let smaller: String = [("--batch", self.batch.is_some()), ("--chunk", self.chunk.is_some())]
            .into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(option, _)| format!(", or a smaller {option}"))
            .collect();
        if fitting_context > 0 {
            let needed = number::kibibytes(needed);
            anyhow!(
                "a context of {context} needs {needed} of memory and --ram gives {given}; use --ram {needed}, or \
                 --context {fitting_context}{smaller}"
            )
        } else {
            let smallest = number::kibibytes(smallest);
            anyhow!(
                "a context of 1 needs {smallest} of memory and --ram gives {given}; use --ram {smallest} or more{smaller}"
            )
        }
    }

    fn prompt(&self) -> Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        if stdin().is_terminal() {
            return Ok(DEFAULT_PROMPT.to_owned());
        }
        let mut prompt = String::new();
        stdin().read_to_string(&mut prompt).context("cannot read the prompt from standard input")?;
        let prompt = prompt.trim_end_matches(['\r', '\n']);
        // Nothing there is what scripts and schedulers have for standard input: not a prompt, but none.
        Ok(if prompt.is_empty() { DEFAULT_PROMPT } else { prompt }.to_owned())
    }
}

/// What `--json` prints. Scripts rely on these names.
#[derive(Debug, Serialize)]
struct Report {
    text: String,
    token_ids: Vec<u32>,
    prompt_tokens: usize,
    cached_tokens: usize,
    generated_tokens: usize,
    stop: &'static str,
    seed: u64,
    /// Of the tokens after the first, which comes with the prompt.
    tokens_per_second: f64,
    seconds_to_first_token: f64,
    ram_given: usize,
    ram_used: usize,
    context: usize,
    bytes_read: u64,
    reads: u64,
    seeks: u64,
    /// Averages over the generated tokens after the first.
    bytes_per_token: f64,
    reads_per_token: f64,
    seeks_per_token: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_fingerprint: Option<String>,
}

/// A clock of nanoseconds.
const NANOSECONDS: u32 = 1_000_000_000;

/// What was written, and what it took.
struct Outcome {
    text: String,
    prompt_tokens: usize,
    /// Of these, those that were not computed.
    cached_tokens: usize,
    summary: Summary,
    logits: Option<u32>,
}

impl Outcome {
    fn report<S: WeightSource>(self, session: &Session<'_, S>) -> Report {
        let Summary { averages, stop, context, ram, seed, .. } = self.summary;
        let Averages { tokens, ticks, ticks_to_first, traffic } = averages;
        let each = |sum: u64| if tokens == 0 { 0.0 } else { sum as f64 / tokens as f64 };
        let seconds = |ticks: u64| ticks as f64 / f64::from(NANOSECONDS);
        let whole = session.stats().traffic;
        Report {
            text: self.text,
            token_ids: session.tokens()[self.prompt_tokens..].to_vec(),
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            generated_tokens: self.summary.tokens,
            stop: match stop {
                Stop::EndOfText => "end_of_text",
                Stop::StopString => "stop_string",
                Stop::MaxTokens => "max_tokens",
                Stop::ContextFull => "context_full",
                Stop::Interrupted => "interrupted",
            },
            seed,
            tokens_per_second: if tokens == 0 { 0.0 } else { tokens as f64 / seconds(ticks) },
            seconds_to_first_token: seconds(ticks_to_first),
            ram_given: ram[0].1,
            ram_used: ram[0].0,
            context,
            bytes_read: whole.bytes,
            reads: whole.reads,
            seeks: whole.seeks,
            bytes_per_token: each(traffic.bytes),
            reads_per_token: each(traffic.reads),
            seeks_per_token: each(traffic.seeks),
            logits_fingerprint: self.logits.map(|logits| format!("{logits:08x}")),
        }
    }
}

/// A string that is a stop string by itself.
fn stop_string(text: &str) -> Result<String, StopError> {
    StopStrings::new(&[text]).map(|_| text.to_owned())
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    // Ctrl-C ends the text after the token at hand.
    interrupt::watch()?;
    let stops: Vec<&str> = args.stop.iter().map(String::as_str).collect();
    let stops = StopStrings::new(&stops)?;
    let prompt = args.prompt()?;
    let (model, source) = args.model.open()?;
    let most = model.header().context_length;
    if let Some(context) = args.context.filter(|&context| context > most) {
        bail!("--context {context} is more than the {most} tokens that this model was made for");
    }
    let options = args.plan_options();
    let plan = Plan::new(&model, &source, &options).map_err(|error| args.too_little_memory(&error))?;
    // What the plan leaves of --ram is not needed.
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(plan.total())
        .with_context(|| format!("this computer has no {} to give", BinaryBytes(plan.total() as u64)))?;
    memory.resize(plan.total(), 0);
    let mut session = Session::new(&model, source, &options, &mut memory)?;
    block_on(session.push_text(&prompt)).map_err(|error| refused_prompt(error, &model))?;
    if let Some(path) = &args.prompt_cache {
        prompt_cache::reuse(path, &mut session)?;
    }
    let outcome = block_on(generate(&model, &mut session, args, &prompt, stops));

    if !args.json {
        // Ends the line of the text, also where an error did.
        writeln!(stdout())?;
    }
    let outcome = outcome?;
    if let Some(path) = &args.prompt_cache {
        prompt_cache::store(path, &session, &[])?;
    }
    let interrupted = outcome.summary.stop == Stop::Interrupted;
    if args.json {
        writeln!(stdout(), "{}", serde_json::to_string(&outcome.report(&session))?)?;
    } else {
        eprintln!("{}", style(outcome.summary).dim().for_stderr());
        if let Some(path) = &args.prompt_cache {
            let (cached, all, path) = (outcome.cached_tokens, outcome.prompt_tokens, path.display());
            eprintln!(
                "{}",
                style(format_args!("{cached} of the prompt's {all} tokens from {path}")).dim().for_stderr()
            );
        }
        if let Some(logits) = outcome.logits {
            eprintln!("{}", Check { ids: session.tokens(), logits });
        }
    }
    Ok(if interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

/// Why a prompt was not taken, in terms of the options that mend it.
fn refused_prompt(error: Error<io::Error>, model: &Model) -> anyhow::Error {
    match error {
        Error::ContextFull { tokens, context } => anyhow!(
            "the prompt has {tokens} tokens and there is room for {context}; shorten it{}",
            if context < model.header().context_length as usize { ", or raise --ram or --context" } else { "" }
        ),
        error => error.into(),
    }
}

async fn generate<S: WeightSource<Error: std::error::Error + Send + Sync + 'static>>(
    model: &Model,
    session: &mut Session<'_, S>,
    args: &Args,
    prompt: &str,
    stops: StopStrings<'_>,
) -> Result<Outcome> {
    let sampling = args.sampling();
    let (prompt_tokens, cached_tokens) = (session.tokens().len(), session.computed());
    let mut text = String::new();
    let mut print = |piece: &str| -> Result<()> {
        text.push_str(piece);
        if !args.json {
            let mut out = stdout().lock();
            out.write_all(piece.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    };
    if !args.json {
        let mut out = stdout().lock();
        write!(out, "{}", style(prompt).bold())?;
        out.flush()?;
    }

    let mut writing = Text::new(model, prompt, sampling, args.max_tokens, args.check).ending_before(stops);
    let start = Instant::now();
    let elapsed = || start.elapsed().as_nanos() as u64;
    let mut meter = Meter::new(0, session.stats().traffic);
    let stop = loop {
        if let Some(stop) = writing.limit(session) {
            break stop;
        }
        if interrupt::requested() {
            break Stop::Interrupted;
        }
        let ended = writing.next(model, session, &mut print).await??;
        meter.token(elapsed(), session.stats().traffic);
        if let Some(stop) = ended {
            break stop;
        }
    };
    writing.finish(print)?;

    let stats = session.stats();
    let summary = Summary {
        tokens: writing.generated(),
        averages: meter.averages(elapsed(), stats.traffic),
        unit: Some(Unit::Time { per_second: NANOSECONDS }),
        stop,
        max_tokens_name: "--max-tokens",
        context: session.plan().context,
        ram: [(stats.ram_used, args.ram), (0, 0)],
        has_read: stats.traffic.bytes > 0,
        seed: sampling.seed,
    };
    Ok(Outcome { text, prompt_tokens, cached_tokens, summary, logits: writing.fingerprint() })
}
