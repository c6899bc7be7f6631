//! What memory goes where, decided before anything runs.

use core::fmt;

use crate::clock::Ticks;
use crate::counted::Traffic;
use crate::kv_cache::CacheShape;
use crate::model::Model;
use crate::pins::Pins;
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::Scratch;

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

/// What the caller wants of a plan. [`PlanOptions::new`] leaves everything but the memory to the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Bytes of memory that there are.
    pub ram: usize,
    /// Bytes of a second, slower memory: external RAM. It takes the pinned weights where more of them fit there than in the
    /// first one, and the key-value cache where the context finds no room in the first one.
    pub large: usize,
    /// Positions, prompt and answer together, never more than the model's own number; if absent that number, or as many
    /// as fit.
    pub context: Option<usize>,
    /// Prompt tokens that go through the weights together, 1 to the context; if absent as many as fit, up to 32.
    pub batch: Option<usize>,
    /// Bytes that are read at a time, rounded up to sectors, no more than the tape; if absent as fits, up to 16 KiB.
    pub chunk: Option<usize>,
    /// Bytes of weights kept in memory, rounded down to sectors, no more than the tape; if absent what is left.
    pub pinned: Option<usize>,
    /// Which of the weights are kept.
    pub pinning: Pinning,
    /// Tokens that the sampler can choose among after top-k, top-p or min-p, 1 to the vocabulary.
    pub candidates: usize,
    /// Compare the checksum of the weights in every so many passes through the head, the first included, and in the
    /// prompt's passes before such a one; 0 for never. `docs/performance.md` has what it costs.
    pub check_every: u32,
}

impl PlanOptions {
    /// `ram` bytes, 256 candidates, a check in 64 passes, everything else as it fits best.
    pub fn new(ram: usize) -> Self {
        Self {
            ram,
            large: 0,
            context: None,
            batch: None,
            chunk: None,
            pinned: None,
            pinning: Pinning::Front,
            candidates: 256,
            check_every: 64,
        }
    }
}

/// Which of the weights are kept in memory, where not all of them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// The front of the tape, in one piece, and as much of it as there is room for.
    Front,
    /// Spans that lie evenly among the weights that are read, one before each read: a source that reads by itself (DMA) has
    /// the time in which they are multiplied to fetch the next ones.
    Spread {
        /// Bytes that are kept at most. With fewer than there is room for, the source and the memory that the kept
        /// weights are in can be made to finish together.
        most: usize,
    },
}

impl Pinning {
    /// Bytes that are kept at most.
    fn most(self) -> usize {
        match self {
            Self::Front => usize::MAX,
            Self::Spread { most } => most,
        }
    }
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first one.
    Fast,
    /// The second, large one.
    Large,
}

/// A part of the memory, for those who want to see where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is for.
    pub name: &'static str,
    /// Its bytes.
    pub len: usize,
    /// Where it lies.
    pub place: Place,
}

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
    pub pinned: usize,
    /// Which bytes these are.
    pub pinning: Pinning,
    /// Tokens that the sampler can choose among after top-k, top-p or min-p.
    pub candidates: usize,
    pub(crate) cache_place: Place,
    pub(crate) pinned_place: Place,
    pub(crate) sizes: Sizes,
}

/// Lengths that follow from the model and the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of the memory that the two chunk buffers, the tokenizer and the embedding rows share.
    pub buffers: usize,
    /// Bytes in front of a chunk, and behind it.
    pub headroom: usize,
    pub tailroom: usize,
    pub rope: usize,
    /// Elements of a token's vectors: residual, 16-bit, 32-bit.
    pub x: usize,
    pub a: usize,
    pub y: usize,
    pub cache: CacheShape,
}

/// The memory is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Divides the memory of `options` for `model`.
    ///
    /// First come the context (which, unless the options say how long it is, gives way where memory is short), one
    /// token's vectors and two buffers of a sector; then the whole tape, if it fits; else larger buffers, larger batches,
    /// and weights of the tape with what is left. A source that is memory itself needs no buffers for chunks.
    ///
    /// A second memory takes the key-value cache if that makes room for the context, or for a longer one, and the pinned
    /// weights if that makes room for more of them.
    ///
    /// # Errors
    /// [`PlanError`]: the memory is too small.
    pub fn new<S: WeightSource>(model: &Model, source: &S, options: &PlanOptions) -> Result<Self, PlanError> {
        let plan = |cache, pinned| Self::with_places(cache, pinned, model, source, options);
        let near = plan(Place::Fast, Place::Fast);
        if options.large == 0 {
            return near;
        }
        // Of equal ones the first: the cache in the first memory, then more of the weights in memory, then fast ones.
        let others = [(Place::Fast, Place::Large), (Place::Large, Place::Fast), (Place::Large, Place::Large)];
        others.into_iter().map(|(cache, pinned)| plan(cache, pinned)).fold(near, |best, other| match (best, other) {
            (Ok(best), Ok(other)) => {
                let same_place = other.cache_place == best.cache_place && other.pinned > best.pinned;
                Ok(if other.context > best.context || (other.context == best.context && same_place) {
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

    fn with_places<S: WeightSource>(
        cache_place: Place,
        pinned_place: Place,
        model: &Model,
        source: &S,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let most = model.header().context_length as usize;
        let streamed = source.memory().is_none();
        let tape = if streamed { sectors(model.tape_len()) } else { 0 };
        let least = |context| Self { cache_place, pinned_place, ..Self::least(model, tape, context, options) };
        // What a machine cannot address fits nowhere, not even where all that it can is given.
        let within = |total, given| total <= given && total < usize::MAX;
        let fits = |plan: &Self, ram| within(plan.total(), ram) && within(plan.large_total(), options.large);
        let comfortable = |context| {
            let (chunk, batch) = COMFORTABLE;
            let chunk = if least(context).chunk == 0 { 0 } else { options.chunk.unwrap_or(chunk) };
            let batch = options.batch.unwrap_or(batch).clamp(1, context);
            Self { batch, ..least(context) }.with_buffers(model, chunk)
        };
        let longest = |plan: &dyn Fn(usize) -> Self, ram| longest(most, |context| fits(&plan(context), ram));
        let context = options.context.unwrap_or_else(|| {
            // Comfort is no use where there is no context: it takes a quarter of the memory at most, and none of the
            // shortest context's.
            longest(&comfortable, options.ram)
                .max(longest(&least, options.ram / 4 * 3))
                .max(longest(&least, options.ram).min(CONTEXT_MIN))
        });
        let context = context.clamp(1, most);

        let mut plan = least(context);
        if !fits(&plan, options.ram) {
            return Err(PlanError {
                needed: plan.total(),
                given: options.ram,
                context,
                fitting_context: longest(&least, options.ram),
                smallest: least(1).total(),
            });
        }
        // All of the tape in memory: no chunks.
        let resident = Self { pinned: tape, ..plan }.with_buffers(model, 0);
        let kept_at_most = tape.min(options.pinning.most());
        if streamed
            && kept_at_most == tape
            && options.pinned.is_none()
            && options.chunk.is_none()
            && fits(&resident, options.ram)
        {
            plan = resident;
        }
        let spare = |plan: &Self| options.ram - plan.total();
        if plan.chunk > 0 && options.chunk.is_none() {
            let grown = (plan.chunk + spare(&plan) / 4) / SECTOR_LEN * SECTOR_LEN;
            plan = plan.with_buffers(model, grown.min(CHUNK_MAX));
        }
        if options.batch.is_none() {
            let slot = Self { batch: plan.batch + 1, ..plan }.total() - plan.total();
            // All that there is for a comfortable batch, half of it for a larger one.
            let (_, comfortable) = COMFORTABLE;
            let batch = (plan.batch + spare(&plan) / slot).min(comfortable).max(plan.batch + spare(&plan) / 2 / slot);
            plan.batch = batch.min(BATCH_MAX).min(context);
        }
        if plan.pinned < kept_at_most && options.pinned.is_none() {
            let room = match plan.pinned_place {
                Place::Fast => spare(&plan),
                // The first byte there brings alignment with it.
                Place::Large => options.large.saturating_sub(plan.large_total().max(ALIGNMENT)),
            };
            plan.pinned = room.min(kept_at_most) / SECTOR_LEN * SECTOR_LEN;
        }
        if plan.chunk == 0 && plan.pinned_place == Place::Large && plan.pinned > 0 {
            // What is kept there is read through the buffers, once.
            let grown = (plan.sizes.buffers + spare(&plan)).min(CHUNK_MAX) / 8 * 8;
            plan.sizes.buffers = plan.sizes.buffers.max(grown);
        }
        Ok(plan)
    }

    /// The smallest plan that honours the options. `tape` is what has to be read of the tape, in whole sectors.
    fn least(model: &Model, tape: usize, context: usize, options: &PlanOptions) -> Self {
        let header = model.header();
        let [hidden, intermediate] = [header.hidden_size, header.intermediate_size].map(|n| n as usize);
        let [q_dim, kv_dim] = [header.q_dim(), header.kv_dim()].map(|n| n as usize);
        let head_dim = header.head_dim as usize;
        let pinned =
            options.pinned.map_or(0, |pinned| pinned.min(tape).min(options.pinning.most()) / SECTOR_LEN * SECTOR_LEN);
        let chunk = if pinned == tape { 0 } else { options.chunk.unwrap_or(1).clamp(1, tape) };
        let plan = Self {
            context,
            batch: options.batch.unwrap_or(1).clamp(1, context),
            chunk: 0,
            pinned,
            pinning: options.pinning,
            candidates: options.candidates.clamp(1, header.vocab_size as usize),
            cache_place: Place::Fast,
            pinned_place: Place::Fast,
            sizes: Sizes {
                buffers: 0,
                headroom: model.longest_piece(),
                // Behind the front of the tape all is read.
                tailroom: if options.pinning == Pinning::Front { 0 } else { model.longest_piece() },
                rope: 4 * head_dim,
                x: hidden,
                a: hidden.max(q_dim).max(intermediate).next_multiple_of(2),
                y: hidden.max(q_dim).max(kv_dim).max(intermediate),
                cache: CacheShape {
                    layers: header.n_layers as usize,
                    heads: header.n_kv_heads as usize,
                    head_dim,
                    context,
                    key_bits: header.key_bits,
                },
            },
        };
        plan.with_buffers(model, chunk)
    }

    /// This plan with reads of `chunk` bytes, rounded up to sectors; 0 for none.
    fn with_buffers(self, model: &Model, chunk: usize) -> Self {
        let chunk = chunk.next_multiple_of(SECTOR_LEN);
        let Sizes { headroom, tailroom, .. } = self.sizes;
        let chunks = if chunk == 0 { 0 } else { (headroom + chunk + tailroom).saturating_mul(2) };
        // A record that starts at a sector's last byte.
        let record = (model.embedding().record_len as usize + SECTOR_LEN - 1).next_multiple_of(SECTOR_LEN);
        let buffers = chunks.max(record).max(size_of::<Scratch>()).next_multiple_of(8);
        Self { chunk, sizes: Sizes { buffers, ..self.sizes }, ..self }
    }

    /// What of a tape of `len` bytes stays in memory.
    pub(crate) fn pins(&self, len: u64) -> Pins {
        match self.pinning {
            Pinning::Front => Pins::front(len, self.pinned as u64),
            Pinning::Spread { .. } => Pins::spread(len, self.pinned as u64, self.chunk as u64),
        }
    }

    /// The parts of the memory, in the order in which they lie there. Each is a multiple of four bytes. What is more than
    /// a machine can address counts as all that it can.
    pub fn regions(&self) -> [Region; 9] {
        let Sizes { buffers, rope, x, a, y, cache, .. } = self.sizes;
        let region = |name, count: usize, len| Region { name, len: count.saturating_mul(len), place: Place::Fast };
        [
            region("candidates", self.candidates, 8),
            region("buffers", 1, buffers),
            region("rope frequencies", 1, rope),
            region("residual stream", self.batch, 4 * x),
            // Three exponents and an excess of each token with them.
            region("activations", self.batch, 2 * a + 4 * y + 16),
            region("attention scores", self.context, 4),
            region("token history", self.context, 4),
            Region { place: self.cache_place, ..region("kv cache", 1, cache.byte_len()) },
            Region { place: self.pinned_place, ..region("pinned weights", 1, self.pinned) },
        ]
    }

    /// Bytes in all of the first memory, alignment included.
    pub fn total(&self) -> usize {
        self.lens(Place::Fast).fold(ALIGNMENT, usize::saturating_add)
    }

    /// Bytes in all of the second memory, alignment included; 0 if nothing lies there.
    pub fn large_total(&self) -> usize {
        match self.lens(Place::Large).fold(0, usize::saturating_add) {
            0 => 0,
            len => len.saturating_add(ALIGNMENT),
        }
    }

    fn lens(&self, place: Place) -> impl Iterator<Item = usize> {
        self.regions().into_iter().filter(move |region| region.place == place).map(|region| region.len)
    }
}

/// A memory may start at any address and is used from the next multiple of eight.
const ALIGNMENT: usize = 7;

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

/// What a session has done, for those who want to know what a token costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What was read.
    pub traffic: Traffic,
    /// Tokens that went through the layers, prompts included.
    pub tokens: u64,
    /// Passes over the tape, whole or up to the last layer's keys and values.
    pub passes: u64,
    /// Bytes of memory in use, with the 7 that alignment may take.
    pub ram_used: usize,
    /// Bytes of the second memory in use, likewise.
    pub large_used: usize,
    /// What the time went on, by the session's clock; zeros without one.
    pub ticks: Ticks,
}
