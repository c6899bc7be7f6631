//! Safe allocation from the caller's memory, for values that refer to each other.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::slice;

/// Memory of a C caller, which may be uninitialised. Parts are taken from its front and never overlap.
pub struct Region<'m>(&'m mut [MaybeUninit<u8>]);

impl<'m> Region<'m> {
    /// `len` bytes from `start` on. Empty if `start` is null.
    ///
    /// # Safety
    /// If `start` is not null, the bytes are part of one allocation, at most `isize::MAX` of them, and nobody else uses
    /// them during `'m`.
    pub unsafe fn new(start: *mut c_void, len: usize) -> Self {
        if start.is_null() {
            return Self(&mut []);
        }
        // SAFETY: as our caller promises; `MaybeUninit` bytes may have any contents.
        Self(unsafe { slice::from_raw_parts_mut(start.cast(), len) })
    }

    /// Moves `value` into the memory, at the next aligned address. None if there is no room. The value is never
    /// dropped.
    pub fn place<T>(&mut self, value: T) -> Option<&'m mut T> {
        let skip = self.0.as_ptr().align_offset(align_of::<T>());
        self.take(skip)?;
        let bytes = self.take(size_of::<T>())?;
        // SAFETY: the bytes have the size and alignment of T and are borrowed for 'm, and `MaybeUninit` may have any
        // contents.
        let place = unsafe { &mut *bytes.as_mut_ptr().cast::<MaybeUninit<T>>() };
        Some(place.write(value))
    }

    /// Takes `len` bytes and zeroes them. None if there is no room.
    pub fn bytes(&mut self, len: usize) -> Option<&'m mut [u8]> {
        let bytes = self.take(len)?;
        bytes.fill(MaybeUninit::new(0));
        // SAFETY: all of them were written just now.
        Some(unsafe { bytes.assume_init_mut() })
    }

    fn take(&mut self, len: usize) -> Option<&'m mut [MaybeUninit<u8>]> {
        let (taken, rest) = core::mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_behind_each_other_where_they_may() {
        let mut memory = [const { MaybeUninit::<u8>::uninit() }; 64];
        for start in 0..8 {
            let memory = &mut memory[start..];
            // SAFETY: this function owns the array.
            let mut region = unsafe { Region::new(memory.as_mut_ptr().cast(), memory.len()) };
            let one = region.place(1_u8).expect("room");
            let eight = region.place(8_u64).expect("room");
            let bytes = region.bytes(9).expect("room");
            assert_eq!((*one, *eight, &*bytes), (1, 8, &[0; 9][..]));
            assert!((&raw const *eight).is_aligned());
            assert!((&raw const *one).addr() < (&raw const *eight).addr());
            assert!((&raw const *eight).addr() + 8 <= bytes.as_ptr().addr());
            bytes.fill(7);
            assert_eq!((*one, *eight), (1, 8));
        }
    }

    #[test]
    fn what_has_no_room_is_not_there() {
        let mut memory = [MaybeUninit::<u8>::uninit(); 8];
        let start = (&raw mut memory).cast();
        // SAFETY: this function owns the array, and one region of it lives at a time.
        let region = || unsafe { Region::new(start, 8) };
        assert!(region().place([0_u8; 9]).is_none());
        assert!(region().bytes(9).is_none());
        // SAFETY: null is allowed.
        let mut none = unsafe { Region::new(core::ptr::null_mut(), 8) };
        assert!(none.bytes(1).is_none());
        assert!(none.bytes(0).is_some_and(|bytes| bytes.is_empty()));
    }
}
