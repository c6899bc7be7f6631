//! Vectors of a batch.

use core::ops::Range;

/// Vectors that rows are multiplied by, one for each token of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    values: &'a [i16],
    stride: usize,
    len: usize,
}

impl<'a> Vectors<'a> {
    /// Creates a view of `len` vectors, each of which starts `stride` values after the one before it and has as many values, of
    /// which rows use the first ones. No value is −32,768.
    ///
    /// # Panics
    /// If there are fewer values.
    pub fn new(values: &'a [i16], stride: usize, len: usize) -> Self {
        Self { values: &values[..stride * len], stride, len }
    }

    /// One vector.
    pub fn one(x: &'a [i16]) -> Self {
        Self::new(x, x.len(), 1)
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A vector.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> &'a [i16] {
        &self.values[index * self.stride..][..self.stride]
    }

    /// Some of the vectors.
    ///
    /// # Panics
    /// If there are fewer vectors.
    pub fn range(&self, range: Range<usize>) -> Self {
        Self::new(&self.values[range.start * self.stride..], self.stride, range.len())
    }
}
