//! Four rows at a time, with 128-bit vectors, for processors without AVX2.
//!
//! A group's sum is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use super::{ahead, prefetch};
use crate::kernels::fours::{self, GROUP, INT4_LEN, Int4Group, UNSIGNED_LEVELS};
use crate::kernels::{Bits, Rows};

/// Sums of four rows in 64 bits: of rows 0 and 2, then of rows 1 and 3.
type Totals = [__m128i; 2];

/// See [`Rows::dot`].
#[target_feature(enable = "sse4.1,ssse3")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    match (rows.group, rows.bits) {
        (GROUP, Bits::Four) => int4_rows(rows, x, sums),
        (GROUP, Bits::Eight) => int8_rows(rows, x, sums),
        _ => rows.dot_generic(x, sums),
    }
}

#[target_feature(enable = "sse4.1,ssse3")]
fn int8_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    fours::int8_rows(
        rows,
        x,
        sums,
        // SAFETY: a row holds `cols` values, and a scale for each group of `x`.
        |starts, x| unsafe { int8(starts, rows.cols, x, ahead(rows)) },
        |mut totals, q, x, scales| {
            // SAFETY: the arrays hold a group.
            let group = unsafe { int8_group(q.map(|q| q.as_ptr()), x) };
            add_scaled(&mut totals, group, _mm_cvtepu8_epi32(_mm_cvtsi32_si128(i32::from_le_bytes(scales))));
            totals
        },
        sums_of,
    );
}

/// The sums of four rows over whole groups.
///
/// # Safety
/// Each row starts with the groups of `x`, and has a scale for each of them at byte `scales`.
#[target_feature(enable = "sse4.1,ssse3")]
unsafe fn int8(rows: [*const u8; 4], scales: usize, x: &[[i16; GROUP]], ahead: usize) -> Totals {
    let mut next = rows[0].wrapping_add(ahead);
    let mut totals = [_mm_setzero_si128(); 2];
    for (block, x) in x.chunks(4).enumerate() {
        // The scales of four groups, the next one in the lowest bits. In a shorter block the bytes before them are shifted out.
        let missing = 4 - x.len();
        // SAFETY: these bytes lie between the row's start and the end of its scales.
        let words = rows.map(|row| unsafe { row.add(scales + 4 * block - missing).cast::<i32>().read_unaligned() });
        let words = _mm_setr_epi32(words[0], words[1], words[2], words[3]);
        let mut scales = _mm_srl_epi32(words, _mm_cvtsi32_si128(8 * missing as i32));
        for (group, x) in x.iter().enumerate() {
            for line in [0, 64] {
                prefetch(next.wrapping_add(line));
            }
            next = next.wrapping_add(4 * GROUP);
            // SAFETY: the row has this group.
            let group = unsafe { int8_group(rows.map(|row| row.add((4 * block + group) * GROUP)), x) };
            add_scaled(&mut totals, group, _mm_and_si128(scales, _mm_set1_epi32(0xff)));
            scales = _mm_srli_epi32::<8>(scales);
        }
    }
    totals
}

/// The sums of a group of four rows.
///
/// # Safety
/// `q` points to a group of each row.
#[target_feature(enable = "sse4.1,ssse3")]
unsafe fn int8_group(q: [*const u8; 4], x: &[i16; GROUP]) -> __m128i {
    let x: [__m128i; 4] = bytemuck::cast(*x);
    let mut sums = [_mm_setzero_si128(); 4];
    for (sum, q) in sums.iter_mut().zip(q) {
        for (eighth, x) in x.into_iter().enumerate() {
            // SAFETY: `q` points to 32 bytes.
            let q = unsafe { _mm_loadl_epi64(q.add(8 * eighth).cast()) };
            *sum = _mm_add_epi32(*sum, _mm_madd_epi16(_mm_cvtepi8_epi16(q), x));
        }
    }
    reduce(sums)
}

#[target_feature(enable = "sse4.1,ssse3")]
fn int4_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    // SAFETY: the rows have all groups of `x`.
    fours::int4_rows(rows, x, sums, Int4Group::new, |starts, x| sums_of(unsafe { int4(starts, x, ahead(rows)) }));
}

/// The sums of four rows over the groups of `x`.
///
/// # Safety
/// `rows` points to that many groups of each row.
#[target_feature(enable = "sse4.1,ssse3")]
unsafe fn int4(rows: [*const u8; 4], x: &[Int4Group], ahead: usize) -> Totals {
    let next = rows[0].wrapping_add(ahead);
    let mut totals = [_mm_setzero_si128(); 2];
    for (group, Int4Group { x, offset }) in x.iter().enumerate() {
        prefetch(next.wrapping_add(group * 4 * INT4_LEN));
        let x: [__m128i; 4] = bytemuck::cast(*x);
        let (mut sums, mut scales) = ([_mm_setzero_si128(); 4], [0; 4]);
        for ((sum, scale), row) in sums.iter_mut().zip(&mut scales).zip(rows) {
            // SAFETY: the rows have this group, whose scale is the last of the four bytes.
            unsafe {
                let group = row.add(group * INT4_LEN);
                *sum = int4_sums(_mm_loadu_si128(group.cast()), x);
                *scale = group.add(INT4_LEN - 4).cast::<i32>().read_unaligned();
            }
        }
        let [s, t, u, v] = scales;
        let sums = _mm_add_epi32(reduce(sums), _mm_set1_epi32(*offset));
        add_scaled(&mut totals, sums, _mm_srai_epi32::<24>(_mm_setr_epi32(s, t, u, v)));
    }
    totals
}

/// Four partial sums of a group with unsigned levels.
#[target_feature(enable = "sse4.1,ssse3")]
fn int4_sums(bytes: __m128i, x: [__m128i; 4]) -> __m128i {
    let (levels, nibble) = (bytemuck::cast(UNSIGNED_LEVELS), _mm_set1_epi8(15));
    let lower = _mm_shuffle_epi8(levels, _mm_and_si128(bytes, nibble));
    let upper = _mm_shuffle_epi8(levels, _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble));
    // In 16 bits each: the even bytes' levels of both, then the odd bytes'.
    let [lower_even, upper_even] = [lower, upper].map(|q| _mm_and_si128(q, _mm_set1_epi16(0xff)));
    let [lower_odd, upper_odd] = [lower, upper].map(|q| _mm_srli_epi16::<8>(q));
    let even = _mm_add_epi32(_mm_madd_epi16(lower_even, x[0]), _mm_madd_epi16(upper_even, x[1]));
    let odd = _mm_add_epi32(_mm_madd_epi16(lower_odd, x[2]), _mm_madd_epi16(upper_odd, x[3]));
    _mm_add_epi32(even, odd)
}

/// The totals of four vectors of partial sums.
#[target_feature(enable = "sse4.1,ssse3")]
fn reduce([a, b, c, d]: [__m128i; 4]) -> __m128i {
    let pairs = |a, b| _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let (ab, cd) = (pairs(a, b), pairs(c, d));
    _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
}

/// Adds `sums · scales`.
#[target_feature(enable = "sse4.1,ssse3")]
fn add_scaled([even, odd]: &mut Totals, sums: __m128i, scales: __m128i) {
    *even = _mm_add_epi64(*even, _mm_mul_epi32(sums, scales));
    *odd = _mm_add_epi64(*odd, _mm_mul_epi32(_mm_srli_epi64::<32>(sums), _mm_srli_epi64::<32>(scales)));
}

/// The rows' sums.
fn sums_of(totals: Totals) -> [i64; 4] {
    let [a, c, b, d]: [i64; 4] = bytemuck::cast(totals);
    [a, b, c, d]
}
