//! What a session has done: what it read, and where its time went.

use core::cell::Cell;
use core::ops::{AddAssign, Index, Sub};

use crate::plan::MemoryLen;

/// A counter that wraps around: instructions, cycles, microseconds. It must not go round once while a single matrix, a read
/// or a prompt's tokens are at work.
pub type Clock = fn() -> u32;

/// Counters of a session, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What was read.
    pub traffic: Traffic,
    /// Tokens that went through the layers, prompts included.
    pub tokens: u64,
    /// Passes over the tape, whole or up to the last layer's keys and values.
    pub passes: u64,
    /// Bytes of memory in use.
    pub memory: MemoryLen,
    /// What the time went on, by the session's clock; zeros without one.
    pub times: StageTimes,
}

/// What was read from a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls of [`WeightSource::read`](crate::WeightSource::read).
    pub reads: u64,
    /// Bytes that they asked for.
    pub bytes: u64,
    /// Reads that did not start where the one before ended; the first one counts.
    pub seeks: u64,
    /// Bytes used where they lay in memory: resident, or lent by the source.
    pub resident_bytes: u64,
}

/// What was read since an earlier count.
impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            bytes: self.bytes - earlier.bytes,
            seeks: self.seeks - earlier.seeks,
            resident_bytes: self.resident_bytes - earlier.resident_bytes,
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.seeks += other.seeks;
        self.resident_bytes += other.resident_bytes;
    }
}

/// What a session spends time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Text to tokens.
    Tokenizer,
    /// Embedding rows, unpacked.
    Embedding,
    /// RMSNorm, and the residual connection before it.
    Norm,
    /// The matrices of the layers.
    Matmul,
    /// Keys and values into the cache, rotary embedding, scores, softmax, and the weighted sum of values.
    Attention,
    /// SiLU, and the products with the gate.
    Mlp,
    /// The matrix of the head.
    Head,
    /// The choice of a token, and whatever else looks at the logits.
    Sampler,
    /// Checksums of what was read.
    Checksum,
    /// The source's reads, whether or not something was computed meanwhile.
    Read,
    /// Time in which the layers had nothing to multiply, because of the source. Of a source that blocks it is the reads' time.
    Wait,
}

impl Stage {
    /// All stages: first those in which the CPU computes, in the order in which a token meets them, then the source's two.
    pub const ALL: [Self; 11] = [
        Self::Tokenizer,
        Self::Embedding,
        Self::Norm,
        Self::Matmul,
        Self::Attention,
        Self::Mlp,
        Self::Head,
        Self::Sampler,
        Self::Checksum,
        Self::Read,
        Self::Wait,
    ];

    /// The stage in one lower-case word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer",
            Self::Embedding => "embedding",
            Self::Norm => "norm",
            Self::Matmul => "matmul",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Head => "head",
            Self::Sampler => "sampler",
            Self::Checksum => "checksum",
            Self::Read => "read",
            Self::Wait => "wait",
        }
    }
}

/// Ticks of a session's clock, by [`Stage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes([u64; Stage::ALL.len()]);

impl StageTimes {
    /// What the CPU computed: all stages but the source's.
    pub fn compute(&self) -> u64 {
        self.0[..Stage::Read as usize].iter().sum()
    }

    /// The time that passed: what the CPU computed, and what it waited for the source. Reads that happened meanwhile took no
    /// time of their own.
    pub fn total(&self) -> u64 {
        self.compute() + self[Stage::Wait]
    }
}

impl Index<Stage> for StageTimes {
    type Output = u64;

    fn index(&self, stage: Stage) -> &u64 {
        &self.0[stage as usize]
    }
}

/// Ticks since an earlier count.
impl Sub for StageTimes {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(core::array::from_fn(|stage| self.0[stage] - earlier.0[stage]))
    }
}

impl AddAssign for StageTimes {
    fn add_assign(&mut self, other: Self) {
        for (ticks, other) in self.0.iter_mut().zip(other.0) {
            *ticks += other;
        }
    }
}

/// A clock, or none, and what was counted by it.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    pub clock: Option<Clock>,
    ticks: [Cell<u64>; Stage::ALL.len()],
}

impl Stopwatch {
    /// The time; always the same without a clock.
    pub fn now(&self) -> u32 {
        self.clock.map_or(0, |clock| clock())
    }

    /// Ticks since an earlier time.
    pub fn since(&self, start: u32) -> u64 {
        self.now().wrapping_sub(start).into()
    }

    /// Counts ticks.
    pub fn add(&self, stage: Stage, ticks: u64) {
        self.ticks[stage as usize].update(|sum| sum + ticks);
    }

    /// Counts the ticks from now until the result is dropped.
    #[must_use]
    pub fn time(&self, stage: Stage) -> Timing<'_> {
        Timing { watch: self, stage, start: self.now() }
    }

    /// Ticks of a stage so far, to be set otherwise.
    pub fn ticks(&self, stage: Stage) -> &Cell<u64> {
        &self.ticks[stage as usize]
    }

    /// All that was counted.
    pub fn times(&self) -> StageTimes {
        StageTimes(core::array::from_fn(|stage| self.ticks[stage].get()))
    }
}

/// A stage under way.
pub(crate) struct Timing<'w> {
    watch: &'w Stopwatch,
    stage: Stage,
    start: u32,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.watch.add(self.stage, self.watch.since(self.start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_numbered_as_they_are_listed() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index, "{}", stage.name());
        }
    }

    #[test]
    fn a_stage_lasts_until_its_timing_is_dropped() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NOW: AtomicU32 = AtomicU32::new(u32::MAX - 1);
        let watch = Stopwatch { clock: Some(|| NOW.fetch_add(3, Ordering::Relaxed)), ..Stopwatch::default() };
        drop(watch.time(Stage::Norm));
        let earlier = watch.times();
        drop(watch.time(Stage::Norm));
        watch.add(Stage::Wait, 5);
        watch.add(Stage::Read, 7);
        let spent = watch.times() - earlier;
        assert_eq!((spent[Stage::Norm], spent.compute(), spent.total()), (3, 3, 8));
        let mut sum = spent;
        sum += spent;
        assert_eq!(sum[Stage::Read], 14);
    }
}
