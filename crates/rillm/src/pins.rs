//! Which bytes of the tape stay in memory.
//!
//! The tape is divided into turns: a span that is kept, then a run that is read. [`Front`](crate::plan::Pinning::Front) is one
//! turn, [`Spread`](crate::plan::Pinning::Spread) one for each read. The spans lie in memory one after the other, as they
//! do on the tape.

use core::ops::Range;

use crate::source::SECTOR_LEN;

/// A sector's length as the positions on the tape have it.
const SECTOR: u64 = SECTOR_LEN as u64;

/// A division of the tape. All lengths but the tape's are whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pins {
    /// Bytes of the tape.
    tape: u64,
    /// Bytes that are kept, in all turns together.
    kept: u64,
    /// Bytes that are read in each turn but the last one, which may have fewer.
    run: u64,
    /// How many turns, at least one.
    turns: u64,
}

impl Pins {
    /// The first `kept` bytes of `tape` are kept.
    pub fn front(tape: u64, kept: u64) -> Self {
        let kept = kept.min(tape.next_multiple_of(SECTOR));
        Self { tape, kept, run: tape.saturating_sub(kept).next_multiple_of(SECTOR), turns: 1 }
    }

    /// Before each `run` bytes that are read, an even share of `kept` bytes is kept.
    pub fn spread(tape: u64, kept: u64, run: u64) -> Self {
        let front = Self::front(tape, kept);
        Self { run, turns: front.run.div_ceil(run.max(SECTOR)).max(1), ..front }
    }

    /// Bytes that are kept before the runs of the first `turns` turns.
    fn kept_in(&self, turns: u64) -> u64 {
        // Fewer than 2^32 sectors and fewer than 2^32 turns.
        self.kept / SECTOR * turns / self.turns * SECTOR
    }

    /// Where the span of a turn lies in the memory of what is kept; `None` after the last turn.
    pub fn span(&self, turn: u64) -> Option<Range<usize>> {
        (turn < self.turns).then(|| self.kept_in(turn) as usize..self.kept_in(turn + 1) as usize)
    }

    /// Where that span lies on the tape.
    pub fn span_on_tape(&self, turn: u64) -> Option<Range<u64>> {
        let before = turn * self.run;
        (turn < self.turns).then(|| before + self.kept_in(turn)..before + self.kept_in(turn + 1))
    }

    /// What of the tape's first `len` bytes is read in a turn; `None` after the last of such turns.
    pub fn run(&self, turn: u64, len: u64) -> Option<Range<u64>> {
        let start = self.span_on_tape(turn)?.end;
        let end = (start + self.run).min(len.min(self.tape));
        (start < end).then_some(start..end)
    }

    /// How much of the tape's first `len` bytes is read.
    pub fn read_of(&self, len: u64) -> u64 {
        if len >= self.tape {
            return self.tape.saturating_sub(self.kept);
        }
        self.runs(len).map(|run| run.end - run.start).sum()
    }

    /// Everything that is read of the tape's first `len` bytes, in order.
    pub fn runs(self, len: u64) -> impl Iterator<Item = Range<u64>> {
        (0..).map_while(move |turn| self.run(turn, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_and_runs_are_the_tape(tape in 1u64..200_000, kept in 0u64..500, run in 1u64..100, prefix in 0u64..200_000) {
            let (kept, run) = (kept * SECTOR, run * SECTOR);
            for pins in [Pins::front(tape, kept), Pins::spread(tape, kept, run)] {
                let (mut at, mut read, mut in_memory, mut read_of_prefix) = (0, 0, 0, 0);
                let shares: std::vec::Vec<u64> = (0..pins.turns).map(|turn| {
                    let (span, place) = (pins.span_on_tape(turn).unwrap(), pins.span(turn).unwrap());
                    assert_eq!((span.start, place.start), (at, in_memory));
                    assert_eq!(span.end - span.start, place.len() as u64);
                    (at, in_memory) = (span.end, place.end);
                    if let Some(run) = pins.run(turn, tape) {
                        assert_eq!(run.start, at);
                        read += run.end - run.start;
                        at = run.end;
                    }
                    span.end - span.start
                }).collect();
                // All of it, and of what is kept as much as there is.
                prop_assert!(at == tape || at == tape.next_multiple_of(SECTOR));
                prop_assert_eq!(in_memory as u64, kept.min(tape.next_multiple_of(SECTOR)));
                prop_assert!(read <= tape && pins.span(pins.turns).is_none() && pins.run(pins.turns, tape).is_none());
                // Evenly.
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                prop_assert!(most - least <= SECTOR);
                // What is read of a prefix is what is read of the tape, as far as the prefix goes.
                for (part, whole) in pins.runs(prefix).zip(pins.runs(tape)) {
                    prop_assert_eq!(part.start, whole.start);
                    prop_assert_eq!(part.end, whole.end.min(prefix));
                    read_of_prefix += part.end - part.start;
                }
                prop_assert_eq!((pins.read_of(prefix), pins.read_of(tape)), (read_of_prefix, read));
            }
            prop_assert!(Pins::spread(tape, kept, run).runs(tape).all(|read| read.end - read.start <= run));
        }
    }
}
