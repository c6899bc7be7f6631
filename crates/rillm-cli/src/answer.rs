//! The generation of one text, and its result as figures and as JSON.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use rillm::{Session, WeightSource};
use rillm_generate::{Averages, Generation, Metrics, Step, StopReason, Summary, Unit};
use serde::Serialize;

use crate::session_args::SessionArgs;
use crate::{interrupt, progress, say};

/// The JSON object of `--json`. Scripts depend on these field names.
#[derive(Debug, Serialize)]
pub struct AnswerJson {
    text: String,
    token_ids: Vec<u32>,
    prompt_tokens: usize,
    cached_tokens: usize,
    generated_tokens: usize,
    stop: &'static str,
    seed: u64,
    /// Tokens a second after the first generated token; the first one belongs to the prefill.
    tokens_per_second: f64,
    seconds_to_first_token: f64,
    ram_given: usize,
    ram_used: usize,
    context: usize,
    bytes_read: u64,
    reads: u64,
    seeks: u64,
    /// Average over the generated tokens after the first.
    bytes_per_token: f64,
    reads_per_token: f64,
    seeks_per_token: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_fingerprint: Option<String>,
}

/// Ticks a second of the clock, which counts nanoseconds.
const NANOSECONDS: u32 = 1_000_000_000;

/// A generated text and its figures.
pub struct Outcome {
    text: String,
    token_ids: Vec<u32>,
    /// Tokens in the session before the answer.
    pub prompt_tokens: usize,
    /// Those of `prompt_tokens` whose keys and values were in the cache already.
    pub cached_tokens: usize,
    /// Turns of the chat that were forgotten to make room for the answer.
    pub forgotten: u32,
    pub summary: Summary,
    pub logits: Option<u32>,
}

impl Outcome {
    /// The outcome as the JSON object of `--json`.
    pub fn report<S: WeightSource>(self, session: &Session<'_, S>) -> AnswerJson {
        let Summary { averages, stop, context, ram, seed, .. } = self.summary;
        let Averages { tokens, ticks, ticks_to_first, traffic } = averages;
        let each = |sum: u64| if tokens == 0 { 0.0 } else { sum as f64 / tokens as f64 };
        let seconds = |ticks: u64| ticks as f64 / f64::from(NANOSECONDS);
        let whole = session.stats().traffic;
        AnswerJson {
            text: self.text,
            token_ids: self.token_ids,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            generated_tokens: self.summary.tokens,
            stop: match stop {
                StopReason::EndOfText => "end_of_text",
                StopReason::StopString => "stop_string",
                StopReason::MaxTokens => "max_tokens",
                StopReason::ContextFull => "context_full",
                StopReason::Interrupted => "interrupted",
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

/// Prints a piece of the text and flushes. Prints nothing with `--json`.
pub fn show(piece: &str, json: bool) -> Result<()> {
    if !json {
        let mut out = say::out();
        out.write_all(piece.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

/// Steps `generation` to the end of the text, or until Ctrl-C. `seed` is only reported.
pub async fn generate<S: WeightSource<Error: std::error::Error + Send + Sync + 'static>>(
    session: &mut Session<'_, S>,
    mut generation: Generation<'_>,
    args: &SessionArgs,
    seed: u64,
    mut print: impl FnMut(&str) -> Result<()>,
) -> Result<Outcome> {
    let (prompt_tokens, cached_tokens) = (session.tokens().len(), session.computed());
    let (mut text, mut token_ids) = (String::new(), Vec::new());
    let mut print = |piece: &str| {
        text.push_str(piece);
        print(piece)
    };
    let start = Instant::now();
    let elapsed = || start.elapsed().as_nanos() as u64;
    let mut metrics = Metrics::new(0, session.stats().traffic);
    let mut bar = None;
    let stop = loop {
        if let Some(reason) = generation.done(session) {
            break reason;
        }
        if interrupt::requested() {
            break StopReason::Interrupted;
        }
        match generation.step(session).await? {
            Step::Prefill => {
                bar.get_or_insert_with(|| progress::tokens(prompt_tokens as u64))
                    .set_position(session.computed() as u64);
                continue;
            }
            Step::Token(mut text) => {
                bar = None;
                text.try_for_each(&mut print)?;
            }
            Step::Done(reason) => break reason,
        }
        metrics.token(elapsed(), session.stats().traffic);
        token_ids.extend(session.tokens().last());
    };
    generation.finish().try_for_each(print)?;

    let stats = session.stats();
    let summary = Summary {
        tokens: generation.generated(),
        averages: metrics.averages(elapsed(), stats.traffic),
        unit: Some(Unit::Time { per_second: NANOSECONDS }),
        stop,
        max_tokens_name: "--max-tokens",
        context: session.plan().context,
        ram: [(stats.memory.internal, args.memory.ram), (0, 0)],
        has_read: stats.traffic.bytes > 0,
        seed,
    };
    let (forgotten, logits) = (generation.forgotten_turns(), generation.fingerprint());
    Ok(Outcome { text, token_ids, prompt_tokens, cached_tokens, forgotten, summary, logits })
}
