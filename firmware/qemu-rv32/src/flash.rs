//! A model in memory-mapped flash, used in place.

use core::{ptr, slice};

/// Address of the model in flash, and the most bytes of one.
const START: usize = 0x2200_0000;
const LEN_MAX: usize = 0x0e00_0000;

/// The first `len` bytes of the model's flash, or all of it.
pub fn model(len: usize) -> &'static [u8] {
    // SAFETY: the flash exists for the whole program, and nothing writes to it.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(START), len.min(LEN_MAX)) }
}
