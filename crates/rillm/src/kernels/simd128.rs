//! The kernel for WebAssembly with 128-bit vectors: four rows at a time.
//!
//! A group's sum is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::wasm32::*;

use super::fours::{BLOCK, Four, GROUP, INT4_LEN, LastGroup, by_nibble};
use super::{Bits, Rows, int4_scale};
use crate::format::INT4_LEVELS;

/// Sums of four rows in 64 bits: of rows 0 and 1, then of rows 2 and 3.
type Totals = [v128; 2];

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    if rows.group != GROUP {
        return rows.dot_generic(x, sums);
    }
    sums.fill(0);
    match rows.bits {
        Bits::Four => int4_rows(rows, x, sums),
        Bits::Eight => int8_rows(rows, x, sums),
    }
}

fn int8_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (groups, last) = (x.as_chunks().0, LastGroup::new(x));
    for (index, sums) in sums.chunks_mut(4).enumerate() {
        let four = Four::new(rows, 4 * index);
        let mut totals = [i64x2_splat(0); 2];
        for (group, x) in groups.iter().enumerate() {
            // SAFETY: a row holds `cols` values, and a scale for each group of `x`.
            let (group, scales) = unsafe {
                let q = four.starts().map(|row| row.add(group * GROUP));
                (int8_group(q, x), four.starts().map(|row| i32::from(*row.add(rows.cols + group))))
            };
            add_scaled(&mut totals, group, scales);
        }
        if let Some(last) = &last {
            let (q, scales) = last.int8(&four, rows.cols);
            // SAFETY: the arrays hold a group.
            let group = unsafe { int8_group(q.each_ref().map(|q| q.as_ptr()), &last.x) };
            add_scaled(&mut totals, group, scales.map(i32::from));
        }
        add(sums, totals);
    }
}

/// The sums of a group of four rows.
///
/// # Safety
/// `q` points to a group of each row.
unsafe fn int8_group(q: [*const u8; 4], x: &[i16; GROUP]) -> v128 {
    let mut sums = [i32x4_splat(0); 4];
    for (sum, q) in sums.iter_mut().zip(q) {
        for eighth in 0..4 {
            // SAFETY: `q` points to 32 bytes, `x` to 32 values.
            let (q, x) = unsafe {
                (i16x8_load_extend_i8x8(q.add(8 * eighth).cast()), v128_load(x.as_ptr().add(8 * eighth).cast()))
            };
            *sum = i32x4_add(*sum, i32x4_dot_i16x8(q, x));
        }
    }
    reduce(sums)
}

fn int4_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let mut ordered = [[[0; 8]; 4]; BLOCK];
    for (block, x) in x.as_chunks().0.chunks(BLOCK).enumerate() {
        for (ordered, x) in ordered.iter_mut().zip(x) {
            *ordered = by_nibble(x);
        }
        for (index, sums) in sums.chunks_mut(4).enumerate() {
            let starts = Four::new(rows, 4 * index).starts();
            // SAFETY: a row has all groups of `x`.
            let totals = unsafe { int4(starts.map(|row| row.add(block * BLOCK * INT4_LEN)), &ordered[..x.len()]) };
            add(sums, totals);
        }
    }
    if let Some(last) = LastGroup::new(x) {
        let x = [by_nibble(&last.x)];
        for (index, sums) in sums.chunks_mut(4).enumerate() {
            let groups = last.int4(&Four::new(rows, 4 * index), rows.cols);
            // SAFETY: the arrays hold a group.
            add(sums, unsafe { int4(groups.each_ref().map(|group| group.as_ptr()), &x) });
        }
    }
}

/// The sums of four rows over the groups of `x`, whose values are in the order of [`by_nibble`].
///
/// # Safety
/// `rows` points to that many groups of each row.
unsafe fn int4(rows: [*const u8; 4], x: &[[[i16; 8]; 4]]) -> Totals {
    let mut totals = [i64x2_splat(0); 2];
    for (group, x) in x.iter().enumerate() {
        let (mut sums, mut scales) = ([i32x4_splat(0); 4], [0; 4]);
        for ((sum, scale), row) in sums.iter_mut().zip(&mut scales).zip(rows) {
            // SAFETY: the rows have this group, whose scale is its last byte.
            unsafe {
                let group = row.add(group * INT4_LEN);
                *sum = int4_sums(v128_load(group.cast()), x);
                *scale = int4_scale(*group.add(INT4_LEN - 1));
            }
        }
        add_scaled(&mut totals, reduce(sums), scales);
    }
    totals
}

/// Four partial sums of a group.
fn int4_sums(bytes: v128, x: &[[i16; 8]; 4]) -> v128 {
    // SAFETY: reads the levels, and `x`.
    let (levels, x) =
        unsafe { (v128_load(INT4_LEVELS.as_ptr().cast()), x.each_ref().map(|x| v128_load(x.as_ptr().cast()))) };
    let lower = i8x16_swizzle(levels, v128_and(bytes, u8x16_splat(15)));
    let upper = i8x16_swizzle(levels, u8x16_shr(bytes, 4));
    // In 16 bits each: the even bytes' levels of both, then the odd bytes'.
    let even = i32x4_add(
        i32x4_dot_i16x8(i16x8_shr(i16x8_shl(lower, 8), 8), x[0]),
        i32x4_dot_i16x8(i16x8_shr(i16x8_shl(upper, 8), 8), x[1]),
    );
    let odd = i32x4_add(i32x4_dot_i16x8(i16x8_shr(lower, 8), x[2]), i32x4_dot_i16x8(i16x8_shr(upper, 8), x[3]));
    i32x4_add(even, odd)
}

/// The totals of four vectors of partial sums.
fn reduce([a, b, c, d]: [v128; 4]) -> v128 {
    let pairs = |a, b| i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b));
    pairs(pairs(a, b), pairs(c, d))
}

/// Adds `sums · scales`.
fn add_scaled([low, high]: &mut Totals, sums: v128, [s, t, u, v]: [i32; 4]) {
    let scales = i32x4(s, t, u, v);
    *low = i64x2_add(*low, i64x2_extmul_low_i32x4(sums, scales));
    *high = i64x2_add(*high, i64x2_extmul_high_i32x4(sums, scales));
}

fn add(sums: &mut [i64], [low, high]: Totals) {
    let totals = [low, high].map(|pair| [i64x2_extract_lane::<0>(pair), i64x2_extract_lane::<1>(pair)]);
    for (sum, total) in sums.iter_mut().zip(totals.into_iter().flatten()) {
        *sum += total;
    }
}
