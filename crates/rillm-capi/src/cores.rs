//! Rows that other cores multiply, through the caller's function.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use rillm::kernels::{Multiply, Rows};

use crate::setup::Setup;
use crate::status::Failure;

/// Largest number of parts in which rows are shared.
pub const RILLM_PARTS_MAX: usize = 8;

/// Has rillm_multiply called once for each of the parts 0 to `setup.parts` - 1, each on a core or thread of its own, one
/// of them its own, and returns when these calls have returned. A part that it leaves out is multiplied after it, so that
/// a core that is busy may be passed over. It is called for every few rows of every matrix of every token, some microseconds
/// apart: let the other cores poll, rather than wait for an interrupt. It must not call rillm with the same handle, throw
/// or longjmp.
pub type ShareRows = Option<unsafe extern "C" fn(user: *mut c_void, work: *const Work<'static>)>;

/// Rows of a matrix, a vector, and the sums to compute.
pub struct Work<'a> {
    rows: Rows<'a>,
    x: &'a [i16],
    sums: *mut [i64],
    /// Rows of a part, the last one excepted.
    part: usize,
    /// Which parts are multiplied.
    done: [AtomicBool; RILLM_PARTS_MAX],
}

/// The caller's function.
pub struct Cores {
    share: unsafe extern "C" fn(*mut c_void, *const Work<'static>),
    user: *mut c_void,
    /// Number of parts, 2 to [`RILLM_PARTS_MAX`].
    parts: usize,
}

// SAFETY: the pointer is only passed on to the caller's function, on the thread of the call that the caller made.
unsafe impl Sync for Cores {}

impl Cores {
    /// The cores of a setup; `None` if it has one core.
    pub fn of(setup: &Setup) -> Result<Option<Self>, Failure> {
        match (setup.share, setup.parts as usize) {
            (None, 0) => Ok(None),
            (None, _) => Err(Failure::Null("setup.share")),
            (Some(share), parts @ 2..=RILLM_PARTS_MAX) => Ok(Some(Self { share, user: setup.share_user, parts })),
            (Some(_), parts) => Err(Failure::Parts(parts)),
        }
    }
}

impl Multiply for Cores {
    /// Multiplies rows in parts. Each row is summed up on one core, so the result is the same as on one core.
    fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
        // Whole fours of rows, which the kernels multiply together.
        let part = rows.len().div_ceil(self.parts).next_multiple_of(4);
        if part >= rows.len() {
            return rows.dot(x, sums);
        }
        let done = [const { AtomicBool::new(false) }; RILLM_PARTS_MAX];
        let sums = &raw mut sums[..rows.len()];
        let work = Work { rows: *rows, x, sums, part, done };
        // SAFETY: the caller's function, with the arguments that it expects. When it has returned, no core uses the work
        // any more: whoever passed the function promised so.
        unsafe { (self.share)(self.user, (&raw const work).cast()) };
        for index in 0..work.rows.len().div_ceil(part) {
            if !work.done[index].load(Ordering::Acquire) {
                // SAFETY: the part is there, and nobody else multiplies.
                unsafe { work.multiply(index) };
            }
        }
    }
}

impl Work<'_> {
    /// Multiplies a part. Parts behind the last row have no rows.
    ///
    /// # Safety
    /// What the work borrows is still there, and nobody else multiplies this part at the same time.
    pub unsafe fn multiply(&self, index: usize) {
        let start = self.part.saturating_mul(index);
        if index >= RILLM_PARTS_MAX || start >= self.rows.len() {
            return;
        }
        let rows = self.rows.split_at(start).1.split_at(self.part).0;
        // SAFETY: the part's sums lie within the work's, which has one for each row, and belong to whoever multiplies it.
        let sums = unsafe { core::slice::from_raw_parts_mut(self.sums.cast::<i64>().add(start), rows.len()) };
        rows.dot(self.x, sums);
        self.done[index].store(true, Ordering::Release);
    }
}
