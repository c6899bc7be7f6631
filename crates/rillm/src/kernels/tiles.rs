//! Tiles for the kernels with wide vector registers: a group of 32 columns of as many rows as a register has 32-bit lanes. In
//! each register of a tile a lane holds two columns of one row, so that sums need no additions across lanes, and a tile that
//! is in registers multiplies all vectors of a batch.

use super::fours::{GROUP, INT4_LEN, padded};
use super::x86_64::prefetch;
use super::{Bits, Rows, Vectors};

/// Registers of a tile.
pub const REGISTERS: usize = GROUP / 2;
/// Groups that are multiplied at a time.
pub const BLOCK: usize = 8;
/// Bytes from the first scale on that are loaded for a block of int8.
const SCALES: usize = 16;
/// The most vectors of a batch that are multiplied at a time.
const BATCH: usize = 32;
/// Vectors that are multiplied by a tile at the same time, and their number in a batch.
const TOGETHER: usize = 8;
pub const EIGHTS: usize = BATCH / TOGETHER;

/// A group of a vector, in pairs of columns.
pub type Pairs = [[i16; 2]; REGISTERS];
/// A group of eight vectors: for each register of a tile the pair of columns that it has.
pub type Eight = [[[i16; 2]; TOGETHER]; REGISTERS];
/// The sums of eight vectors and `W` rows.
pub type Sums<const W: usize> = [[i64; W]; TOGETHER];

/// Some groups of `W` consecutive rows.
pub struct Groups<const W: usize> {
    /// Where the first of them starts in each row.
    pub starts: [*const u8; W],
    /// In int8, the scales of each row's groups.
    pub scales: [[u8; SCALES]; W],
}

/// Multiplies rows by vectors, `W` rows and at most [`BATCH`] vectors at a time.
///
/// `transpose` turns a group of eight vectors round. `multiply` gets some groups of `W` rows, the same groups of eight vectors
/// each, and adds to the sums of each vector. Missing rows are the last one again, missing vectors are zero.
#[inline(always)]
pub fn multiply<const W: usize>(
    rows: &Rows<'_>,
    x: Vectors<'_>,
    sums: &mut [i64],
    transpose: impl Fn(&[Pairs; TOGETHER]) -> Eight,
    mut multiply: impl FnMut(&Groups<W>, &[[Eight; EIGHTS]], &mut [Sums<W>]),
) {
    for first in (0..x.len()).step_by(BATCH) {
        let x = x.range(first..x.len().min(first + BATCH));
        let sums = &mut sums[first * rows.len()..][..x.len() * rows.len()];
        sums.fill(0);
        for group in (0..rows.cols.div_ceil(GROUP)).step_by(BLOCK) {
            multiply_block(rows, x, group, sums, &transpose, &mut multiply);
        }
    }
}

/// Adds the products of some groups, from number `first_group` on, to sums.
#[inline(always)]
fn multiply_block<const W: usize>(
    rows: &Rows<'_>,
    x: Vectors<'_>,
    first_group: usize,
    sums: &mut [i64],
    transpose: &impl Fn(&[Pairs; TOGETHER]) -> Eight,
    multiply: &mut impl FnMut(&Groups<W>, &[[Eight; EIGHTS]], &mut [Sums<W>]),
) {
    let (len, first_col) = (rows.len(), first_group * GROUP);
    let cols = (rows.cols - first_col).min(BLOCK * GROUP);
    let mut ordered = [[[[[0; 2]; TOGETHER]; REGISTERS]; EIGHTS]; BLOCK];
    for (number, ordered) in ordered[..cols.div_ceil(GROUP)].iter_mut().enumerate() {
        let (first, len) = (first_col + number * GROUP, GROUP.min(cols - number * GROUP));
        for (number, ordered) in ordered[..x.len().div_ceil(TOGETHER)].iter_mut().enumerate() {
            let mut group = [[[0; 2]; REGISTERS]; TOGETHER];
            for (group, token) in group.iter_mut().zip(number * TOGETHER..x.len()) {
                let (group, x) = (group.as_flattened_mut(), &x.get(token)[first..]);
                match x.first_chunk::<GROUP>() {
                    Some(x) if len == GROUP => group.copy_from_slice(x),
                    _ => group[..len].copy_from_slice(&x[..len]),
                }
            }
            *ordered = transpose(&group);
        }
    }
    let (whole, last) = ordered[..cols.div_ceil(GROUP)].split_at(cols / GROUP);
    let mut totals = [[[0; W]; TOGETHER]; EIGHTS];
    let totals = &mut totals[..x.len().div_ceil(TOGETHER)];
    for first in (0..len).step_by(W) {
        let row = |at: usize| (first + at).min(len - 1);
        for at in first + W..first + 2 * W {
            prefetch_groups(rows, at, first_group, cols);
        }
        totals.fill([[0; W]; TOGETHER]);
        if !whole.is_empty() {
            multiply(&in_place(rows, row, first_group), whole, totals);
        }
        if !last.is_empty() {
            let (bytes, scales) = last_groups(rows, row);
            let starts = bytes.each_ref().map(|group: &[u8; GROUP]| group.as_ptr());
            multiply(&Groups { starts, scales }, last, totals);
        }
        for (sums, totals) in sums.chunks_exact_mut(len).zip(totals.as_flattened()) {
            sums[first..].iter_mut().zip(totals).for_each(|(sum, total)| *sum += total);
        }
    }
}

/// Starts to fetch a row's groups, from number `first` on. The row need not exist.
#[inline(always)]
fn prefetch_groups(rows: &Rows<'_>, row: usize, first: usize, cols: usize) {
    let (start, len) = match rows.bits {
        Bits::Four => (first * INT4_LEN, cols / GROUP * INT4_LEN),
        Bits::Eight => (first * GROUP, cols),
    };
    let start = rows.bytes.as_ptr().wrapping_add(row * rows.row_len + start);
    for line in (0..len).step_by(64) {
        prefetch(start.wrapping_add(line));
    }
}

/// Adds the sums of even rows and of odd rows of each vector.
#[inline(always)]
pub fn add_even_and_odd<const W: usize, const HALF: usize>(sums: &mut Sums<W>, more: [[[i64; HALF]; 2]; TOGETHER]) {
    for (sums, [even, odd]) in sums.iter_mut().zip(more) {
        for (sums, (even, odd)) in sums.as_chunks_mut::<2>().0.iter_mut().zip(even.into_iter().zip(odd)) {
            sums[0] += even;
            sums[1] += odd;
        }
    }
}

/// Groups from number `first` on, where they are.
#[inline(always)]
fn in_place<const W: usize>(rows: &Rows<'_>, row: impl Fn(usize) -> usize, first: usize) -> Groups<W> {
    let bytes: [&[u8]; W] = core::array::from_fn(|at| &rows.bytes[row(at) * rows.row_len..]);
    match rows.bits {
        Bits::Four => Groups { starts: bytes.map(|row| row[first * INT4_LEN..].as_ptr()), scales: [[0; SCALES]; W] },
        Bits::Eight => Groups {
            starts: bytes.map(|row| row[first * GROUP..].as_ptr()),
            scales: bytes.map(|row| padded(&row[rows.cols + first..])),
        },
    }
}

/// Copies of the last groups, which are not whole, and their scales of int8. The scale of int4 is behind 16 bytes of values,
/// as in a whole group.
#[inline(always)]
fn last_groups<const W: usize>(rows: &Rows<'_>, row: impl Fn(usize) -> usize) -> ([[u8; GROUP]; W], [[u8; SCALES]; W]) {
    let (whole, rest) = (rows.cols / GROUP, rows.cols % GROUP);
    let mut groups = [[0; GROUP]; W];
    let mut scales = [[0; SCALES]; W];
    for (at, (group, scales)) in groups.iter_mut().zip(&mut scales).enumerate() {
        let row = rows.row(row(at));
        match rows.bits {
            Bits::Four => {
                let (values, after) = row[whole * INT4_LEN..].split_at(rest.div_ceil(2));
                group[..values.len()].copy_from_slice(values);
                group[INT4_LEN - 1] = after[0];
            }
            Bits::Eight => {
                group[..rest].copy_from_slice(&row[whole * GROUP..][..rest]);
                scales[0] = row[rows.cols + whole];
            }
        }
    }
    (groups, scales)
}
