//! Where the time of a session goes, told by a counter of the caller's: instructions, cycles, microseconds.

/// A counter that wraps around. It must not go round once while a single matrix, a read or a prompt's tokens are at work.
pub type Clock = fn() -> u32;

/// Ticks of the session's clock, by what they were spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    /// Text to tokens.
    pub tokenizer: u64,
    /// Embedding rows, unpacked.
    pub embedding: u64,
    /// RMSNorm, and the residual connection before it.
    pub norm: u64,
    /// The matrices of the layers.
    pub matmul: u64,
    /// Keys and values into the cache, rotary embedding, scores, softmax, and the weighted sum of values.
    pub attention: u64,
    /// SiLU, and the products with the gate.
    pub mlp: u64,
    /// The matrix of the head.
    pub head: u64,
    /// The choice of a token, and whatever else looks at the logits.
    pub sampler: u64,
    /// The source's reads, whether or not something was computed meanwhile.
    pub read: u64,
    /// Time in which the layers had nothing to multiply, because of the source. Of a source that blocks it is the reads' time.
    pub wait: u64,
    /// Checksums of what was read.
    pub checksum: u64,
}

impl Ticks {
    /// What the CPU computed.
    pub fn compute(&self) -> u64 {
        let Self { tokenizer, embedding, norm, matmul, attention, mlp, head, sampler, checksum, .. } = self;
        tokenizer + embedding + norm + matmul + attention + mlp + head + sampler + checksum
    }

    /// All of them. Of the reads it is those that were waited for: the others took no time of their own.
    pub fn total(&self) -> u64 {
        self.compute() + self.wait
    }
}

/// A clock, or none, and what was counted by it.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    pub clock: Option<Clock>,
    pub ticks: Ticks,
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
}
