//! The caller's setup: a model and memory.

use core::ffi::c_void;
use core::slice;

use rillm::{Bytes, Chat, MemoryLen, Model, Plan, PlanError, PlanOptions};

use crate::cores::{Cores, ShareRows};
use crate::handle::Handle;
use crate::source::{CallerSource, ReadSectors};
use crate::status::Failure;
use crate::stops::StopRoom;

/// Bytes of the memory for the handle, the model's description, the stop strings, a chat and the cores, at any alignment
/// of its start.
const HANDLE_LEN: usize = most_bytes::<Model>()
    + most_bytes::<Handle>()
    + most_bytes::<StopRoom>()
    + most_bytes::<Option<Chat>>()
    + most_bytes::<Cores>();

/// Bytes of a value at any alignment of the memory before it.
const fn most_bytes<T>() -> usize {
    size_of::<T>() + align_of::<T>() - 1
}

/// A model, and memory to run it in. Fields that are zero are left out: start with `rillm_setup_t setup = {0};`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Setup {
    /// Reads the model; NULL if `model` is given.
    pub read: ReadSectors,
    /// First argument of `read`.
    pub read_user: *mut c_void,
    /// The whole model file in memory: in memory-mapped flash, or a constant. It is used in place, and must not change
    /// until rillm_deinit. NULL if `read` is given.
    pub model: *const c_void,
    /// Length of `model` in bytes.
    pub model_len: usize,
    /// Memory at any address, for rillm alone until rillm_deinit. rillm_plan only uses its length.
    pub memory: *mut c_void,
    /// Length of `memory` in bytes. With more memory, fewer weights are read for every token.
    pub memory_len: usize,
    /// External memory, slower than `memory`, such as PSRAM; or NULL.
    pub external: *mut c_void,
    /// Length of `external` in bytes.
    pub external_len: usize,
    /// Tokens to make room for, prompt and answer together; 0 for as many as the model supports and the memory holds.
    pub context: u32,
    /// Tokens of a prompt to compute in one pass over the weights; 0 for as many as the memory holds, up to 32.
    pub batch: u32,
    /// Bytes of each read, rounded up to 512; 0 for as many as the memory holds, up to 16384.
    pub chunk: usize,
    /// Has other cores multiply a part of the rows; NULL to multiply all of them on the core of the call.
    pub share: ShareRows,
    /// First argument of `share`.
    pub share_user: *mut c_void,
    /// Number of parts for `share`, 2 to RILLM_PARTS_MAX: one for each core. 0 if `share` is NULL.
    pub parts: u32,
}

/// The usage of the memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The smallest `memory_len` that works with this model, `external_len` and `context` (0: for one token). With a read
    /// function, the smallest memory leads to many small reads.
    pub smallest: usize,
    /// Bytes of `memory` that are used.
    pub memory: usize,
    /// Bytes of `external` that are used.
    pub external: usize,
    /// Length of the context in tokens, prompt and answer together.
    pub context: u32,
    /// Tokens of a prompt that are computed in one pass over the weights.
    pub batch: u32,
    /// Bytes of the larger reads; 0 if all weights are in memory.
    pub chunk: usize,
    /// Bytes of resident weights, which stay in memory.
    pub resident: usize,
    /// Bytes of weights that a token uses. Those that are not resident are read for it, or used in the model's memory.
    pub weights: u64,
}

impl Setup {
    /// The source of the model.
    ///
    /// # Safety
    /// `model` is null, or memory of `model_len` bytes that does not change while the source is used; `read` is as
    /// [`ReadSectors`] requires.
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

    /// Checks that the memory can be an allocation and overlaps nothing else.
    pub fn check_memory(&self) -> Result<(), Failure> {
        if self.memory.is_null() {
            return Err(Failure::Null("setup.memory"));
        }
        if self.external.is_null() && self.external_len > 0 {
            return Err(Failure::Setup("setup.external is NULL and setup.external_len is not 0; give both or neither"));
        }
        let spans = [
            Span::new("setup.memory", self.memory, self.memory_len)?,
            Span::new("setup.external", self.external, self.external_len)?,
            Span::new("setup.model", self.model, self.model_len)?,
        ];
        for (at, one) in spans.iter().enumerate() {
            if let Some(other) = spans[..at].iter().find(|other| one.overlaps(other)) {
                return Err(Failure::Overlap(other.name, one.name));
            }
        }
        Ok(())
    }

    /// The memory that is left for the engine.
    fn engine_memory(&self) -> MemoryLen {
        MemoryLen { internal: self.memory_len.saturating_sub(HANDLE_LEN), external: self.external_len }
    }

    fn options(&self) -> PlanOptions {
        let given = |number: usize| (number > 0).then_some(number);
        let options = PlanOptions::default().context(given(self.context as usize));
        options.batch(given(self.batch as usize)).chunk(given(self.chunk))
    }

    /// The plan of the engine.
    pub fn plan(&self, model: &Model, source: &CallerSource) -> Result<Plan, Failure> {
        let too_small = |mut error: PlanError| {
            for len in [&mut error.needed, &mut error.smallest] {
                *len = len.saturating_add(HANDLE_LEN);
            }
            error.given = self.memory_len;
            Failure::Memory(error)
        };
        Plan::new(model, source, self.engine_memory(), &self.options()).map_err(too_small)
    }
}

impl MemoryPlan {
    /// The usage of the memory by the engine's plan, if there is one.
    pub fn of(setup: &Setup, model: &Model, source: &CallerSource, plan: Option<&Plan>) -> Self {
        let weights = model.tape_len();
        let smallest = smallest(setup, model, source).saturating_add(HANDLE_LEN);
        match plan {
            None => Self { smallest, weights, ..Self::default() },
            Some(plan) => Self {
                smallest,
                memory: plan.memory().internal + HANDLE_LEN,
                external: plan.memory().external,
                context: plan.context as u32,
                batch: plan.batch as u32,
                chunk: plan.chunk,
                resident: plan.resident,
                weights,
            },
        }
    }
}

/// The fewest bytes of internal memory that have a plan.
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

/// A region of memory that the caller describes.
struct Span {
    name: &'static str,
    start: usize,
    end: usize,
}

impl Span {
    fn new(name: &'static str, start: *const c_void, len: usize) -> Result<Self, Failure> {
        // No allocation is larger than half of the address space.
        let end = start.addr().checked_add(len).filter(|_| len <= isize::MAX as usize);
        Ok(Self { name, start: start.addr(), end: end.ok_or(Failure::Region(name, len))? })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}
