//! `rillm run`: continue a prompt.

use std::io::{self, IsTerminal, Read, Write, stdin, stdout};
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
use rillm::tokenizer::Decoder;
use serde::Serialize;

use crate::block_on::block_on;
use crate::interrupt;
use crate::model_file::ModelArgs;
use crate::number;

const DEFAULT_PROMPT: &str = "Once upon a time";

/// Continue a prompt, the text streaming as it comes; then one line on standard error says what it took.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm run --prompt \"Anna found a key\"
  echo \"The little fox\" | rillm run --max-tokens 100 --temperature 0
  rillm run --model tiny-llm.rillm --ram 64K --context 128
  rillm run --prompt Hello --seed 7 --json | jq .bytes_per_token
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
    /// The same seed gives the same text; from the clock if absent
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
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

/// Why the text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stop {
    EndOfText,
    MaxTokens,
    ContextFull,
    Interrupted,
}

/// What `--json` prints. Scripts rely on these names.
#[derive(Debug, Serialize)]
struct Report {
    text: String,
    token_ids: Vec<u32>,
    prompt_tokens: usize,
    generated_tokens: usize,
    stop: Stop,
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
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    // Ctrl-C ends the text after the token at hand.
    interrupt::watch()?;
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
    let report = block_on(generate(&model, &mut session, args, &prompt));

    if !args.json {
        // Ends the line of the text, also where an error did.
        writeln!(stdout())?;
    }
    let report = report?;
    if args.json {
        writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
    } else {
        eprintln!("{}", style(summary(&report)).dim().for_stderr());
    }
    Ok(if report.stop == Stop::Interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
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
) -> Result<Report> {
    let sampling = args.sampling();
    let prompt_tokens = session.tokens().len();
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

    // After a prompt the text goes on; without one it starts.
    let mut decoder = if prompt.is_empty() { model.tokenizer().decoder() } else { Decoder::new(false) };
    let start = Instant::now();
    let before = session.stats().traffic;
    let mut first = (start, before);
    let mut generated = 0;
    let stop = loop {
        if generated == args.max_tokens {
            break Stop::MaxTokens;
        }
        if session.tokens().len() == session.plan().context {
            break Stop::ContextFull;
        }
        if interrupt::requested() {
            break Stop::Interrupted;
        }
        let token = session.next(&sampling).await?;
        generated += 1;
        let end = model.header().is_eos(token.id);
        for piece in decoder.push(token.kind, token.text) {
            print(piece)?;
        }
        if generated == 1 {
            first = (Instant::now(), session.stats().traffic);
        }
        if end {
            break Stop::EndOfText;
        }
    };
    print(decoder.finish())?;

    let stats = session.stats();
    let traffic = stats.traffic;
    // Without a second token there is nothing but the first to speak of.
    let (tokens, seconds, since) = if generated > 1 {
        (generated - 1, first.0.elapsed().as_secs_f64(), first.1)
    } else {
        (generated, start.elapsed().as_secs_f64(), before)
    };
    let each = |now: u64, before: u64| if tokens == 0 { 0.0 } else { (now - before) as f64 / tokens as f64 };
    Ok(Report {
        text,
        token_ids: session.tokens()[prompt_tokens..].to_vec(),
        prompt_tokens,
        generated_tokens: generated,
        stop,
        seed: sampling.seed,
        tokens_per_second: if tokens == 0 { 0.0 } else { tokens as f64 / seconds },
        seconds_to_first_token: first.0.duration_since(start).as_secs_f64(),
        ram_given: args.ram,
        ram_used: stats.ram_used,
        context: session.plan().context,
        bytes_read: traffic.bytes,
        reads: traffic.reads,
        seeks: traffic.seeks,
        bytes_per_token: each(traffic.bytes, since.bytes),
        reads_per_token: each(traffic.reads, since.reads),
        seeks_per_token: each(traffic.seeks, since.seeks),
    })
}

/// One line for people.
fn summary(report: &Report) -> String {
    let end = match report.stop {
        Stop::EndOfText => String::new(),
        Stop::MaxTokens => ", --max-tokens reached".to_owned(),
        Stop::ContextFull => format!(", context of {} full", report.context),
        Stop::Interrupted => ", interrupted".to_owned(),
    };
    let reads = if report.bytes_read == 0 {
        "nothing read".to_owned()
    } else {
        format!(
            "{} in {:.1} reads and {:.1} seeks a token",
            BinaryBytes(report.bytes_per_token as u64),
            report.reads_per_token,
            report.seeks_per_token
        )
    };
    format!(
        "{} tokens at {:.1} tokens/s{end} · RAM {} of {} · {reads} · seed {}",
        report.generated_tokens,
        report.tokens_per_second,
        BinaryBytes(report.ram_used as u64),
        BinaryBytes(report.ram_given as u64),
        report.seed,
    )
}
