//! Rows in fours, and groups of 32 columns, for the kernels with vector registers.

use super::Rows;
/// Weights that share a scale. These kernels support only this number.
pub use super::generic::GROUP;
use crate::format::INT4_LEVELS;

/// Bytes of a group of int4, its scale included.
pub const INT4_LEN: usize = GROUP / 2 + 1;
/// The levels of int4, each 128 larger. Of two in 16 bits, either becomes a number by one instruction. They are at most 241, so that
/// a group's sum is below 2^28, too: 32 products of at most 241 · 32,767.
pub const UNSIGNED_LEVELS: [u8; 16] = {
    let mut levels = [0; 16];
    let mut level = 0;
    while level < 16 {
        levels[level] = INT4_LEVELS[level] as u8 ^ 128;
        level += 1;
    }
    levels
};
/// Groups whose `x` is put in the order of int4 at a time.
const BLOCK: usize = 16;
/// Fours of rows whose last groups are copied at a time, so that none is read while it is still being written.
const FOURS: usize = 4;

/// Multiplies rows of int8, four at a time. `whole` returns the totals of four rows over the whole groups of `x`; `last` adds a
/// group, of which it gets the values, `x` and the scales; `sums_of` turns totals into the rows' sums.
#[inline(always)]
pub fn int8_rows<T>(
    rows: &Rows<'_>,
    x: &[i16],
    sums: &mut [i64],
    whole: impl Fn([*const u8; 4], &[[i16; GROUP]]) -> T,
    last: impl Fn(T, [&[u8; GROUP]; 4], &[i16; GROUP], [u8; 4]) -> T,
    sums_of: impl Fn(T) -> [i64; 4],
) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    let (groups, last_group) = (x.as_chunks().0, LastGroup::new(x));
    for (index, sums) in sums.chunks_mut(4).enumerate() {
        let four = Four::new(rows, 4 * index);
        let mut totals = whole(four.starts(), groups);
        if let Some(group) = &last_group {
            let mut copies = [[0; GROUP]; 4];
            let (q, scales) = group.int8(&four, rows.cols, &mut copies);
            totals = last(totals, q, &group.x, scales);
        }
        let totals = sums_of(totals);
        match sums.as_mut_array() {
            Some(sums) => *sums = totals,
            None => sums.copy_from_slice(&totals[..sums.len()]),
        }
    }
}

/// Multiplies rows of int4, four at a time. `group` makes of a group of `x` what `sums_of` needs, which returns the sums of four
/// rows over such groups.
#[inline(always)]
pub fn int4_rows<G: Copy + Default>(
    rows: &Rows<'_>,
    x: &[i16],
    sums: &mut [i64],
    group: impl Fn(&[i16; GROUP]) -> G,
    sums_of: impl Fn([*const u8; 4], &[G]) -> [i64; 4],
) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    sums.fill(0);
    let add = |sums: &mut [i64], totals: [i64; 4]| {
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum += total);
    };
    let mut groups = [G::default(); BLOCK];
    for (block, x) in x.as_chunks().0.chunks(BLOCK).enumerate() {
        for (to, x) in groups.iter_mut().zip(x) {
            *to = group(x);
        }
        let before = block * BLOCK * INT4_LEN;
        for (index, sums) in sums.chunks_mut(4).enumerate() {
            let starts = Four::new(rows, 4 * index).starts().map(|row| row.wrapping_add(before));
            add(sums, sums_of(starts, &groups[..x.len()]));
        }
    }
    if let Some(last) = LastGroup::new(x) {
        let x = [group(&last.x)];
        let mut copies = [[[0; INT4_LEN]; 4]; FOURS];
        for (block, sums) in sums.chunks_mut(4 * FOURS).enumerate() {
            for (index, copies) in copies[..sums.len().div_ceil(4)].iter_mut().enumerate() {
                *copies = last.int4(&Four::new(rows, 4 * (block * FOURS + index)), rows.cols);
            }
            for (sums, groups) in sums.chunks_mut(4).zip(&copies) {
                add(sums, sums_of(groups.each_ref().map(|group| group.as_ptr()), &x));
            }
        }
    }
}

/// The columns after the last whole group as a group of their own, `x` followed by zeros.
struct LastGroup {
    /// Number of its columns.
    len: usize,
    /// The values of `x`.
    x: [i16; GROUP],
}

impl LastGroup {
    /// Returns `None` if all groups are whole.
    fn new(x: &[i16]) -> Option<Self> {
        let rest = x.as_chunks::<GROUP>().1;
        (!rest.is_empty()).then(|| {
            let mut x = [0; GROUP];
            x[..rest.len()].copy_from_slice(rest);
            Self { len: rest.len(), x }
        })
    }

    /// The values and the scales of four rows of int8. What follows the values in a row is multiplied by zeros. Where too little
    /// follows, a copy takes the group's place.
    fn int8<'a>(
        &self,
        four: &Four<'a>,
        cols: usize,
        copies: &'a mut [[u8; GROUP]; 4],
    ) -> ([&'a [u8; GROUP]; 4], [u8; 4]) {
        let group = |row: &'a [u8], copy: &'a mut [u8; GROUP]| {
            let group = &row[cols - self.len..];
            group.first_chunk().unwrap_or_else(|| {
                copy[..group.len()].copy_from_slice(group);
                copy
            })
        };
        let ([a, b, c, d], [e, f, g, h]) = (four.0, copies.each_mut());
        ([group(a, e), group(b, f), group(c, g), group(d, h)], four.0.map(|row| row[cols + cols / GROUP]))
    }

    /// The group of four rows of int4, the scale behind 16 bytes of values as in a whole group.
    fn int4(&self, four: &Four<'_>, cols: usize) -> [[u8; INT4_LEN]; 4] {
        let first = cols / GROUP * INT4_LEN;
        four.0.map(|row| {
            let mut group = padded(&row[first..]);
            group[INT4_LEN - 1] = row[first + self.len.div_ceil(2)];
            group
        })
    }
}

/// Four rows, from the start of each to the end of the last row in memory. The last row takes the place of missing ones.
pub struct Four<'a>([&'a [u8]; 4]);

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
pub fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; N];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded
    })
}

/// A group of `x` for weights of int4.
#[derive(Clone, Copy, Default)]
pub struct Int4Group {
    /// The values in the order in which the bytes give the weights: columns 0, 4, 8 ..., then 1, 5, 9 ..., then 2, 6, 10 ...,
    /// then 3, 7, 11 ....
    pub x: [[i16; 8]; 4],
    /// What makes a sum of products with [`UNSIGNED_LEVELS`] that of the weights: −128 times the sum of `x`.
    pub offset: i32,
}

impl Int4Group {
    #[inline(always)]
    pub fn new(x: &[i16; GROUP]) -> Self {
        Self {
            x: core::array::from_fn(|nibble| core::array::from_fn(|byte_pair| x[4 * byte_pair + nibble])),
            offset: -128 * x.iter().map(|&x| i32::from(x)).sum::<i32>(),
        }
    }
}
