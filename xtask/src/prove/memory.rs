//! How far into a memory a session writes, by its plan.

use std::ops::RangeInclusive;

use rillm::plan::{Place, Plan, Region};

/// A memory may start at any multiple of four, and the engine uses it from the next multiple of eight on.
const ALIGNMENT: usize = 7;
/// Firmware tells what was touched in whole words, and regions are whole words.
const WORD: usize = 3;
/// Bytes that the last of the cache's arrays has for a position: a value's scale.
const SCALE_LEN: usize = 2;
const TOKEN_LEN: usize = 4;

/// Bytes of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Bytes that the plan has there, alignment included.
    pub planned: usize,
    /// The bytes from its start to the last one that a session writes to which comes to a history of `tokens`, the last one
    /// of them just chosen.
    pub touched: RangeInclusive<usize>,
}

/// What is to be expected of the memory `place`.
pub fn expected(plan: &Plan, place: Place, tokens: usize) -> Expected {
    let regions = plan.regions().into_iter().filter(|region| region.place == place && region.len > 0);
    let regions: Vec<Region> = regions.collect();
    let Some(last) = regions.last() else { return Expected { planned: 0, touched: 0..=0 } };
    let len: usize = regions.iter().map(|region| region.len).sum();
    let untouched = match last.name {
        // Read from the source as they are, once, as a whole.
        "pinned weights" => 0,
        // The last token has no key and value yet.
        "kv cache" => SCALE_LEN * (plan.context - (tokens - 1).min(plan.context)),
        "token history" => TOKEN_LEN * (plan.context - tokens.min(plan.context)),
        // Nothing else can be the last one.
        _ => len,
    };
    let end = len - untouched;
    Expected { planned: len + ALIGNMENT, touched: end.saturating_sub(WORD)..=end + ALIGNMENT }
}
