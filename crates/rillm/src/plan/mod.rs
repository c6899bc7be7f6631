//! The memory plan, which is fixed before a session runs.

mod memory;
mod options;
mod residency;

use core::fmt;

use crate::kv_cache::CacheShape;
use crate::model::Model;
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::Scratch;

use memory::ALIGNMENT;
pub use memory::{Allocation, Buffer, Memory, MemoryError, MemoryLen, Region};
pub use options::{PlanOptions, Residency};
pub(crate) use residency::ResidentSpans;

/// Maximum chunk in bytes: SD cards nearly reach their best rate in reads of this size.
const CHUNK_MAX: usize = 16 * 1024;
/// `(chunk, batch)` for which an automatic context leaves room. With less, a long context is slow.
const COMFORTABLE: (usize, usize) = (8 * 1024, 8);
/// Minimum of an automatic context that leaves this room.
const CONTEXT_MIN: usize = 16;
/// Maximum of an automatic batch: from here on, arithmetic takes the time, not reading, because each read of the
/// weights serves so many tokens.
const BATCH_MAX: usize = 32;

/// A division of the memory for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Positions for prompt and answer together.
    pub context: usize,
    /// Maximum number of prompt tokens in one pass over the weights.
    pub batch: usize,
    /// Bytes of a read, a whole number of sectors; 0 if all weights are in memory.
    pub chunk: usize,
    /// Bytes of resident weights, a whole number of sectors.
    pub resident: usize,
    /// Which weights are resident.
    pub residency: Residency,
    /// Candidates that the sampler keeps for top-k, top-p or min-p.
    pub candidates: usize,
    cache_region: Region,
    pub(crate) resident_region: Region,
    /// Bytes of the memory shared by the two chunks, the tokenizer and an embedding row.
    chunks_len: usize,
    pub(crate) dims: Dims,
}

/// Lengths that the model determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    /// Bytes in front of a chunk and behind it, for a row that crosses the chunk's border.
    pub headroom: usize,
    pub tailroom: usize,
    /// Bytes of the rope table.
    pub rope_len: usize,
    /// Elements of a token's vectors: the residual stream, and the largest input and output of a matrix.
    pub residual: usize,
    pub input: usize,
    pub output: usize,
    /// The most logits that are computed again for a position.
    pub rescored: usize,
    /// The shape of the KV cache, for one position.
    position: CacheShape,
}

/// The memory is too small for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct PlanError {
    /// Internal memory that the requested context needs at least, in bytes.
    pub needed: usize,
    /// Internal memory given, in bytes.
    pub given: usize,
    /// The requested context, in positions.
    pub context: usize,
    /// The largest context that fits the given memory, in positions; 0 if not even one position fits.
    pub fitting_context: usize,
    /// Internal memory that a context of one position needs, in bytes.
    pub smallest: usize,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, given, context, fitting_context, smallest } = *self;
        let short = if fitting_context > 0 { needed } else { smallest }.saturating_sub(given);
        if fitting_context > 0 {
            write!(
                f,
                "{given} bytes of memory are {short} too few for a context of {context}, which needs {needed}; give them, or \
                 ask for a context of at most {fitting_context}"
            )
        } else {
            write!(
                f,
                "{given} bytes of memory are {short} too few: even a context of 1 needs {smallest} with these options"
            )
        }
    }
}

impl core::error::Error for PlanError {}

impl Plan {
    /// Plans how a session of `model` uses `memory`.
    ///
    /// The plan first allocates the context, one token's vectors and two chunks of one sector. Unless the options fix
    /// the context, it shrinks if memory is short. Then the plan makes the whole tape resident, if it fits. Otherwise
    /// it grows the chunks, then the batch, and uses the rest for resident weights. A source that lends its memory
    /// needs no chunks.
    ///
    /// External memory holds the KV cache if that allows a longer context, and the resident weights if that allows more
    /// of them.
    ///
    /// # Errors
    /// [`PlanError`] if the memory is too small.
    pub fn new<S: WeightSource>(
        model: &Model,
        source: &S,
        memory: MemoryLen,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        use Region::{External, Internal};
        let plan = |cache, weights| Self::in_regions(cache, weights, model, source, memory, options);
        let internal = plan(Internal, Internal);
        if memory.external == 0 {
            return internal;
        }
        // Of equal plans, the first wins: prefer the cache in internal memory, then more resident weights, then resident
        // weights in internal memory.
        let others = [(Internal, External), (External, Internal), (External, External)];
        let allowed = others.into_iter().filter(|&(cache, _)| cache == Internal || options.cache_in_external);
        allowed.map(|(cache, weights)| plan(cache, weights)).fold(internal, |best, other| match (best, other) {
            (Ok(best), Ok(other)) => {
                let more_weights = other.cache_region == best.cache_region && other.resident > best.resident;
                Ok(if other.context > best.context || (other.context == best.context && more_weights) {
                    other
                } else {
                    best
                })
            }
            (Err(best), Err(other)) => {
                Err(PlanError { fitting_context: best.fitting_context.max(other.fitting_context), ..best })
            }
            (best, other) => best.or(other),
        })
    }

    /// The plan with the cache and the resident weights in these regions.
    fn in_regions<S: WeightSource>(
        cache_region: Region,
        resident_region: Region,
        model: &Model,
        source: &S,
        memory: MemoryLen,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let most = model.header().context_length as usize;
        let streamed = source.memory().is_none();
        let tape = if streamed { sectors(model.tape_len()) } else { 0 };
        let least = |context| Self { cache_region, resident_region, ..Self::least(model, tape, context, options) };
        let fits_in = |plan: &Self, internal| {
            let needed = plan.memory();
            // A size beyond the address space never fits, even if the whole address space is given.
            MemoryLen { internal, ..memory }.holds(needed) && needed.internal.max(needed.external) < usize::MAX
        };
        let comfortable = |context| {
            let (chunk, batch) = COMFORTABLE;
            let chunk = if least(context).chunk == 0 { 0 } else { options.chunk.unwrap_or(chunk) };
            let batch = options.batch.unwrap_or(batch).clamp(1, context);
            Self { batch, ..least(context) }.with_chunk(model, chunk)
        };
        let longest =
            |plan: &dyn Fn(usize) -> Self, internal| longest(most, |context| fits_in(&plan(context), internal));
        let context = options.context.unwrap_or_else(|| {
            // The comfortable chunk and batch take at most a quarter of the memory, and nothing from the shortest
            // context.
            longest(&comfortable, memory.internal)
                .max(longest(&least, memory.internal / 4 * 3))
                .max(longest(&least, memory.internal).min(CONTEXT_MIN))
        });
        let context = context.clamp(1, most);

        let mut plan = least(context);
        if !fits_in(&plan, memory.internal) {
            return Err(PlanError {
                needed: plan.memory().internal,
                given: memory.internal,
                context,
                fitting_context: longest(&least, memory.internal),
                smallest: least(1).memory().internal,
            });
        }
        // The whole tape is resident: no chunks.
        let all_resident = Self { resident: tape, ..plan }.with_chunk(model, 0);
        let most_resident = tape.min(options.residency.most());
        if streamed
            && most_resident == tape
            && options.resident.is_none()
            && options.chunk.is_none()
            && fits_in(&all_resident, memory.internal)
        {
            plan = all_resident;
        }
        let spare = |plan: &Self| memory.internal - plan.memory().internal;
        if plan.chunk > 0 && options.chunk.is_none() {
            let grown = (plan.chunk + spare(&plan) / 4) / SECTOR_LEN * SECTOR_LEN;
            plan = plan.with_chunk(model, grown.min(CHUNK_MAX));
        }
        if options.batch.is_none() {
            let token = Self { batch: plan.batch + 1, ..plan }.memory().internal - plan.memory().internal;
            // All spare memory for a batch up to the comfortable one, half of it for a larger batch.
            let (_, comfortable) = COMFORTABLE;
            let batch = (plan.batch + spare(&plan) / token).min(comfortable).max(plan.batch + spare(&plan) / 2 / token);
            plan.batch = batch.min(BATCH_MAX).min(context);
        }
        if plan.resident < most_resident && options.resident.is_none() {
            let room = match plan.resident_region {
                Region::Internal => spare(&plan),
                // The first byte in external memory adds the alignment.
                Region::External => memory.external.saturating_sub(plan.memory().external.max(ALIGNMENT)),
            };
            plan.resident = room.min(most_resident) / SECTOR_LEN * SECTOR_LEN;
        }
        if plan.chunk == 0 && plan.resident_region == Region::External && plan.resident > 0 {
            // Resident weights in external memory are read through internal memory, once.
            let grown = (plan.chunks_len + spare(&plan)).min(CHUNK_MAX) / 8 * 8;
            plan.chunks_len = plan.chunks_len.max(grown);
        }
        Ok(plan)
    }

    /// The smallest plan that honours the options. `tape` is the length of the streamed tape in bytes, in whole
    /// sectors.
    fn least(model: &Model, tape: usize, context: usize, options: &PlanOptions) -> Self {
        let header = model.header();
        let [hidden, intermediate] = [header.hidden_size, header.intermediate_size].map(|n| n as usize);
        let [q_dim, kv_dim] = [header.q_dim(), header.kv_dim()].map(|n| n as usize);
        let head_dim = header.head_dim as usize;
        let most_resident = tape.min(options.residency.most());
        let resident = options.resident.map_or(0, |bytes| bytes.min(most_resident) / SECTOR_LEN * SECTOR_LEN);
        let chunk = if resident == tape { 0 } else { options.chunk.unwrap_or(1).clamp(1, tape) };
        let plan = Self {
            context,
            batch: options.batch.unwrap_or(1).clamp(1, context),
            chunk: 0,
            resident,
            residency: options.residency,
            candidates: options.candidates.clamp(1, header.vocab_size as usize),
            cache_region: Region::Internal,
            resident_region: Region::Internal,
            chunks_len: 0,
            dims: Dims {
                headroom: model.longest_row(),
                // Behind a resident front, all weights are streamed.
                tailroom: if options.residency == Residency::Front { 0 } else { model.longest_row() },
                rope_len: 4 * head_dim,
                residual: hidden,
                input: hidden.max(q_dim).max(intermediate).next_multiple_of(2),
                output: hidden.max(q_dim).max(kv_dim).max(intermediate),
                rescored: model.rescoring().map_or(0, |rows| rows.most(header.vocab_size)),
                position: CacheShape {
                    layers: header.n_layers as usize,
                    heads: header.n_kv_heads as usize,
                    head_dim,
                    context: 1,
                    key_bits: header.key_bits,
                },
            },
        };
        plan.with_chunk(model, chunk)
    }

    /// This plan with reads of `chunk` bytes, rounded up to sectors; 0 for no reads.
    fn with_chunk(self, model: &Model, chunk: usize) -> Self {
        let chunk = chunk.next_multiple_of(SECTOR_LEN);
        let Dims { headroom, tailroom, .. } = self.dims;
        let chunks = if chunk == 0 { 0 } else { (headroom + chunk + tailroom).saturating_mul(2) };
        // The worst case: a record that starts at the last byte of a sector.
        let rescored = model.rescoring().map_or(0, |rows| rows.tensor.row_len());
        let longest = rescored.max(model.embedding().record_len as usize);
        let record = (longest + SECTOR_LEN - 1).next_multiple_of(SECTOR_LEN);
        let chunks_len = chunks.max(record).max(size_of::<Scratch>()).next_multiple_of(8);
        Self { chunk, chunks_len, ..self }
    }

    /// The resident spans of a tape of `len` bytes.
    pub(crate) fn resident_spans(&self, len: u64) -> ResidentSpans {
        match self.residency {
            Residency::Front => ResidentSpans::front(len, self.resident as u64),
            Residency::Spread { .. } => ResidentSpans::spread(len, self.resident as u64, self.chunk as u64),
        }
    }

    /// The cache's dimensions.
    pub(crate) fn cache_shape(&self) -> CacheShape {
        CacheShape { context: self.context, ..self.dims.position }
    }
}

/// `len` rounded up to sectors, limited to the address space.
fn sectors(len: u64) -> usize {
    const MOST: usize = usize::MAX / 4 / SECTOR_LEN * SECTOR_LEN;
    usize::try_from(len.next_multiple_of(SECTOR_LEN as u64)).map_or(MOST, |len| len.min(MOST))
}

/// The largest of `1..=most` that fits, or 0. `fits` must be monotonic: everything smaller than a fitting size fits.
fn longest(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
