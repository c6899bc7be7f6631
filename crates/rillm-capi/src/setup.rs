//! What the caller gives: a model and memory.

use core::ffi::c_void;
use core::slice;

use rillm::{Bytes, MemoryLen, Model, Plan, PlanError, PlanOptions};

use crate::handle::Handle;
use crate::source::{CallerSource, ReadSectors};
use crate::status::Failure;

/// Bytes of the memory that the handle and the model's description take, wherever the memory starts.
const HANDLE_LEN: usize = size_of::<Model>() + align_of::<Model>() - 1 + size_of::<Handle>() + align_of::<Handle>() - 1;

/// A model, and memory to run it in. All that is zero is left out: start with `rillm_setup_t setup = {0};`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Setup {
    /// Reads the model; NULL where `model` is given.
    pub read: ReadSectors,
    /// What `read` is called with.
    pub read_user: *mut c_void,
    /// The whole model file, where it lies: memory-mapped flash, a constant. It is used in place, and must stay as it is
    /// until rillm_deinit. NULL where `read` is given.
    pub model: *const c_void,
    /// Its bytes.
    pub model_len: usize,
    /// Memory at any address, which is rillm's until rillm_deinit. rillm_plan only looks at its length.
    pub memory: *mut c_void,
    /// Its bytes. The more, the fewer weights are read for every token.
    pub memory_len: usize,
    /// A second, slower memory, external RAM for example, or NULL.
    pub large: *mut c_void,
    /// Its bytes.
    pub large_len: usize,
    /// Tokens to make room for, prompt and answer together; 0 for as many as the model was made for, or as fit.
    pub context: u32,
}

/// Where the memory goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The smallest `memory_len` that works with this model, this `large_len` and this `context` (0: for one token). With a
    /// read function, so little makes many small reads.
    pub smallest: usize,
    /// Bytes of `memory` that are used.
    pub memory: usize,
    /// Bytes of `large` that are used.
    pub large: usize,
    /// Tokens that there is room for, prompt and answer together.
    pub context: u32,
    /// Tokens of a prompt that go through the weights together.
    pub batch: u32,
    /// Bytes of the larger reads; 0 if all weights are in memory.
    pub chunk: usize,
    /// Bytes of weights that stay in memory.
    pub pinned: usize,
    /// Bytes of weights that a token takes; those that are not pinned are read for it, or lie in the model's memory.
    pub weights: u64,
}

impl Setup {
    /// The model's source.
    ///
    /// # Safety
    /// `model` is memory of `model_len` bytes that stays as it is as long as the source is used, or null; `read` is as
    /// [`ReadSectors`] says.
    pub unsafe fn source(&self) -> Result<CallerSource, Failure> {
        match (self.read, self.model.is_null()) {
            (Some(read), true) => Ok(CallerSource::Read(read, self.read_user)),
            (None, false) => {
                Span::new("setup.model", self.model, self.model_len)?;
                // SAFETY: as our caller promises; the length was checked.
                Ok(CallerSource::Memory(Bytes::lent(unsafe {
                    slice::from_raw_parts(self.model.cast(), self.model_len)
                })))
            }
            (Some(_), false) => {
                Err(Failure::Setup("setup has both a read function and a model; leave one of them NULL"))
            }
            (None, true) => Err(Failure::Setup("setup has neither a read function nor a model; give one of them")),
        }
    }

    /// Looks whether the memory can be memory, and is nobody else's.
    pub fn check_memory(&self) -> Result<(), Failure> {
        if self.memory.is_null() {
            return Err(Failure::Null("setup.memory"));
        }
        if self.large.is_null() && self.large_len > 0 {
            return Err(Failure::Setup("setup.large is NULL and setup.large_len is not 0; give both or neither"));
        }
        let spans = [
            Span::new("setup.memory", self.memory, self.memory_len)?,
            Span::new("setup.large", self.large, self.large_len)?,
            Span::new("setup.model", self.model, self.model_len)?,
        ];
        for (at, one) in spans.iter().enumerate() {
            if let Some(other) = spans[..at].iter().find(|other| one.overlaps(other)) {
                return Err(Failure::Overlap(other.name, one.name));
            }
        }
        Ok(())
    }

    /// What there is for the engine.
    fn engine_memory(&self) -> MemoryLen {
        MemoryLen { internal: self.memory_len.saturating_sub(HANDLE_LEN), external: self.large_len }
    }

    fn options(&self) -> PlanOptions {
        PlanOptions::default().context((self.context > 0).then_some(self.context as usize))
    }

    /// The engine's plan.
    pub fn plan(&self, model: &Model, source: &CallerSource) -> Result<Plan, Failure> {
        let too_small = |error: PlanError| {
            let [needed, smallest] = [error.needed, error.smallest].map(|len| len.saturating_add(HANDLE_LEN));
            Failure::Memory(PlanError { needed, smallest, given: self.memory_len, ..error })
        };
        Plan::new(model, source, self.engine_memory(), &self.options()).map_err(too_small)
    }
}

impl MemoryPlan {
    /// Where the memory goes by the engine's plan, if it has room for one.
    pub fn of(setup: &Setup, model: &Model, source: &CallerSource, plan: Option<&Plan>) -> Self {
        let weights = model.tape_len();
        let smallest = smallest(setup, model, source).saturating_add(HANDLE_LEN);
        match plan {
            None => Self { smallest, weights, ..Self::default() },
            Some(plan) => Self {
                smallest,
                memory: plan.memory().internal + HANDLE_LEN,
                large: plan.memory().external,
                context: plan.context as u32,
                batch: plan.batch as u32,
                chunk: plan.chunk,
                pinned: plan.resident,
                weights,
            },
        }
    }
}

/// The fewest bytes of the first memory that have a plan.
fn smallest(setup: &Setup, model: &Model, source: &CallerSource) -> usize {
    let memory = |internal| MemoryLen { internal, ..setup.engine_memory() };
    let fails = |internal| Plan::new(model, source, memory(internal), &setup.options()).err();
    let (mut low, mut high) = (0, fails(0).map_or(0, |error| error.needed));
    while low < high {
        let middle = low + (high - low) / 2;
        if fails(middle).is_some() { low = middle + 1 } else { high = middle }
    }
    low
}

/// Bytes that the caller says are there.
struct Span {
    name: &'static str,
    start: usize,
    end: usize,
}

impl Span {
    fn new(name: &'static str, start: *const c_void, len: usize) -> Result<Self, Failure> {
        // Nothing is larger than half of all addresses.
        let end = start.addr().checked_add(len).filter(|_| len <= isize::MAX as usize);
        Ok(Self { name, start: start.addr(), end: end.ok_or(Failure::Region(name, len))? })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}
