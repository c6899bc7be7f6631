//! Four rows at a time, with 256-bit vectors.
//!
//! A group's sum is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use super::{ahead, prefetch};
use crate::kernels::fours::{self, GROUP, INT4_LEN, Int4Group, UNSIGNED_LEVELS};
use crate::kernels::{Bits, Rows};

/// See [`Rows::dot`].
#[target_feature(enable = "avx2")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    match (rows.group, rows.bits) {
        (GROUP, Bits::Four) => int4_rows(rows, x, sums),
        (GROUP, Bits::Eight) => int8_rows(rows, x, sums),
        _ => rows.dot_generic(x, sums),
    }
}

#[target_feature(enable = "avx2")]
fn int8_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    fours::int8_rows(
        rows,
        x,
        sums,
        // SAFETY: a row holds `cols` values, and a scale for each group of `x`.
        |starts, x| unsafe { int8(starts, rows.cols, x, ahead(rows)) },
        |total, q, x, scales| {
            // SAFETY: the arrays hold a group.
            let group = unsafe { int8_group(q.map(|q| q.as_ptr()), x) };
            let scales = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(i32::from_le_bytes(scales)));
            add_scaled(total, group, scales)
        },
        bytemuck::cast,
    );
}

/// The sums of four rows over whole groups.
///
/// # Safety
/// Each row starts with the groups of `x`, and has a scale for each of them at byte `scales`.
#[target_feature(enable = "avx2")]
unsafe fn int8(rows: [*const u8; 4], scales: usize, x: &[[i16; GROUP]], ahead: usize) -> __m256i {
    let mut next = rows[0].wrapping_add(ahead);
    let mut total = _mm256_setzero_si256();
    for (block, x) in x.chunks(8).enumerate() {
        // The scales of eight groups, the next one in the lowest bits. In a shorter block the bytes before them are shifted out.
        let missing = 8 - x.len();
        // SAFETY: these bytes lie between the row's start and the end of its scales.
        let words = rows.map(|row| unsafe { row.add(scales + 8 * block - missing).cast::<i64>().read_unaligned() });
        let words = _mm256_setr_epi64x(words[0], words[1], words[2], words[3]);
        let mut scales = _mm256_srl_epi64(words, _mm_cvtsi32_si128(8 * missing as i32));
        for (group, x) in x.iter().enumerate() {
            for line in [0, 64] {
                prefetch(next.wrapping_add(line));
            }
            next = next.wrapping_add(4 * GROUP);
            // SAFETY: the row has this group.
            let group = unsafe { int8_group(rows.map(|row| row.add((8 * block + group) * GROUP)), x) };
            total = add_scaled(total, group, _mm256_and_si256(scales, _mm256_set1_epi64x(0xff)));
            scales = _mm256_srli_epi64::<8>(scales);
        }
    }
    total
}

/// The sums of a group of four rows, in 64 bits each.
///
/// # Safety
/// `q` points to a group of each row.
#[target_feature(enable = "avx2")]
unsafe fn int8_group(q: [*const u8; 4], x: &[i16; GROUP]) -> __m256i {
    let [x_low, x_high]: [__m256i; 2] = bytemuck::cast(*x);
    let mut sums = [_mm256_setzero_si256(); 4];
    for (sum, q) in sums.iter_mut().zip(q) {
        // SAFETY: `q` points to 32 bytes.
        let (low, high) = unsafe { (_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast())) };
        let low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(low), x_low);
        let high = _mm256_madd_epi16(_mm256_cvtepi8_epi16(high), x_high);
        *sum = _mm256_add_epi32(low, high);
    }
    let [a, b, c, d] = sums;
    let pairs = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let sums = add_halves(pairs(a, b), pairs(c, d));
    _mm256_cvtepi32_epi64(_mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)))
}

#[target_feature(enable = "avx2")]
fn int4_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    // SAFETY: the rows have all groups of `x`.
    let sums_of = |starts, x: &[_]| bytemuck::cast(unsafe { int4(starts, x, ahead(rows)) });
    fours::int4_rows(rows, x, sums, Int4Group::new, sums_of);
}

/// The sums of four rows over the groups of `x`.
///
/// # Safety
/// `rows` points to that many groups of each row.
#[target_feature(enable = "avx2")]
unsafe fn int4(mut rows: [*const u8; 4], x: &[Int4Group], ahead: usize) -> __m256i {
    let mut next = rows[0].wrapping_add(ahead);
    let mut total = _mm256_setzero_si256();
    for Int4Group { x, offset } in x {
        prefetch(next);
        next = next.wrapping_add(4 * INT4_LEN);
        let x: [__m128i; 4] = bytemuck::cast(*x);
        let x = x.map(|x| _mm256_broadcastsi128_si256(x));
        let [a, b, c, d] = rows;
        rows = rows.map(|row| row.wrapping_add(INT4_LEN));
        // SAFETY: the rows have this group.
        total = unsafe { add_int4(total, int4_sums(a, c, x), int4_sums(b, d, x), *offset, [a, b, c, d]) };
    }
    total
}

/// Adds the sums of a group of rows a, b, c and d, of each in four parts and without the offset, times the scales.
///
/// # Safety
/// `rows` points to the group of each row.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn add_int4(total: __m256i, ac: __m256i, bd: __m256i, offset: i32, rows: [*const u8; 4]) -> __m256i {
    // SAFETY: the scale of a group is the last of these four bytes.
    let scales = rows.map(|row| unsafe { _mm256_set1_epi32(row.add(INT4_LEN - 4).cast::<i32>().read_unaligned()) });
    // Of each row two sums, the first of which gets the second one and the offset.
    let sums = add_halves(ac, bd);
    let sums = _mm256_add_epi32(sums, _mm256_srli_epi64::<32>(sums));
    let sums = _mm256_add_epi32(sums, _mm256_set1_epi32(offset));
    let scales = _mm256_blend_epi32::<0b1111_0000>(
        _mm256_blend_epi32::<0b1100>(scales[0], scales[1]),
        _mm256_blend_epi32::<0b1100_0000>(scales[2], scales[3]),
    );
    add_scaled(total, sums, _mm256_srai_epi32::<24>(scales))
}

/// Four partial sums of a group with unsigned levels, for the row of `a` in the lower half, for that of `b` in the upper one.
///
/// # Safety
/// `a` and `b` point to a group.
#[target_feature(enable = "avx2")]
unsafe fn int4_sums(a: *const u8, b: *const u8, x: [__m256i; 4]) -> __m256i {
    // SAFETY: as the caller promises.
    let [lower, upper] = unsafe { int4_levels(a, b) };
    // In 16 bits each: the even bytes' levels of both, then the odd bytes'.
    let [lower_even, upper_even] = [lower, upper].map(|q| _mm256_and_si256(q, _mm256_set1_epi16(0xff)));
    let [lower_odd, upper_odd] = [lower, upper].map(|q| _mm256_srli_epi16::<8>(q));
    let even = _mm256_add_epi32(_mm256_madd_epi16(lower_even, x[0]), _mm256_madd_epi16(upper_even, x[1]));
    let odd = _mm256_add_epi32(_mm256_madd_epi16(lower_odd, x[2]), _mm256_madd_epi16(upper_odd, x[3]));
    _mm256_add_epi32(even, odd)
}

/// The unsigned levels of a group's lower nibbles, and of its upper ones, for the row of `a` in the lower half, for that of `b` in
/// the upper one.
///
/// # Safety
/// `a` and `b` point to a group.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn int4_levels(a: *const u8, b: *const u8) -> [__m256i; 2] {
    let levels = _mm256_broadcastsi128_si256(bytemuck::cast(UNSIGNED_LEVELS));
    // SAFETY: both point to 16 bytes.
    let bytes = unsafe { _mm256_loadu2_m128i(b.cast(), a.cast()) };
    [bytes, _mm256_srli_epi16::<4>(bytes)]
        .map(|bytes| _mm256_shuffle_epi8(levels, _mm256_and_si256(bytes, _mm256_set1_epi8(15))))
}

/// The sums of both halves of each 128 bits, of `a` and then of `b`.
#[target_feature(enable = "avx2")]
fn add_halves(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b))
}

/// `total + sums · scales`, of the lower 32 bits of each 64.
#[target_feature(enable = "avx2")]
fn add_scaled(total: __m256i, sums: __m256i, scales: __m256i) -> __m256i {
    _mm256_add_epi64(total, _mm256_mul_epi32(sums, scales))
}

/// See [`crate::kernels::weighted_values`].
#[target_feature(enable = "avx2")]
pub fn weighted_values(values: &[i8], stride: usize, weights: &[i32], out: &mut [i32]) -> usize {
    let eights = out.as_chunks_mut::<8>().0;
    for (index, eight) in eights.iter_mut().enumerate() {
        let mut sums = _mm256_setzero_si256();
        for (vector, &weight) in values.chunks_exact(stride).zip(weights) {
            let v: [i8; 8] = core::array::from_fn(|element| vector[8 * index + element]);
            let v = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytemuck::cast(v)));
            sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(v, _mm256_set1_epi32(weight)));
        }
        *eight = bytemuck::cast(sums);
    }
    8 * eights.len()
}
