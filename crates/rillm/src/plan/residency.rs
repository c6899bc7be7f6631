//! Resident spans: the bytes of the tape that stay in memory.
//!
//! The tape is divided into turns: a resident span, then a run that is read. [`Front`](super::Residency::Front) has one
//! turn, [`Spread`](super::Residency::Spread) one for each read. The spans lie in memory in tape order, without gaps.
//! This division determines the traffic of a pass, as [`Counted`](crate::source::Counted) counts it.

use core::ops::Range;

use super::Plan;
use crate::model::Model;
use crate::source::{SECTOR_LEN, Sector};
use crate::stats::Traffic;

/// The sector length as a tape position.
const SECTOR: u64 = SECTOR_LEN as u64;

/// A division of the tape. All lengths except the tape's are whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResidentSpans {
    /// Bytes of the tape.
    tape: u64,
    /// Resident bytes of all turns together.
    resident: u64,
    /// Bytes read in each turn; the last turn may have fewer.
    run: u64,
    /// Number of turns, at least one.
    turns: u64,
}

impl ResidentSpans {
    /// The first `resident` bytes of `tape` are resident.
    pub fn front(tape: u64, resident: u64) -> Self {
        let resident = resident.min(tape.next_multiple_of(SECTOR));
        Self { tape, resident, run: tape.saturating_sub(resident).next_multiple_of(SECTOR), turns: 1 }
    }

    /// Each run of `run` bytes has an equal share of the `resident` bytes before it.
    pub fn spread(tape: u64, resident: u64, run: u64) -> Self {
        let front = Self::front(tape, resident);
        Self { run, turns: front.run.div_ceil(run.max(SECTOR)).max(1), ..front }
    }

    /// Resident bytes of the first `turns` turns.
    fn resident_in(&self, turns: u64) -> u64 {
        // Fewer than 2^32 sectors and fewer than 2^32 turns.
        self.resident / SECTOR * turns / self.turns * SECTOR
    }

    /// The span of a turn, as a range in the memory of the resident weights; `None` after the last turn.
    pub fn span(&self, turn: u64) -> Option<Range<usize>> {
        (turn < self.turns).then(|| self.resident_in(turn) as usize..self.resident_in(turn + 1) as usize)
    }

    /// The same span, as a range on the tape.
    pub fn span_on_tape(&self, turn: u64) -> Option<Range<u64>> {
        let before = turn * self.run;
        (turn < self.turns).then(|| before + self.resident_in(turn)..before + self.resident_in(turn + 1))
    }

    /// The part of the tape's first `len` bytes that is read in a turn; `None` after the last such turn.
    pub fn run(&self, turn: u64, len: u64) -> Option<Range<u64>> {
        let start = self.span_on_tape(turn)?.end;
        let end = (start + self.run).min(len.min(self.tape));
        (start < end).then_some(start..end)
    }

    /// Number of bytes read of the tape's first `len` bytes.
    pub fn read_of(&self, len: u64) -> u64 {
        if len >= self.tape {
            return self.tape.saturating_sub(self.resident);
        }
        self.runs(len).map(|run| run.end - run.start).sum()
    }

    /// The runs of the tape's first `len` bytes, in order.
    pub fn runs(self, len: u64) -> impl Iterator<Item = Range<u64>> {
        (0..).map_while(move |turn| self.run(turn, len))
    }
}

impl Plan {
    /// The traffic of a pass over the tape once the resident weights are loaded. With `head`, the pass includes the
    /// head; otherwise it ends with the last layer's keys and values, as for the earlier tokens of a prompt.
    pub fn pass_traffic(&self, model: &Model, head: bool) -> Traffic {
        let len = if head { model.tape_len() } else { model.prefix_len() };
        let mut traffic = Traffic { resident_bytes: len, ..Traffic::default() };
        if self.chunk == 0 {
            // The whole tape is resident or lent by the source.
            return traffic;
        }
        let mut end = None;
        for run in self.resident_spans(model.tape_len()).runs(len) {
            let read = run.end - run.start;
            traffic.reads += read.div_ceil(self.chunk as u64);
            traffic.bytes += read.next_multiple_of(SECTOR);
            traffic.seeks += u64::from(end != Some(run.start));
            traffic.resident_bytes -= read;
            end = Some(run.end);
        }
        traffic
    }

    /// The parts of the tape that a pass reads, in order, as bytes from its start. All other parts are resident, or lent by the
    /// source.
    pub fn streamed(&self, model: &Model) -> impl Iterator<Item = Range<u64>> + use<> {
        // Without a chunk, nothing is read.
        let len = if self.chunk == 0 { 0 } else { model.tape_len() };
        self.resident_spans(model.tape_len()).runs(len)
    }

    /// The traffic of reading the embedding of token `id` from a source that does not lend its memory.
    pub fn embedding_traffic(&self, model: &Model, id: u32) -> Traffic {
        let (_, at) = Sector::of(model.record_offset(id));
        let bytes = (at + model.embedding().record_len as usize).next_multiple_of(SECTOR_LEN);
        Traffic { reads: 1, bytes: bytes as u64, seeks: 1, resident_bytes: 0 }
    }

    /// The most that a token reads to compute its best logits again (see [`Rescoring`](crate::format::Rescoring)), from a
    /// source that does not lend its memory.
    pub fn rescoring_traffic(&self, model: &Model) -> Traffic {
        let Some(rows) = model.rescoring() else { return Traffic::default() };
        // The worst case: a row that starts at the last four bytes of a sector.
        let bytes = (rows.tensor.row_len() + SECTOR_LEN - 4).next_multiple_of(SECTOR_LEN) as u64;
        let most = rows.most(model.header().vocab_size) as u64;
        Traffic { reads: most, bytes: most * bytes, seeks: most, resident_bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_and_runs_are_the_tape(tape in 1u64..200_000, resident_sectors in 0u64..500, run in 1u64..100, prefix in 0u64..200_000) {
            let (resident, run) = (resident_sectors * SECTOR, run * SECTOR);
            for spans in [ResidentSpans::front(tape, resident), ResidentSpans::spread(tape, resident, run)] {
                let (mut at, mut read, mut in_memory, mut read_of_prefix) = (0, 0, 0, 0);
                let shares: std::vec::Vec<u64> = (0..spans.turns).map(|turn| {
                    let (span, place) = (spans.span_on_tape(turn).unwrap(), spans.span(turn).unwrap());
                    assert_eq!((span.start, place.start), (at, in_memory));
                    assert_eq!(span.end - span.start, place.len() as u64);
                    (at, in_memory) = (span.end, place.end);
                    if let Some(run) = spans.run(turn, tape) {
                        assert_eq!(run.start, at);
                        read += run.end - run.start;
                        at = run.end;
                    }
                    span.end - span.start
                }).collect();
                // The turns cover the whole tape and the requested resident bytes.
                prop_assert!(at == tape || at == tape.next_multiple_of(SECTOR));
                prop_assert_eq!(in_memory as u64, resident.min(tape.next_multiple_of(SECTOR)));
                prop_assert!(read <= tape && spans.span(spans.turns).is_none() && spans.run(spans.turns, tape).is_none());
                // The shares are even.
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                prop_assert!(most - least <= SECTOR);
                // The runs of a prefix are the runs of the tape, cut at the prefix.
                for (part, whole) in spans.runs(prefix).zip(spans.runs(tape)) {
                    prop_assert_eq!(part.start, whole.start);
                    prop_assert_eq!(part.end, whole.end.min(prefix));
                    read_of_prefix += part.end - part.start;
                }
                prop_assert_eq!((spans.read_of(prefix), spans.read_of(tape)), (read_of_prefix, read));
            }
            prop_assert!(ResidentSpans::spread(tape, resident, run).runs(tape).all(|read| read.end - read.start <= run));
        }
    }
}
