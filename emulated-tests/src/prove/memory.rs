//! The expected high-water mark of a memory, from the plan of a session.

use std::ops::RangeInclusive;

use rillm::{Allocation, Buffer, Plan, Region};

/// Most bytes lost to alignment: a memory starts at any multiple of 4, and the engine uses it from the next multiple of
/// 8 on.
const ALIGNMENT: usize = 7;
/// Most bytes lost to whole words: the firmware reports the high-water mark in words.
const WORD: usize = 3;
/// Bytes for one position in the last array of the KV cache: the scale of a value.
const SCALE_LEN: usize = 2;
const TOKEN_LEN: usize = 4;

/// The expected use of a memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Planned bytes, alignment included.
    pub planned: usize,
    /// Range of the high-water mark after a session whose history has `tokens`, the last one just chosen.
    pub touched: RangeInclusive<usize>,
}

/// The expected use of the memory `region`.
pub fn expected(plan: &Plan, region: Region, tokens: usize) -> Expected {
    let rows = plan.allocations().into_iter().filter(|row| row.region == region && row.len > 0);
    let rows: Vec<Allocation> = rows.collect();
    let Some(last) = rows.last() else { return Expected { planned: 0, touched: 0..=0 } };
    let len: usize = rows.iter().map(|row| row.len).sum();
    let untouched = match last.buffer {
        // Resident weights are loaded as a whole, without change.
        Buffer::ResidentWeights => 0,
        // The last token has no key and value yet.
        Buffer::KvCache => SCALE_LEN * (plan.context - (tokens - 1).min(plan.context)),
        Buffer::History => TOKEN_LEN * (plan.context - tokens.min(plan.context)),
        // No other buffer can be the last one.
        _ => len,
    };
    let end = len - untouched;
    Expected { planned: len + ALIGNMENT, touched: end.saturating_sub(WORD)..=end + ALIGNMENT }
}

#[cfg(test)]
mod tests {
    use rillm::{Bytes, CHECK_EVERY, MemoryLen, PlanOptions, Sampling};

    use super::*;
    use crate::prove::cases::Request;
    use crate::prove::host::{self, Setup};

    static MODEL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/rill-tales-1m/model.rillm"));

    /// The expected use of both memories after a text of 9 tokens, and the planned context, at most `context`.
    fn after_nine(internal: usize, external: usize, context: Option<usize>) -> ([Expected; 2], usize) {
        let text = Request { prompt: "Hello there", sampling: Sampling::GREEDY, tokens: 4 };
        let setup = Setup {
            memory: MemoryLen { internal, external },
            options: PlanOptions::default().context(context),
            check_every: CHECK_EVERY,
        };
        let (written, plan) = host::write(Bytes::copied(MODEL), setup, &[text]).expect("it fits");
        assert_eq!(written[0].ids.len(), 9);
        ([Region::Internal, Region::External].map(|region| expected(&plan, region, 9)), plan.context)
    }

    #[test]
    fn resident_weights_reach_to_the_end_and_there_is_nothing_without_a_second_memory() {
        let ([internal, external], _) = after_nine(128 << 10, 0, Some(32));
        assert_eq!(*internal.touched.end(), internal.planned);
        assert_eq!(external, Expected { planned: 0, touched: 0..=0 });
    }

    #[test]
    fn the_cache_ends_where_the_last_token_but_one_has_its_scale() {
        let ([internal, external], context) = after_nine(500 << 10, 4 << 20, None);
        assert_eq!(*internal.touched.end(), internal.planned - 2 * (context - 8));
        assert_eq!(*external.touched.end(), external.planned);
    }

    #[test]
    fn with_the_cache_in_the_second_memory_the_first_ends_with_the_last_token() {
        let ([internal, external], context) = after_nine(64 << 10, 1 << 20, None);
        assert_eq!(*internal.touched.end(), internal.planned - 4 * (context - 9));
        assert_eq!(*external.touched.end(), external.planned);
    }
}
