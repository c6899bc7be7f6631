//! What `rillm run` and `rillm chat` have in common: memory, sampling, and when a text ends.

use std::iter::successors;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::error::ErrorKind;
use indicatif::BinaryBytes;
use rillm::{MemoryLen, Model, Plan, PlanError, PlanOptions, Q16, Sampling, WeightSource};
use rillm_generate::{StopError, StopStrings};

use crate::number;

/// Memory, sampling, and when a text ends.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionArgs {
    /// Memory for the engine, a hard limit: 64K, 4M
    #[arg(long, value_name = "BYTES", default_value = "256K", allow_negative_numbers = true, value_parser = number::bytes)]
    pub ram: usize,
    /// Tokens to make room for, prompt and answer together; if absent, as many as the model was made for, or as fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// Prompt tokens that go through the weights together; as many as the memory has room for if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Bytes to read at a time; as the memory has room for if absent
    #[arg(long, value_name = "BYTES", value_parser = number::bytes)]
    chunk: Option<usize>,
    /// End after so many tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// 0 to 100: above 1 bolder, below 1 safer, 0 always the likeliest token
    #[arg(long, value_name = "T", default_value = "0.8", allow_negative_numbers = true, value_parser = number::q16)]
    temperature: Q16,
    /// Choose among so many of the likeliest tokens; 0 for the whole vocabulary
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Choose among the fewest tokens that have this probability together, 0 to 1; 1 for all
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, value_parser = number::probability)]
    top_p: Q16,
    /// Choose among tokens with at least this share of the likeliest one's probability, 0 to 1; 0 for all
    #[arg(long, value_name = "P", default_value = "0", allow_negative_numbers = true, value_parser = number::probability)]
    min_p: Q16,
    /// Make the last 64 tokens less likely to come again, 1 to 100; 1 for no penalty
    #[arg(long, value_name = "R", default_value = "1", allow_negative_numbers = true, value_parser = number::penalty)]
    repeat_penalty: Q16,
    /// End before this string, up to 64 bytes; may be given up to 4 times
    #[arg(long, value_name = "STRING", value_parser = stop_string)]
    stop: Vec<String>,
    /// The same seed gives the same text; from the clock if absent
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SessionArgs {
    /// How tokens are chosen; without a seed, with another one each time.
    pub fn sampling(&self) -> Sampling {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64 % 1_000_000);
        Sampling::GREEDY
            .temperature(self.temperature)
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p)
            .repeat_penalty(self.repeat_penalty)
            .seed(self.seed.unwrap_or_else(clock))
    }

    fn plan_options(&self) -> PlanOptions {
        let defaults = PlanOptions::default();
        defaults
            .context(self.context.map(|n| n as usize))
            .batch(self.batch.map(|n| n as usize))
            .chunk(self.chunk)
            .candidates(defaults.candidates.max(self.top_k as usize))
    }

    /// The plan's error in terms of the options that mend it.
    fn too_little_memory(&self, error: &PlanError) -> anyhow::Error {
        let PlanError { needed, given, context, fitting_context, smallest } = *error;
        let given = number::exactly(given);
        let smaller: String = [("--batch", self.batch.is_some()), ("--chunk", self.chunk.is_some())]
            .into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(option, _)| format!(", or a smaller {option}"))
            .collect();
        if fitting_context > 0 {
            let needed = number::at_least(needed);
            anyhow!(
                "a context of {context} needs {needed} of memory and --ram gives {given}; use --ram {needed}, or \
                 --context {fitting_context}{smaller}"
            )
        } else {
            let smallest = number::at_least(smallest);
            anyhow!(
                "a context of 1 needs {smallest} of memory and --ram gives {given}; use --ram {smallest} or more{smaller}"
            )
        }
    }

    /// More memory than --ram gives, a power of two, that has room for `tokens`, and the context that it has room for. None
    /// where --context says how long that is, and where no memory helps.
    pub fn larger_ram<S: WeightSource>(&self, model: &Model, source: &S, tokens: usize) -> Option<(usize, usize)> {
        if self.context.is_some() {
            return None;
        }
        let first = self.ram.checked_add(1)?.checked_next_power_of_two();
        let options = self.plan_options();
        let context = |ram| Plan::new(model, source, MemoryLen::internal(ram), &options).map(|plan| plan.context);
        let mut contexts =
            successors(first, |ram| ram.checked_mul(2)).filter_map(|ram| Some((ram, context(ram).ok()?)));
        contexts.find(|&(_, context)| context >= tokens)
    }

    /// The stop strings, for [`StopStrings`]. Too many end the program, as other wrong arguments do.
    pub fn stops(&self) -> Vec<&str> {
        let stops: Vec<&str> = self.stop.iter().map(String::as_str).collect();
        if let Err(error) = StopStrings::new(&stops) {
            clap::Error::raw(ErrorKind::TooManyValues, format!("{error}\n")).exit();
        }
        stops
    }

    /// Plans the memory, and takes it.
    pub fn memory<S: WeightSource>(&self, model: &Model, source: &S) -> Result<(Plan, Vec<u8>)> {
        let most = model.header().context_length;
        if let Some(context) = self.context.filter(|&context| context > most) {
            bail!("--context {context} is more than the {most} tokens that this model was made for");
        }
        let options = self.plan_options();
        let ram = MemoryLen::internal(self.ram);
        let plan = Plan::new(model, source, ram, &options).map_err(|error| self.too_little_memory(&error))?;
        let needed = plan.memory().internal;
        // What the plan leaves of --ram is not needed.
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(needed)
            .with_context(|| format!("this computer has no {} to give", BinaryBytes(needed as u64)))?;
        memory.resize(needed, 0);
        Ok((plan, memory))
    }
}

/// A string that is a stop string by itself.
fn stop_string(text: &str) -> Result<String, StopError> {
    StopStrings::new(&[text]).map(|_| text.to_owned())
}
