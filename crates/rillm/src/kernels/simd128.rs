//! The kernel for WebAssembly with 128-bit vectors: four rows at a time.
//!
//! A group's sum is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::wasm32::*;

use super::fours::{self, GROUP, INT4_LEN, Int4Group, UNSIGNED_LEVELS};
use super::{Bits, Rows, generic, int4_scale};

/// Sums of four rows in 64 bits: of rows 0 and 1, then of rows 2 and 3.
type Totals = [v128; 2];

/// See [`super::dot_pairs`].
#[inline(always)]
pub fn dot_pairs(a: [i16; 8], b: [i16; 8]) -> [i32; 4] {
    // SAFETY: both have 16 bytes.
    let (a, b) = unsafe { (v128_load(a.as_ptr().cast()), v128_load(b.as_ptr().cast())) };
    lanes_of(i32x4_dot_i16x8(a, b))
}

/// See [`super::dot`].
#[inline(always)]
pub fn dot(q: &[i8], x: &[i16]) -> i32 {
    let (q_blocks, q_rest) = q.as_chunks::<8>();
    let (x_blocks, x_rest) = x.as_chunks::<8>();
    let mut sums = i32x4_splat(0);
    for (q, x) in q_blocks.iter().zip(x_blocks) {
        // SAFETY: there are eight of both.
        let (q, x) = unsafe { (i16x8_load_extend_i8x8(q.as_ptr()), v128_load(x.as_ptr().cast())) };
        sums = i32x4_add(sums, i32x4_dot_i16x8(q, x));
    }
    let sums = i32x4_add(sums, i64x2_shuffle::<1, 0>(sums, sums));
    let sum = i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums);
    sum + generic::dot(q_rest, x_rest)
}

/// See [`super::weighted_values`].
pub fn weighted_values(values: &[i8], stride: usize, weights: &[i32], out: &mut [i32]) -> usize {
    let (blocks, rest) = out.as_chunks_mut::<16>();
    let mut first = 0;
    for block in blocks {
        *block = bytemuck::cast(weighted_eights::<2>(values, stride, weights, first));
        first += 16;
    }
    for block in rest.as_chunks_mut::<8>().0 {
        [*block] = weighted_eights(values, stride, weights, first);
        first += 8;
    }
    first
}

/// `Σ weight · v` of `N` times eight elements, from the element `first` on.
///
/// Two positions at a time: an instruction adds two products of 16 bits. A weight, at most 2^24, is 2^12 · h + l. That sums of
/// products by `l` may exceed 32 bits does not matter, because all of this is exact modulo 2^32, and the result fits.
#[inline(always)]
fn weighted_eights<const N: usize>(values: &[i8], stride: usize, weights: &[i32], first: usize) -> [[i32; 8]; N] {
    let mut sums = [[[i32x4_splat(0); 2]; 2]; N];
    let mut add = |positions: [usize; 2], [a, b]: [i32; 2]| {
        let (h, l) = (i32x4_splat(a >> 12 | b >> 12 << 16), i32x4_splat(a & 0xfff | (b & 0xfff) << 16));
        let values = positions.map(|position| &values[position * stride + first..][..8 * N]);
        for (eight, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are eight values.
            let [a, b] = values.map(|values| unsafe { i16x8_load_extend_i8x8(values[8 * eight..][..8].as_ptr()) });
            let lower = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
            let upper = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
            for (sums, values) in sums.iter_mut().zip([lower, upper]) {
                sums[0] = i32x4_add(sums[0], i32x4_dot_i16x8(values, h));
                sums[1] = i32x4_add(sums[1], i32x4_dot_i16x8(values, l));
            }
        }
    };
    let (pairs, last) = weights.as_chunks::<2>();
    for (number, pair) in pairs.iter().enumerate() {
        add([2 * number, 2 * number + 1], *pair);
    }
    if let [weight] = *last {
        add([weights.len() - 1; 2], [weight, 0]);
    }
    sums.map(|sums| bytemuck::cast(sums.map(|[h, l]| lanes_of(i32x4_add(i32x4_shl(h, 12), l)))))
}

/// The numbers of a register.
#[inline(always)]
fn lanes_of(x: v128) -> [i32; 4] {
    [i32x4_extract_lane::<0>(x), i32x4_extract_lane::<1>(x), i32x4_extract_lane::<2>(x), i32x4_extract_lane::<3>(x)]
}

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    match (rows.group, rows.bits) {
        (GROUP, Bits::Four) => fours::int4_rows(rows, x, sums, Int4Group::new, |starts, x| {
            // SAFETY: the rows have all groups of `x`.
            sums_of(unsafe { int4(starts, x) })
        }),
        (GROUP, Bits::Eight) => fours::int8_rows(
            rows,
            x,
            sums,
            // SAFETY: a row holds `cols` values, and a scale for each group of `x`.
            |starts, x| unsafe { int8(starts, rows.cols, x) },
            |mut totals, q, x, scales| {
                // SAFETY: the arrays hold a group.
                let group = unsafe { int8_group(q.map(|q| q.as_ptr()), x) };
                let [s, t, u, v] = scales.map(i32::from);
                add_scaled(&mut totals, group, i32x4(s, t, u, v));
                totals
            },
            sums_of,
        ),
        _ => rows.dot_generic(x, sums),
    }
}

/// The sums of four rows over whole groups.
///
/// # Safety
/// Each row starts with the groups of `x`, and has a scale for each of them at byte `scales`.
unsafe fn int8(rows: [*const u8; 4], scales: usize, x: &[[i16; GROUP]]) -> Totals {
    let mut totals = [i64x2_splat(0); 2];
    for (block, x) in x.chunks(4).enumerate() {
        // The scales of four groups, the next one in the lowest bits. In a shorter block the bytes before them are shifted out.
        let missing = 4 - x.len();
        let mut words = i32x4_splat(0);
        // SAFETY: these bytes lie between the row's start and the end of its scales.
        unsafe {
            let [a, b, c, d] = rows.map(|row| row.add(scales + 4 * block - missing).cast());
            words = v128_load32_lane::<0>(words, a);
            words = v128_load32_lane::<1>(words, b);
            words = v128_load32_lane::<2>(words, c);
            words = v128_load32_lane::<3>(words, d);
        }
        words = u32x4_shr(words, 8 * missing as u32);
        for (group, x) in x.iter().enumerate() {
            // SAFETY: the rows have this group.
            let sums = unsafe { int8_group(rows.map(|row| row.add((4 * block + group) * GROUP)), x) };
            add_scaled(&mut totals, sums, v128_and(words, i32x4_splat(0xff)));
            words = u32x4_shr(words, 8);
        }
    }
    totals
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

/// The sums of four rows over the groups of `x`.
///
/// # Safety
/// `rows` points to that many groups of each row.
unsafe fn int4(rows: [*const u8; 4], x: &[Int4Group]) -> Totals {
    let mut totals = [i64x2_splat(0); 2];
    for (group, Int4Group { x, offset }) in x.iter().enumerate() {
        let (mut sums, mut scales) = ([i32x4_splat(0); 4], [0; 4]);
        for ((sum, scale), row) in sums.iter_mut().zip(&mut scales).zip(rows) {
            // SAFETY: the rows have this group, whose scale is its last byte.
            unsafe {
                let group = row.add(group * INT4_LEN);
                *sum = int4_sums(v128_load(group.cast()), x);
                *scale = int4_scale(*group.add(INT4_LEN - 1));
            }
        }
        let [s, t, u, v] = scales;
        add_scaled(&mut totals, i32x4_add(reduce(sums), i32x4_splat(*offset)), i32x4(s, t, u, v));
    }
    totals
}

/// Four partial sums of a group with unsigned levels.
fn int4_sums(bytes: v128, x: &[[i16; 8]; 4]) -> v128 {
    // SAFETY: reads the levels, and `x`.
    let (levels, x) =
        unsafe { (v128_load(UNSIGNED_LEVELS.as_ptr().cast()), x.each_ref().map(|x| v128_load(x.as_ptr().cast()))) };
    let lower = i8x16_swizzle(levels, v128_and(bytes, u8x16_splat(15)));
    let upper = i8x16_swizzle(levels, u8x16_shr(bytes, 4));
    // In 16 bits each: the even bytes' levels of both, then the odd bytes'.
    let [lower_even, upper_even] = [lower, upper].map(|q| v128_and(q, u16x8_splat(0xff)));
    let [lower_odd, upper_odd] = [lower, upper].map(|q| u16x8_shr(q, 8));
    let even = i32x4_add(i32x4_dot_i16x8(lower_even, x[0]), i32x4_dot_i16x8(upper_even, x[1]));
    let odd = i32x4_add(i32x4_dot_i16x8(lower_odd, x[2]), i32x4_dot_i16x8(upper_odd, x[3]));
    i32x4_add(even, odd)
}

/// The totals of four vectors of partial sums.
fn reduce([a, b, c, d]: [v128; 4]) -> v128 {
    let pairs = |a, b| i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b));
    pairs(pairs(a, b), pairs(c, d))
}

/// Adds `sums · scales`.
fn add_scaled([low, high]: &mut Totals, sums: v128, scales: v128) {
    *low = i64x2_add(*low, i64x2_extmul_low_i32x4(sums, scales));
    *high = i64x2_add(*high, i64x2_extmul_high_i32x4(sums, scales));
}

/// The rows' sums in 64 bits.
fn sums_of([low, high]: Totals) -> [i64; 4] {
    [
        i64x2_extract_lane::<0>(low),
        i64x2_extract_lane::<1>(low),
        i64x2_extract_lane::<0>(high),
        i64x2_extract_lane::<1>(high),
    ]
}
