//! The parameters of sampling.

/// A non-negative number with 16 fraction bits: 65,536 stands for 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Q16(pub u32);

impl Q16 {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(1 << 16);

    /// `thousandths / 1000`, rounded: 0.8 is `Q16::thousandths(800)`. From 65,536 on it saturates.
    pub const fn thousandths(thousandths: u32) -> Self {
        // Below 2^48.
        let bits = (((thousandths as u64) << 16) + 500) / 1000;
        Self(if bits > u32::MAX as u64 { u32::MAX } else { bits as u32 })
    }
}

/// Sampling parameters. The order of the steps is that of `transformers`: penalty, temperature, top-k, top-p, min-p.
///
/// ```
/// use rillm::{Q16, Sampling};
///
/// let sampling = Sampling::default().temperature(Q16::thousandths(700)).top_k(40).seed(42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sampling {
    /// Divides the logits. 0 always takes the likeliest token. Values between 0 and 1/64 count as 1/64.
    pub temperature: Q16,
    /// Samples among this many of the likeliest tokens; 0 for the whole vocabulary. The number must not exceed the
    /// plan's candidates; above the vocabulary size it counts as the vocabulary size.
    pub top_k: u32,
    /// Samples among the fewest tokens whose probabilities sum to at least this value; all tokens from 1 on.
    ///
    /// With `top_k` 0 the probabilities are relative to the whole vocabulary, and the number of tokens is limited to
    /// the plan's candidates.
    pub top_p: Q16,
    /// Samples among the tokens with at least this fraction of the likeliest token's probability; 0 for all. With
    /// `top_k` 0 the number of tokens is limited to the plan's candidates.
    pub min_p: Q16,
    /// Divides positive logits of the last 64 tokens and multiplies negative ones; 1 (and 0) for no penalty.
    pub repeat_penalty: Q16,
    /// The seed of the random numbers: the same seed gives the same text.
    pub seed: u64,
}

/// Temperature 0.8, top-p 0.95, seed 0: the defaults of `rillm run`.
impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: Q16::thousandths(800), top_p: Q16::thousandths(950), ..Self::GREEDY }
    }
}

impl Sampling {
    /// Greedy decoding: always the likeliest token.
    pub const GREEDY: Self =
        Self { temperature: Q16::ZERO, top_k: 0, top_p: Q16::ONE, min_p: Q16::ZERO, repeat_penalty: Q16::ONE, seed: 0 };

    /// Sets [`temperature`](Self::temperature).
    #[must_use]
    pub const fn temperature(self, temperature: Q16) -> Self {
        Self { temperature, ..self }
    }

    /// Sets [`top_k`](Self::top_k).
    #[must_use]
    pub const fn top_k(self, top_k: u32) -> Self {
        Self { top_k, ..self }
    }

    /// Sets [`top_p`](Self::top_p).
    #[must_use]
    pub const fn top_p(self, top_p: Q16) -> Self {
        Self { top_p, ..self }
    }

    /// Sets [`min_p`](Self::min_p).
    #[must_use]
    pub const fn min_p(self, min_p: Q16) -> Self {
        Self { min_p, ..self }
    }

    /// Sets [`repeat_penalty`](Self::repeat_penalty).
    #[must_use]
    pub const fn repeat_penalty(self, repeat_penalty: Q16) -> Self {
        Self { repeat_penalty, ..self }
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The part of the heap that the candidates use.
    pub(crate) fn room<'h>(&self, heap: &'h mut [u64]) -> &'h mut [u64] {
        let room = if self.top_k == 0 { heap.len() } else { heap.len().min(self.top_k as usize) };
        &mut heap[..room]
    }

    /// Whether top-k, top-p or min-p excludes tokens, so that candidates must be kept.
    pub(crate) fn cuts(&self) -> bool {
        self.top_k > 0 || self.top_p < Q16::ONE || self.min_p > Q16::ZERO
    }

    /// Whether a plan with this many candidates supports these parameters. The vocabulary size bounds the number of
    /// candidates.
    pub(crate) fn fits(&self, candidates: usize, vocab_size: u32) -> bool {
        self.temperature == Q16::ZERO || self.top_k.min(vocab_size) as usize <= candidates
    }
}
