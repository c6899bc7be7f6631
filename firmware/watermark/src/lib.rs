//! Memory painted so that its high-water mark shows: how much of it was ever written to.
#![no_std]

#[cfg(test)]
extern crate std;

use core::slice;

/// What memory holds that nobody has written to.
const PAINT: u32 = 0xa5c3_965a;

/// Bytes that are painted together.
const PAINT_LEN: usize = size_of::<u32>();

/// More words than the painting of a stack takes of it: the loop, and register windows that it may push out.
const FRAME: usize = 128;

/// The high-water mark of memory that was painted.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    start: *const u32,
    words: usize,
}

impl Watermark {
    /// Paints the first `painted` of the `words` words from `start` on; the others count as written to.
    ///
    /// # Safety
    /// They are memory that is there for as long as the program runs, and nothing uses those that are painted.
    unsafe fn new(start: *mut u32, words: usize, painted: usize) -> Self {
        for word in 0..painted {
            // SAFETY: the caller's.
            unsafe { start.add(word).write_volatile(PAINT) };
        }
        Self { start, words }
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.words * PAINT_LEN
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Bytes from its start to the last one that was written to.
    pub fn touched_from_start(&self) -> usize {
        (0..self.words).rev().find(|&i| self.is_touched(i)).map_or(0, |i| (i + 1) * PAINT_LEN)
    }

    /// Bytes from the first one that was written to, to its end.
    fn touched_from_end(&self) -> usize {
        (0..self.words).find(|&i| self.is_touched(i)).map_or(0, |i| (self.words - i) * PAINT_LEN)
    }

    fn is_touched(&self, word: usize) -> bool {
        // SAFETY: the word lies in memory that is there for as long as the program runs; what it holds is only looked at.
        unsafe { self.start.add(word).read_volatile() != PAINT }
    }
}

/// The stack, of which what was not in use is painted.
#[derive(Clone, Copy, Debug)]
pub struct Stack(Watermark);

impl Stack {
    /// Paints what lies from `bottom` to `pointer`, but for a margin that the painting itself may use.
    ///
    /// # Safety
    /// The stack lies from `bottom` up to `top`, both aligned to four bytes, for as long as the program runs; `pointer` is its
    /// pointer now or a lower address within it, and nothing uses what lies below but interrupts, which leave nothing there.
    pub unsafe fn paint(bottom: *mut u32, top: *const u32, pointer: usize) -> Self {
        let words = (top.addr() - bottom.addr()) / PAINT_LEN;
        let free = (pointer - bottom.addr()) / PAINT_LEN;
        // SAFETY: the caller's.
        Self(unsafe { Watermark::new(bottom, words, free.saturating_sub(FRAME)) })
    }

    /// Bytes of it.
    #[expect(clippy::len_without_is_empty, reason = "a program has a stack")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The most bytes that were in use.
    pub fn peak(&self) -> usize {
        self.0.touched_from_end()
    }
}

/// Memory for the engine, and its high-water mark.
#[derive(Debug)]
pub struct Arena {
    /// The memory.
    pub bytes: &'static mut [u8],
    /// How far it was written to.
    pub watermark: Watermark,
}

impl Arena {
    /// Paints `len` bytes, rounded down to whole words.
    ///
    /// # Safety
    /// They are memory that is there for as long as the program runs, aligned to four bytes, and nothing else ever uses them.
    pub unsafe fn paint(start: *mut u32, len: usize) -> Self {
        let words = len / PAINT_LEN;
        // SAFETY: the caller's; the bytes were just written.
        unsafe {
            let watermark = Watermark::new(start, words, words);
            Self { bytes: slice::from_raw_parts_mut(start.cast(), words * PAINT_LEN), watermark }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    #[test]
    fn an_arena_shows_what_was_written_to() {
        let words = Box::leak(Box::new([0_u32; 8]));
        // SAFETY: leaked memory, whole words of it, which nothing else uses.
        let arena = unsafe { Arena::paint(words.as_mut_ptr(), 31) };
        assert_eq!((arena.bytes.len(), arena.watermark.len(), arena.watermark.touched_from_start()), (28, 28, 0));
        arena.bytes[9] = 1;
        assert_eq!(arena.watermark.touched_from_start(), 12);
    }

    #[test]
    fn a_stack_grows_downwards_from_what_was_in_use() {
        let words = Box::leak(Box::new([0_u32; 200]));
        let range = words.as_mut_ptr_range();
        // SAFETY: leaked memory, which nothing uses, as if it were a stack with 20 words in use.
        let stack = unsafe { Stack::paint(range.start, range.end, range.start.wrapping_add(180).addr()) };
        assert_eq!((stack.len(), stack.peak()), (800, 4 * (20 + FRAME)));
        // SAFETY: the same memory.
        unsafe { range.start.add(7).write_volatile(0) };
        assert_eq!(stack.peak(), 800 - 28);
    }
}
