//! The options for memory and threads of the commands that run a model.

use std::iter::successors;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::BinaryBytes;
use rillm::{MemoryLen, Model, Plan, PlanError, PlanOptions, WeightSource};

use crate::number;
use crate::source::Access;
use crate::threads::ThreadArgs;

/// Options for memory and threads.
#[derive(Clone, Debug, clap::Args)]
pub struct MemoryArgs {
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
    #[command(flatten)]
    pub threads: ThreadArgs,
}

impl MemoryArgs {
    /// How the weights are read unless `--source` says so: mapped weights are not read in chunks.
    pub fn default_source(&self) -> Access {
        if self.chunk.is_some() { Access::File } else { Access::Mmap }
    }

    fn options(&self, candidates: usize) -> PlanOptions {
        PlanOptions::default()
            .context(self.context.map(|n| n as usize))
            .batch(self.batch.map(|n| n as usize))
            .chunk(self.chunk)
            .candidates(candidates)
    }

    /// Rephrases the plan's error so that it names the options that help.
    fn too_little_memory(&self, error: &PlanError) -> anyhow::Error {
        let PlanError { needed, given, context, fitting_context, smallest, .. } = *error;
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
    pub fn larger_ram<S: WeightSource>(
        &self,
        model: &Model,
        source: &S,
        candidates: usize,
        tokens: usize,
    ) -> Option<(usize, usize)> {
        if self.context.is_some() {
            return None;
        }
        let first = self.ram.checked_add(1)?.checked_next_power_of_two();
        let options = self.options(candidates);
        let context = |ram| Plan::new(model, source, MemoryLen::internal(ram), &options).map(|plan| plan.context);
        let mut contexts =
            successors(first, |ram| ram.checked_mul(2)).filter_map(|ram| Some((ram, context(ram).ok()?)));
        contexts.find(|&(_, context)| context >= tokens)
    }

    /// Plans the memory and allocates it.
    pub fn plan<S: WeightSource>(&self, model: &Model, source: &S, candidates: usize) -> Result<(Plan, Vec<u8>)> {
        let most = model.header().context_length;
        if let Some(context) = self.context.filter(|&context| context > most) {
            bail!("--context {context} is more than the {most} tokens that this model was made for");
        }
        let options = self.options(candidates);
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
