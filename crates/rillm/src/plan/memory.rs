//! The memory table: which buffer has how many bytes in which memory. Its rows are summed up, and the caller's memory is cut
//! up by them.

use core::fmt;

use super::Plan;

/// A session's memory, handed over once: internal RAM, and external RAM where there is some.
///
/// Sources read into the internal memory only, as DMA does not reach external RAM on every chip.
#[derive(Debug, Default)]
pub struct Memory<'m> {
    /// The fast memory.
    pub internal: &'m mut [u8],
    /// A second, slower and larger memory, such as PSRAM; empty where there is none.
    pub external: &'m mut [u8],
}

impl<'m> Memory<'m> {
    /// Internal memory alone.
    pub fn internal(internal: &'m mut [u8]) -> Self {
        Self { internal, external: &mut [] }
    }

    /// Bytes in each.
    pub fn len(&self) -> MemoryLen {
        MemoryLen { internal: self.internal.len(), external: self.external.len() }
    }

    /// Neither memory has a byte.
    pub fn is_empty(&self) -> bool {
        self.internal.is_empty() && self.external.is_empty()
    }
}

/// Bytes of memory: what there is, or what a plan takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemoryLen {
    /// Bytes of internal memory.
    pub internal: usize,
    /// Bytes of external memory.
    pub external: usize,
}

impl MemoryLen {
    /// Internal memory alone.
    pub const fn internal(internal: usize) -> Self {
        Self { internal, external: 0 }
    }

    /// Each memory has at least the bytes that `needed` has.
    pub fn holds(&self, needed: Self) -> bool {
        self.internal >= needed.internal && self.external >= needed.external
    }
}

/// The memory that a plan needs is not there: see [`Session::from_plan`](crate::Session::from_plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemoryError {
    /// Bytes of the plan.
    pub needed: MemoryLen,
    /// Bytes that were given.
    pub given: MemoryLen,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, given } = self;
        write!(
            f,
            "the plan takes {} bytes of internal and {} of external memory, and {} and {} were given; give as many as the plan \
             says",
            needed.internal, needed.external, given.internal, given.external
        )
    }
}

impl core::error::Error for MemoryError {}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The fast one.
    Internal,
    /// The second, large one.
    External,
}

/// What a part of the memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The best tokens, of which the sampler takes one.
    Candidates,
    /// The two chunks of the double buffer; between passes the tokenizer's scratch, or an embedding row.
    Chunks,
    /// Angles of the rotary position embedding.
    RopeFrequencies,
    /// The residual stream of a batch.
    Residual,
    /// Inputs and outputs of the matrices, and the exponents of all vectors.
    Activations,
    /// Attention scores of one head.
    Scores,
    /// The tokens so far.
    History,
    /// Keys and values of all positions.
    KvCache,
    /// Weights that are read once.
    ResidentWeights,
}

impl Buffer {
    /// Its name in plain words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Candidates => "candidates",
            Self::Chunks => "buffers",
            Self::RopeFrequencies => "rope frequencies",
            Self::Residual => "residual stream",
            Self::Activations => "activations",
            Self::Scores => "attention scores",
            Self::History => "token history",
            Self::KvCache => "kv cache",
            Self::ResidentWeights => "pinned weights",
        }
    }
}

/// A row of the memory table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// What it is for.
    pub buffer: Buffer,
    /// Where it lies.
    pub region: Region,
    /// Its bytes.
    pub len: usize,
}

/// Rows of the table.
const ROWS: usize = 9;

/// A memory may start at any address and is used from the next multiple of eight.
pub(super) const ALIGNMENT: usize = 7;

impl Plan {
    /// The memory table, in the order in which the buffers lie in their memory. Each is a multiple of four bytes. What is
    /// more than a machine can address counts as all that it can.
    pub fn allocations(&self) -> [Allocation; ROWS] {
        let dims = &self.dims;
        let row =
            |buffer, count: usize, len| Allocation { buffer, region: Region::Internal, len: count.saturating_mul(len) };
        [
            row(Buffer::Candidates, self.candidates, 8),
            row(Buffer::Chunks, 1, self.chunks_len),
            row(Buffer::RopeFrequencies, 1, dims.rope_len),
            row(Buffer::Residual, self.batch, 4 * dims.residual),
            // Three exponents and an excess of each token with them.
            row(Buffer::Activations, self.batch, 2 * dims.input + 4 * dims.output + 16),
            row(Buffer::Scores, self.context, 4),
            row(Buffer::History, self.context, 4),
            Allocation { region: self.cache_region, ..row(Buffer::KvCache, 1, self.cache_shape().byte_len()) },
            Allocation { region: self.resident_region, ..row(Buffer::ResidentWeights, 1, self.resident) },
        ]
    }

    /// Bytes that a session takes, with those that alignment may.
    pub fn memory(&self) -> MemoryLen {
        let sum = |region| {
            let rows = self.allocations().into_iter().filter(|row| row.region == region);
            rows.fold(0usize, |sum, row| sum.saturating_add(row.len))
        };
        let external = match sum(Region::External) {
            0 => 0,
            len => len.saturating_add(ALIGNMENT),
        };
        MemoryLen { internal: sum(Region::Internal).saturating_add(ALIGNMENT), external }
    }

    /// Cuts up memory that holds [`Plan::memory`], by the table's rows.
    pub(crate) fn cut<'m>(&self, memory: Memory<'m>) -> [&'m mut [u8]; ROWS] {
        let (mut internal, mut external) = (aligned(memory.internal), aligned(memory.external));
        self.allocations().map(|row| {
            let rest = match row.region {
                Region::Internal => &mut internal,
                Region::External => &mut external,
            };
            rest.split_off_mut(..row.len).expect("the memory holds the plan")
        })
    }
}

/// A memory from the first address on that 64-bit numbers may have.
fn aligned(memory: &mut [u8]) -> &mut [u8] {
    let skip = memory.as_ptr().align_offset(8).min(memory.len());
    &mut memory[skip..]
}
