//! The options that `rillm run` and `rillm chat` share: memory, sampling, and the end of the text.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::error::ErrorKind;
use rillm::{Model, Plan, PlanOptions, Q16, Sampling, WeightSource};
use rillm_generate::{StopError, StopStrings};

use crate::memory_args::MemoryArgs;
use crate::number;

/// Options for memory, sampling, and the end of the text.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionArgs {
    #[command(flatten)]
    pub memory: MemoryArgs,
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
        self.memory.plan(model, source, self.candidates())
    }

    /// See [`MemoryArgs::larger_ram`].
    pub fn larger_ram<S: WeightSource>(&self, model: &Model, source: &S, tokens: usize) -> Option<(usize, usize)> {
        self.memory.larger_ram(model, source, self.candidates(), tokens)
    }

    /// Number of tokens that the sampler keeps.
    fn candidates(&self) -> usize {
        PlanOptions::default().candidates.max(self.top_k as usize)
    }
}

/// Parses one stop string.
fn stop_string(text: &str) -> Result<String, StopError> {
    StopStrings::new(&[text]).map(|_| text.to_owned())
}
