//! The generic kernel of int4 rows.
//!
//! The levels lie within ±127 as the values of int8 do, so that the same sums fit: see [`generic`](super::generic).

use super::{Rows, dot};
use crate::format::INT4_LEVELS;

/// Columns that are decoded at a time.
const BLOCK: usize = 32;

/// For each byte of weights the levels of its lower and its upper four bits.
const LEVELS: [[i8; 2]; 256] = {
    let mut levels = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        levels[byte] = [INT4_LEVELS[byte & 15], INT4_LEVELS[byte >> 4]];
        byte += 1;
    }
    levels
};

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    for (row, sum) in sums.iter_mut().enumerate() {
        *sum = 0;
        for (number, x) in x.chunks(rows.group).enumerate() {
            let (nibbles, scale) = rows.group(row, number);
            *sum += i64::from(dot_group(nibbles, x)) * i64::from(scale);
        }
    }
}

/// `Σ q · x` of a group.
pub fn dot_group(nibbles: &[u8], x: &[i16]) -> i32 {
    let mut sum = 0;
    for (nibbles, x) in nibbles.chunks(BLOCK / 2).zip(x.chunks(BLOCK)) {
        let mut q = [[0; 2]; BLOCK / 2];
        for (q, &nibbles) in q.iter_mut().zip(nibbles) {
            *q = LEVELS[usize::from(nibbles)];
        }
        sum += dot(&q.as_flattened()[..x.len()], x);
    }
    sum
}
