//! What memory goes where, decided before anything runs.

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

/// Chunks grow no further: SD cards give nearly their best rate in reads of this size.
const CHUNK_MAX: usize = 16 * 1024;
/// A context that gives way leaves room for reads of this size and for this batch, without which a long context is a
/// slow one.
const COMFORTABLE: (usize, usize) = (8 * 1024, 8);
/// A context that gives way to comfort gives way to here.
const CONTEXT_MIN: usize = 16;
/// Batches grow no further of themselves: the weights are then read for so many tokens at once that arithmetic, not
/// reading, takes the time.
const BATCH_MAX: usize = 32;

/// A division of the memory that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Positions, prompt and answer together.
    pub context: usize,
    /// Prompt tokens that go through the weights together, at most.
    pub batch: usize,
    /// Bytes of a read, a whole number of sectors; 0 if all weights are in memory.
    pub chunk: usize,
    /// Bytes of the tape that stay in memory, a whole number of sectors.
    pub resident: usize,
    /// Which bytes these are.
    pub residency: Residency,
    /// Tokens that the sampler can choose among after top-k, top-p or min-p.
    pub candidates: usize,
    cache_region: Region,
    pub(crate) resident_region: Region,
    /// Bytes of the memory that the two chunks, the tokenizer and an embedding row share.
    chunks_len: usize,
    pub(crate) dims: Dims,
}

/// Lengths that follow from the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    /// Bytes in front of a chunk, and behind it, for a row that it cuts.
    pub headroom: usize,
    pub tailroom: usize,
    /// Bytes of the rope table.
    pub rope_len: usize,
    /// Elements of a token's vectors: the residual stream, a matrix's input, its output.
    pub residual: usize,
    pub input: usize,
    pub output: usize,
    /// The key-value cache, of one position.
    position: CacheShape,
}

/// The memory is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PlanError {
    /// Bytes that the wanted context needs at least.
    pub needed: usize,
    /// Bytes that there are.
    pub given: usize,
    /// The context that was wanted.
    pub context: usize,
    /// The largest context that the given memory has room for; 0 if not even one position fits.
    pub fitting_context: usize,
    /// Bytes that a context of one needs.
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
    /// Divides `memory` for `model`.
    ///
    /// First come the context (which, unless the options say how long it is, gives way where memory is short), one
    /// token's vectors and two chunks of a sector; then the whole tape, if it fits; else larger chunks, larger batches,
    /// and weights of the tape with what is left. A source that is memory itself needs no buffers for chunks.
    ///
    /// External memory takes the key-value cache if that makes room for the context, or for a longer one, and the resident
    /// weights if that makes room for more of them.
    ///
    /// # Errors
    /// [`PlanError`]: the memory is too small.
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
        // Of equal ones the first: the cache in internal memory, then more resident weights, then fast ones.
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

    /// The plan that has the cache and the resident weights in these regions.
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
            // What a machine cannot address fits nowhere, not even where all that it can is given.
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
            // Comfort is no use where there is no context: it takes a quarter of the memory at most, and none of the
            // shortest context's.
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
        // All of the tape in memory: no chunks.
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
            // All that there is for a comfortable batch, half of it for a larger one.
            let (_, comfortable) = COMFORTABLE;
            let batch = (plan.batch + spare(&plan) / token).min(comfortable).max(plan.batch + spare(&plan) / 2 / token);
            plan.batch = batch.min(BATCH_MAX).min(context);
        }
        if plan.resident < most_resident && options.resident.is_none() {
            let room = match plan.resident_region {
                Region::Internal => spare(&plan),
                // The first byte there brings alignment with it.
                Region::External => memory.external.saturating_sub(plan.memory().external.max(ALIGNMENT)),
            };
            plan.resident = room.min(most_resident) / SECTOR_LEN * SECTOR_LEN;
        }
        if plan.chunk == 0 && plan.resident_region == Region::External && plan.resident > 0 {
            // What stays there is read through internal memory, once.
            let grown = (plan.chunks_len + spare(&plan)).min(CHUNK_MAX) / 8 * 8;
            plan.chunks_len = plan.chunks_len.max(grown);
        }
        Ok(plan)
    }

    /// The smallest plan that honours the options. `tape` is what has to be read of the tape, in whole sectors.
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
                headroom: model.longest_piece(),
                // Behind the front of the tape all is read.
                tailroom: if options.residency == Residency::Front { 0 } else { model.longest_piece() },
                rope_len: 4 * head_dim,
                residual: hidden,
                input: hidden.max(q_dim).max(intermediate).next_multiple_of(2),
                output: hidden.max(q_dim).max(kv_dim).max(intermediate),
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

    /// This plan with reads of `chunk` bytes, rounded up to sectors; 0 for none.
    fn with_chunk(self, model: &Model, chunk: usize) -> Self {
        let chunk = chunk.next_multiple_of(SECTOR_LEN);
        let Dims { headroom, tailroom, .. } = self.dims;
        let chunks = if chunk == 0 { 0 } else { (headroom + chunk + tailroom).saturating_mul(2) };
        // A record that starts at a sector's last byte.
        let record = (model.embedding().record_len as usize + SECTOR_LEN - 1).next_multiple_of(SECTOR_LEN);
        let chunks_len = chunks.max(record).max(size_of::<Scratch>()).next_multiple_of(8);
        Self { chunk, chunks_len, ..self }
    }

    /// What of a tape of `len` bytes stays in memory.
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

/// `len` in whole sectors, as far as a machine can address them.
fn sectors(len: u64) -> usize {
    const MOST: usize = usize::MAX / 4 / SECTOR_LEN * SECTOR_LEN;
    usize::try_from(len.next_multiple_of(SECTOR_LEN as u64)).map_or(MOST, |len| len.min(MOST))
}

/// The largest of `1..=most` that fits, or 0. What fits fits for everything smaller, too.
fn longest(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
