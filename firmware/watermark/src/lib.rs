//! Measures the high-water mark of memory: fills it with a pattern, and finds out later how much was overwritten.
#![no_std]

#[cfg(test)]
extern crate std;

use core::slice;

/// The pattern in unused memory.
const PAINT: u32 = 0xa5c3_965a;

/// Length of the pattern in bytes.
const PAINT_LEN: usize = size_of::<u32>();

/// More words of the stack than filling it uses: the loop, and register windows that it may spill.
const FRAME: usize = 128;

/// The high-water mark of memory that was filled with the pattern.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    start: *const u32,
    words: usize,
}

impl Watermark {
    /// Fills the first `painted` of the `words` words at `start` with the pattern. The others count as used.
    ///
    /// # Safety
    /// The memory exists for the whole program, and nothing uses the part to fill.
    unsafe fn new(start: *mut u32, words: usize, painted: usize) -> Self {
        for word in 0..painted {
            // SAFETY: as our caller promises.
            unsafe { start.add(word).write_volatile(PAINT) };
        }
        Self { start, words }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.words * PAINT_LEN
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Bytes from the start to the last one that was overwritten.
    pub fn touched_from_start(&self) -> usize {
        (0..self.words).rev().find(|&i| self.is_touched(i)).map_or(0, |i| (i + 1) * PAINT_LEN)
    }

    /// Bytes from the first one that was overwritten to the end.
    fn touched_from_end(&self) -> usize {
        (0..self.words).find(|&i| self.is_touched(i)).map_or(0, |i| (self.words - i) * PAINT_LEN)
    }

    fn is_touched(&self, word: usize) -> bool {
        // SAFETY: the word is in memory that exists for the whole program, and is only read.
        unsafe { self.start.add(word).read_volatile() != PAINT }
    }
}

/// The stack, with its unused part filled with the pattern.
#[derive(Clone, Copy, Debug)]
pub struct Stack(Watermark);

impl Stack {
    /// Fills the stack from `bottom` to `pointer`, except for a margin that this function itself may use.
    ///
    /// # Safety
    /// The stack is between `bottom` and `top`, both aligned to four bytes, for the whole program. `pointer` is the
    /// current stack pointer or a lower address in the stack. Nothing uses the memory below it except interrupts, which
    /// leave no data there.
    pub unsafe fn paint(bottom: *mut u32, top: *const u32, pointer: usize) -> Self {
        let words = (top.addr() - bottom.addr()) / PAINT_LEN;
        let free = (pointer - bottom.addr()) / PAINT_LEN;
        // SAFETY: as our caller promises.
        Self(unsafe { Watermark::new(bottom, words, free.saturating_sub(FRAME)) })
    }

    /// Length of the stack in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a program has a stack")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// High-water mark in bytes.
    pub fn peak(&self) -> usize {
        self.0.touched_from_end()
    }
}

/// Memory for the engine, with its high-water mark.
#[derive(Debug)]
pub struct Arena {
    /// The memory.
    pub bytes: &'static mut [u8],
    /// Its high-water mark, counted from the start.
    pub watermark: Watermark,
}

impl Arena {
    /// Fills `len` bytes, rounded down to whole words, with the pattern.
    ///
    /// # Safety
    /// The bytes exist for the whole program, are aligned to four bytes, and nothing else ever uses them.
    pub unsafe fn paint(start: *mut u32, len: usize) -> Self {
        let words = len / PAINT_LEN;
        // SAFETY: as our caller promises; the bytes were just written.
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
        // SAFETY: leaked memory of whole words, which nothing else uses.
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
