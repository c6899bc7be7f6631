//! What the caller wants of a plan.

/// What the caller wants of a [`Plan`](crate::Plan). The default leaves everything to the plan; setters chain:
///
/// ```
/// let options = rillm::PlanOptions::default().context(512).batch(8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Positions, prompt and answer together, never more than the model's own number; if absent that number, or as many
    /// as fit.
    pub context: Option<usize>,
    /// Prompt tokens that go through the weights together, 1 to the context; if absent as many as fit, up to 32.
    pub batch: Option<usize>,
    /// Bytes that are read at a time, rounded up to sectors, no more than the tape; if absent as fits, up to 16 KiB.
    pub chunk: Option<usize>,
    /// Bytes of weights that stay in memory, rounded down to sectors, no more than the tape; if absent what is left.
    pub resident: Option<usize>,
    /// Which of the weights stay in memory.
    pub residency: Residency,
    /// The external memory may hold the key-value cache. If not, it holds nothing but weights, which are written once and
    /// only read from then on.
    pub cache_in_external: bool,
    /// Tokens that the sampler can choose among after top-k, top-p or min-p, 1 to the vocabulary; 256 by default.
    pub candidates: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            context: None,
            batch: None,
            chunk: None,
            resident: None,
            residency: Residency::Front,
            cache_in_external: true,
            candidates: 256,
        }
    }
}

impl PlanOptions {
    /// Sets [`context`](Self::context).
    #[must_use]
    pub fn context(self, positions: impl Into<Option<usize>>) -> Self {
        Self { context: positions.into(), ..self }
    }

    /// Sets [`batch`](Self::batch).
    #[must_use]
    pub fn batch(self, tokens: impl Into<Option<usize>>) -> Self {
        Self { batch: tokens.into(), ..self }
    }

    /// Sets [`chunk`](Self::chunk).
    #[must_use]
    pub fn chunk(self, bytes: impl Into<Option<usize>>) -> Self {
        Self { chunk: bytes.into(), ..self }
    }

    /// Sets [`resident`](Self::resident).
    #[must_use]
    pub fn resident(self, bytes: impl Into<Option<usize>>) -> Self {
        Self { resident: bytes.into(), ..self }
    }

    /// Sets [`residency`](Self::residency).
    #[must_use]
    pub fn residency(self, residency: Residency) -> Self {
        Self { residency, ..self }
    }

    /// Sets [`cache_in_external`](Self::cache_in_external).
    #[must_use]
    pub fn cache_in_external(self, allowed: bool) -> Self {
        Self { cache_in_external: allowed, ..self }
    }

    /// Sets [`candidates`](Self::candidates).
    #[must_use]
    pub fn candidates(self, tokens: usize) -> Self {
        Self { candidates: tokens, ..self }
    }
}

/// Which of the weights stay in memory, where not all of them do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// The front of the tape, in one piece, and as much of it as there is room for.
    Front,
    /// Spans that lie evenly among the weights that are read, one before each read: while a span is multiplied, a DMA source
    /// fetches the next weights.
    Spread {
        /// Bytes that stay at most. With fewer than there is room for, the source and the memory that the resident weights
        /// are in can be made to finish together.
        most: usize,
    },
}

impl Residency {
    /// Bytes that stay at most.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Front => usize::MAX,
            Self::Spread { most } => most,
        }
    }
}
