//! Options of a plan.

/// Options of a [`Plan`](crate::Plan). By default the plan chooses everything. Setters can be chained:
///
/// ```
/// let options = rillm::PlanOptions::default().context(512).batch(8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Positions for prompt and answer together, at most the model's context length. `None`: as many as fit, up to the
    /// model's context length.
    pub context: Option<usize>,
    /// Prompt tokens in one pass over the weights, 1 to the context. `None`: as many as fit, up to 32.
    pub batch: Option<usize>,
    /// Bytes of one read, rounded up to sectors, at most the tape. `None`: as many as fit, up to 16 KiB.
    pub chunk: Option<usize>,
    /// Bytes of resident weights, rounded down to sectors, at most the tape. `None`: all remaining memory.
    pub resident: Option<usize>,
    /// Which weights are resident.
    pub residency: Residency,
    /// Whether the external memory may hold the KV cache. If not, it holds only resident weights, which are written
    /// once and only read afterwards.
    pub cache_in_external: bool,
    /// Candidates that the sampler keeps for top-k, top-p or min-p, 1 to the vocabulary size;
    /// [`DEFAULT_CANDIDATES`](Self::DEFAULT_CANDIDATES) by default.
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
            candidates: Self::DEFAULT_CANDIDATES,
        }
    }
}

impl PlanOptions {
    /// Candidates of the sampler by default.
    pub const DEFAULT_CANDIDATES: usize = 256;

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

/// Which weights are resident, if not all of them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// The front of the tape, in one piece, as much as fits.
    Front,
    /// Spans spread evenly over the tape, one before each read: while the engine multiplies a span, a DMA source
    /// fetches the next weights.
    Spread {
        /// Maximum bytes of resident weights. A limit below the available memory can balance the source against the
        /// memory that holds the resident weights, so that both finish together.
        most: usize,
    },
}

impl Residency {
    /// Maximum bytes of resident weights.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Front => usize::MAX,
            Self::Spread { most } => most,
        }
    }
}
