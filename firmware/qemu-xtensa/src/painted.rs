//! Memory that shows how much of it was used.

/// What memory holds that nobody has written to.
const PAINT: u32 = 0xa5c3_965a;

/// Bytes that are painted together.
pub const PAINT_LEN: usize = size_of::<u32>();

/// A part of memory that was painted.
#[derive(Clone, Copy)]
pub struct Painted {
    start: *const u32,
    words: usize,
}

impl Painted {
    /// Paints the first `painted` of the `words` words from `start` on; the others count as written to.
    ///
    /// # Safety
    /// They are memory that is there for as long as the program runs, and nothing uses those that are painted.
    pub unsafe fn new(start: *mut u32, words: usize, painted: usize) -> Self {
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

    /// Bytes from its start to the last one that was written to.
    pub fn touched_from_start(&self) -> usize {
        (0..self.words).rev().find(|&i| self.is_touched(i)).map_or(0, |i| (i + 1) * PAINT_LEN)
    }

    /// Bytes from the first one that was written to, to its end.
    pub fn touched_from_end(&self) -> usize {
        (0..self.words).find(|&i| self.is_touched(i)).map_or(0, |i| (self.words - i) * PAINT_LEN)
    }

    fn is_touched(&self, word: usize) -> bool {
        // SAFETY: the word lies in memory that is there for as long as the program runs; what it holds is only looked at.
        unsafe { self.start.add(word).read_volatile() != PAINT }
    }
}
