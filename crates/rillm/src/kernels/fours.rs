//! Rows in fours, and groups of 32 columns, for the kernels with vector registers.

use super::Rows;

/// Weights that share a scale. These kernels support only this number.
pub const GROUP: usize = 32;
/// Bytes of a group of int4, its scale included.
pub const INT4_LEN: usize = GROUP / 2 + 1;
/// Groups whose `x` is put in the order of int4 at a time.
pub const BLOCK: usize = 16;

/// The columns after the last whole group as a group of their own, `x` followed by zeros.
pub struct LastGroup {
    /// Number of its columns.
    len: usize,
    /// The values of `x`.
    pub x: [i16; GROUP],
}

impl LastGroup {
    /// Returns `None` if all groups are whole.
    pub fn new(x: &[i16]) -> Option<Self> {
        let rest = x.as_chunks::<GROUP>().1;
        (!rest.is_empty()).then(|| {
            let mut x = [0; GROUP];
            x[..rest.len()].copy_from_slice(rest);
            Self { len: rest.len(), x }
        })
    }

    /// The values and the scales of four rows of int8. What follows the values in a row is multiplied by zeros.
    pub fn int8(&self, four: &Four<'_>, cols: usize) -> ([[u8; GROUP]; 4], [u8; 4]) {
        let first = cols - self.len;
        (four.0.map(|row| padded(&row[first..])), four.0.map(|row| row[cols + cols / GROUP]))
    }

    /// The group of four rows of int4, the scale behind 16 bytes of values as in a whole group.
    pub fn int4(&self, four: &Four<'_>, cols: usize) -> [[u8; INT4_LEN]; 4] {
        let first = cols / GROUP * INT4_LEN;
        four.0.map(|row| {
            let mut group = padded(&row[first..]);
            group[INT4_LEN - 1] = row[first + self.len.div_ceil(2)];
            group
        })
    }
}

/// Four rows, from the start of each to the end of the last row in memory. The last row takes the place of missing ones.
pub struct Four<'a>(pub [&'a [u8]; 4]);

impl<'a> Four<'a> {
    /// Rows `first` to `first + 3`.
    pub fn new(rows: &Rows<'a>, first: usize) -> Self {
        let last = rows.len() - 1;
        Self(core::array::from_fn(|row| &rows.bytes[(first + row).min(last) * rows.row_len..]))
    }

    /// Where the rows start.
    pub fn starts(&self) -> [*const u8; 4] {
        self.0.map(<[u8]>::as_ptr)
    }
}

/// The first `N` bytes, followed by zeros where there are fewer.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; N];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded
    })
}

/// A group's `x` in the order in which the bytes of int4 give their values: columns 0, 4, 8 ..., then 1, 5, 9 ...,
/// then 2, 6, 10 ..., then 3, 7, 11 ....
#[inline(always)]
pub fn by_nibble(x: &[i16; GROUP]) -> [[i16; 8]; 4] {
    core::array::from_fn(|nibble| core::array::from_fn(|byte_pair| x[4 * byte_pair + nibble]))
}
