//! The options that `rillm run` and `rillm chat` share: memory, sampling, and the end of the text.

use std::iter::successors;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::error::ErrorKind;
use indicatif::BinaryBytes;
use rillm::{MemoryLen, Model, Plan, PlanError, PlanOptions, Q16, Sampling, WeightSource};
use rillm_generate::{StopError, StopStrings};

use crate::number;
use crate::source::Access;
use crate::threads;

/// Options for memory, sampling, and the end of the text.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionArgs {
    /// Memory for the engine, a hard limit: for example 64K or 4M
    #[arg(long, value_name = "BYTES", default_value = "256K", allow_negative_numbers = true, value_parser = number::bytes)]
    pub ram: usize,
    /// Tokens to make room for, prompt and answer together; without it, as many as the model supports and the memory
    /// holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// Prompt tokens to process in one pass over the weights; without it, as many as the memory holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Bytes of each read, of a source that is read; without it, as many as the memory holds
    #[arg(long, value_name = "BYTES", value_parser = number::bytes)]
    chunk: Option<usize>,
    /// Threads that share the rows of large matrices, 1 to 64; the text is the same with any number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=threads::MOST as i64))]
    pub threads: u32,
    /// Largest number of tokens to generate
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// 0 to 100: higher is more random, 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value = "0.8", allow_negative_numbers = true, value_parser = number::q16)]
    temperature: Q16,
    /// Choose among this many of the likeliest tokens; 0 for the whole vocabulary
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Choose among the fewest tokens whose probabilities add up to P, 0 to 1; 1 for all
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, value_parser = number::probability)]
    top_p: Q16,
    /// Choose among tokens with at least P times the probability of the likeliest one, 0 to 1; 0 for all
    #[arg(long, value_name = "P", default_value = "0", allow_negative_numbers = true, value_parser = number::probability)]
    min_p: Q16,
    /// Make the last 64 tokens less likely to be repeated, 1 to 100; 1 for no penalty
    #[arg(long, value_name = "R", default_value = "1", allow_negative_numbers = true, value_parser = number::penalty)]
    repeat_penalty: Q16,
    /// End the text before this string of up to 64 bytes; may be given up to 4 times
    #[arg(long, value_name = "STRING", value_parser = stop_string)]
    stop: Vec<String>,
    /// Seed of the random numbers: the same seed gives the same text; without it, taken from the clock
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SessionArgs {
    /// The sampling settings. Without `--seed`, each call has a different seed.
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

    /// How the weights are read unless `--source` says so: mapped weights are not read in chunks.
    pub fn default_source(&self) -> Access {
        if self.chunk.is_some() { Access::File } else { Access::Mmap }
    }

    fn plan_options(&self) -> PlanOptions {
        let defaults = PlanOptions::default();
        defaults
            .context(self.context.map(|n| n as usize))
            .batch(self.batch.map(|n| n as usize))
            .chunk(self.chunk)
            .candidates(defaults.candidates.max(self.top_k as usize))
    }

    /// Rephrases the plan's error so that it names the options that help.
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

    /// The smallest power of two above --ram that has room for `tokens`, and the context that it holds. None if
    /// --context sets the length, or if no amount of memory helps.
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

    /// The stop strings, for [`StopStrings`]. Too many of them end the program with a usage error.
    pub fn stops(&self) -> Vec<&str> {
        let stops: Vec<&str> = self.stop.iter().map(String::as_str).collect();
        if let Err(error) = StopStrings::new(&stops) {
            clap::Error::raw(ErrorKind::TooManyValues, format!("{error}\n")).exit();
        }
        stops
    }

    /// Plans the memory and allocates it.
    pub fn memory<S: WeightSource>(&self, model: &Model, source: &S) -> Result<(Plan, Vec<u8>)> {
        let most = model.header().context_length;
        if let Some(context) = self.context.filter(|&context| context > most) {
            bail!("--context {context} is more than the {most} tokens that this model was made for");
        }
        let options = self.plan_options();
        let ram = MemoryLen::internal(self.ram);
        let plan = Plan::new(model, source, ram, &options).map_err(|error| self.too_little_memory(&error))?;
        let needed = plan.memory().internal;
        // The part of --ram that the plan does not use is not allocated.
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(needed)
            .with_context(|| format!("this computer has no {} to give", BinaryBytes(needed as u64)))?;
        memory.resize(needed, 0);
        Ok((plan, memory))
    }
}

/// Parses one stop string.
fn stop_string(text: &str) -> Result<String, StopError> {
    StopStrings::new(&[text]).map(|_| text.to_owned())
}
