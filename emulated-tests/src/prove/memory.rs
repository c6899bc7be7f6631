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

#[cfg(test)]
mod tests {
    use rillm::plan::PlanOptions;
    use rillm::sampler::Sampling;
    use rillm::sources::Bytes;

    use super::*;
    use crate::prove::cases::Text;
    use crate::prove::host;

    static MODEL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/rill-tales-1m/model.rillm"));

    /// What is to be expected of both memories after a text that comes to 9 tokens, and how long the plan's context is.
    fn after_nine(options: &PlanOptions) -> ([Expected; 2], usize) {
        let text = Text { prompt: "Hello there", sampling: Sampling::GREEDY, tokens: 4 };
        let (written, plan) = host::write(Bytes::copied(MODEL), options, &[text]).expect("it fits");
        assert_eq!(written[0].ids.len(), 9);
        ([Place::Fast, Place::Large].map(|place| expected(&plan, place, 9)), plan.context)
    }

    #[test]
    fn pinned_weights_reach_to_the_end_and_there_is_nothing_without_a_second_memory() {
        let ([fast, large], _) = after_nine(&PlanOptions::new(128 << 10));
        assert_eq!(*fast.touched.end(), fast.planned);
        assert_eq!(large, Expected { planned: 0, touched: 0..=0 });
    }

    #[test]
    fn the_cache_ends_where_the_last_token_but_one_has_its_scale() {
        let ([fast, large], context) = after_nine(&PlanOptions { large: 4 << 20, ..PlanOptions::new(500 << 10) });
        assert_eq!(*fast.touched.end(), fast.planned - 2 * (context - 8));
        assert_eq!(*large.touched.end(), large.planned);
    }

    #[test]
    fn with_the_cache_in_the_second_memory_the_first_ends_with_the_last_token() {
        let ([fast, large], context) = after_nine(&PlanOptions { large: 1 << 20, ..PlanOptions::new(64 << 10) });
        assert_eq!(*fast.touched.end(), fast.planned - 4 * (context - 9));
        assert_eq!(*large.touched.end(), large.planned);
    }
}
