//! The memory table: the size and the region of each buffer. The table gives the total memory of a plan and divides the
//! caller's memory.

use core::fmt;

use super::Plan;

/// A session's memory: internal RAM and, optionally, external RAM.
///
/// Sources read into internal memory only, because DMA cannot reach external RAM on every chip.
#[derive(Debug, Default)]
pub struct Memory<'m> {
    /// Fast memory.
    pub internal: &'m mut [u8],
    /// Slower and larger memory, such as PSRAM; empty if there is none.
    pub external: &'m mut [u8],
}

impl<'m> Memory<'m> {
    /// Creates a memory without external RAM.
    pub fn internal(internal: &'m mut [u8]) -> Self {
        Self { internal, external: &mut [] }
    }

    /// The size of each memory, in bytes.
    pub fn len(&self) -> MemoryLen {
        MemoryLen { internal: self.internal.len(), external: self.external.len() }
    }

    /// Whether both memories are empty.
    pub fn is_empty(&self) -> bool {
        self.internal.is_empty() && self.external.is_empty()
    }
}

/// Sizes of the two memories, in bytes: available, or required by a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemoryLen {
    /// Bytes of internal memory.
    pub internal: usize,
    /// Bytes of external memory.
    pub external: usize,
}

impl MemoryLen {
    /// A size without external memory.
    pub const fn internal(internal: usize) -> Self {
        Self { internal, external: 0 }
    }

    /// Whether each memory has at least the bytes of `needed`.
    pub fn holds(&self, needed: Self) -> bool {
        self.internal >= needed.internal && self.external >= needed.external
    }
}

/// The memory is smaller than the plan needs: see [`Session::from_plan`](crate::Session::from_plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct MemoryError {
    /// The memory that the plan needs, in bytes.
    pub needed: MemoryLen,
    /// The memory that was given, in bytes.
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

/// One of the two memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Fast internal memory.
    Internal,
    /// Slower and larger external memory.
    External,
}

/// The purpose of a part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The sampler's candidates, and the logits to compute again.
    Candidates,
    /// The two chunks of the double buffer; between passes, the tokenizer's scratch or an embedding row.
    Chunks,
    /// Frequencies of the rotary position embedding, and the sines and cosines of a position.
    RopeFrequencies,
    /// The residual stream of a batch.
    Residual,
    /// Inputs and outputs of the matrices, and the exponents of all vectors of a batch.
    Activations,
    /// Attention scores of one head.
    Scores,
    /// The tokens so far.
    History,
    /// The KV cache: keys and values of all positions.
    KvCache,
    /// Resident weights, which are read once.
    ResidentWeights,
}

impl Buffer {
    /// The buffer's name, for printing.
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
            Self::ResidentWeights => "resident weights",
        }
    }
}

/// A row of the memory table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The purpose of the buffer.
    pub buffer: Buffer,
    /// The memory that holds the buffer.
    pub region: Region,
    /// The size in bytes.
    pub len: usize,
}

/// Number of rows of the table.
const ROWS: usize = 9;

/// Bytes that alignment may cost: a memory may start at any address and is used from the next multiple of eight.
pub(super) const ALIGNMENT: usize = 7;

impl Plan {
    /// The memory table, in the order in which the buffers lie in each memory. Each size is a multiple of four bytes. A
    /// size that exceeds the address space saturates at `usize::MAX`.
    pub fn allocations(&self) -> [Allocation; ROWS] {
        let dims = &self.dims;
        let row =
            |buffer, count: usize, len| Allocation { buffer, region: Region::Internal, len: count.saturating_mul(len) };
        [
            row(Buffer::Candidates, self.candidates.saturating_add(dims.rescored), 8),
            row(Buffer::Chunks, 1, self.chunks_len),
            row(Buffer::RopeFrequencies, 2, dims.rope_len),
            row(Buffer::Residual, self.batch, 4 * dims.residual),
            // Each token also has three exponents and an excess.
            row(Buffer::Activations, self.batch, 2 * dims.input + 4 * dims.output + 16),
            row(Buffer::Scores, self.context, 4),
            row(Buffer::History, self.context, 4),
            Allocation { region: self.cache_region, ..row(Buffer::KvCache, 1, self.cache_shape().byte_len()) },
            Allocation { region: self.resident_region, ..row(Buffer::ResidentWeights, 1, self.resident) },
        ]
    }

    /// The memory that a session needs, in bytes, including alignment.
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

    /// Divides memory of at least [`Plan::memory`] into the table's rows.
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

/// `memory` from its first address that is aligned for 64-bit numbers.
fn aligned(memory: &mut [u8]) -> &mut [u8] {
    let skip = memory.as_ptr().align_offset(8).min(memory.len());
    &mut memory[skip..]
}
