//! Session statistics: bytes read, and time by stage.

use core::cell::Cell;
use core::ops::{AddAssign, Index, Sub};

use crate::plan::MemoryLen;

/// A wrapping 32-bit counter: instructions, cycles or microseconds. It must not complete a full round during a single
/// matrix, a read, or the encoding of a prompt.
pub type Clock = fn() -> u32;

/// Counters of a session since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads from the source.
    pub traffic: Traffic,
    /// Tokens that went through the layers, prompt tokens included.
    pub tokens: u64,
    /// Passes over the tape, complete or up to the last layer's keys and values.
    pub passes: u64,
    /// Memory of the plan, in bytes.
    pub memory: MemoryLen,
    /// Time by stage, in ticks of the session's clock; zeros without a clock.
    pub times: StageTimes,
}

/// Reads from a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls of [`WeightSource::read`](crate::WeightSource::read).
    pub reads: u64,
    /// Bytes requested by these reads.
    pub bytes: u64,
    /// Reads that did not start where the previous one ended, the first read included.
    pub seeks: u64,
    /// Bytes used in place: resident weights, or bytes lent by the source.
    pub resident_bytes: u64,
}

/// The difference to an earlier count.
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

/// A stage of the computation, for the timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Encoding of text.
    Tokenizer,
    /// Dequantisation of embedding rows.
    Embedding,
    /// RMSNorm, and the residual connection before it.
    Norm,
    /// The matrices of the layers.
    Matmul,
    /// Storing of keys and values in the cache, rotary embedding, scores, softmax, and the weighted sum of values.
    Attention,
    /// SiLU, and the multiplication by the gate.
    Mlp,
    /// The matrix of the head.
    Head,
    /// Sampling, and any other use of the logits.
    Sampler,
    /// Checksums of the weights.
    Checksum,
    /// The source's reads, including those that overlap with computation.
    Read,
    /// Time in which the layers wait for the source. For a blocking source, this is the time of its reads.
    Wait,
}

impl Stage {
    /// All stages: first the CPU's, in the order in which a token passes through them, then the two stages of the
    /// source.
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

    /// The stage's name: one lower-case word.
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

/// Ticks of the session's clock, indexed by [`Stage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes([u64; Stage::ALL.len()]);

impl StageTimes {
    /// Ticks of computation: the sum of all stages except [`Stage::Read`] and [`Stage::Wait`].
    pub fn compute(&self) -> u64 {
        self.0[..Stage::Read as usize].iter().sum()
    }

    /// Elapsed ticks: computation and waiting. Reads that overlap with computation add nothing.
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

/// The difference to an earlier count.
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

/// An optional clock, and the ticks of `LEN` stages from the stage with the number `FIRST` on: by default, of those that a
/// session times itself. It must not be asked for any other.
#[derive(Debug)]
pub(crate) struct Stopwatch<const FIRST: usize = 0, const LEN: usize = { Stage::Checksum as usize }> {
    pub clock: Option<Clock>,
    ticks: [Cell<u64>; LEN],
}

/// The stopwatch of the checksums.
pub(crate) type ChecksumWatch = Stopwatch<{ Stage::Checksum as usize }, 1>;
/// The stopwatch of a source: reads and waits.
pub(crate) type ReadWatch = Stopwatch<{ Stage::Read as usize }, 2>;

impl<const FIRST: usize, const LEN: usize> Default for Stopwatch<FIRST, LEN> {
    fn default() -> Self {
        Self { clock: None, ticks: [const { Cell::new(0) }; LEN] }
    }
}

impl<const FIRST: usize, const LEN: usize> Stopwatch<FIRST, LEN> {
    /// The current time; constant without a clock.
    pub fn now(&self) -> u32 {
        self.clock.map_or(0, |clock| clock())
    }

    /// Ticks since `start`.
    pub fn since(&self, start: u32) -> u64 {
        self.now().wrapping_sub(start).into()
    }

    /// Adds ticks to a stage.
    pub fn add(&self, stage: Stage, ticks: u64) {
        self.ticks(stage).update(|sum| sum + ticks);
    }

    /// Counts ticks for a stage until the returned guard is dropped.
    #[must_use]
    pub fn time(&self, stage: Stage) -> Timing<'_> {
        Timing { clock: self.clock, ticks: self.ticks(stage), start: self.now() }
    }

    /// The counter of a stage, for direct changes.
    pub fn ticks(&self, stage: Stage) -> &Cell<u64> {
        &self.ticks[stage as usize - FIRST]
    }

    /// Adds the ticks of its stages so far.
    pub fn add_to(&self, times: &mut StageTimes) {
        for (sum, ticks) in times.0[FIRST..].iter_mut().zip(&self.ticks) {
            *sum += ticks.get();
        }
    }
}

/// A running measurement of a stage.
pub(crate) struct Timing<'w> {
    clock: Option<Clock>,
    ticks: &'w Cell<u64>,
    start: u32,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let now = self.clock.map_or(0, |clock| clock());
        self.ticks.update(|sum| sum + u64::from(now.wrapping_sub(self.start)));
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
        let clock: Option<Clock> = Some(|| NOW.fetch_add(3, Ordering::Relaxed));
        let watch = Stopwatch::<0, 8> { clock, ..Stopwatch::default() };
        let source = ReadWatch { clock, ..ReadWatch::default() };
        let times = || {
            let mut times = StageTimes::default();
            watch.add_to(&mut times);
            source.add_to(&mut times);
            times
        };
        drop(watch.time(Stage::Norm));
        let earlier = times();
        drop(watch.time(Stage::Norm));
        source.add(Stage::Wait, 5);
        source.add(Stage::Read, 7);
        let spent = times() - earlier;
        assert_eq!((spent[Stage::Norm], spent.compute(), spent.total()), (3, 3, 8));
        let mut sum = spent;
        sum += spent;
        assert_eq!(sum[Stage::Read], 14);
    }
}
