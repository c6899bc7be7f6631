//! Rows of int4, four at a time, with 256-bit vectors and the instructions of AVX-VNNI.
//!
//! A value of the vector is 256 · h + l, both bytes with a sign. That holds for values up to [`LARGEST_OF_TWO_BYTES`]; a vector with
//! a larger one is left to [`avx2`]. An instruction multiplies bytes without a sign, the levels plus 128, by bytes with one, and
//! adds four products to a lane: first products by `h`, and after a shift by 8 bits products by `l`.
//!
//! The sum of a group is below 2^28: 32 products of at most 241 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::x86_64::*;

use super::{LARGEST_OF_TWO_BYTES, ahead, avx2, prefetch};
use crate::kernels::fours::{self, GROUP, INT4_LEN};
use crate::kernels::{Bits, Rows};

/// See [`Rows::dot`].
#[target_feature(enable = "avx2,avxvnni")]
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    if (rows.group, rows.bits) != (GROUP, Bits::Four)
        || x[..rows.cols].iter().copied().max() > Some(LARGEST_OF_TWO_BYTES)
    {
        return avx2::dot_rows(rows, x, sums);
    }
    // SAFETY: the rows have all groups of `x`.
    let sums_of = |starts, x: &[Group]| bytemuck::cast(unsafe { four_rows(starts, x, ahead(rows)) });
    fours::int4_rows(rows, x, sums, Group::new, sums_of);
}

/// A group of the vector.
#[derive(Clone, Copy, Default)]
struct Group {
    /// The columns of lower nibbles, and of upper ones.
    h: [[i8; GROUP / 2]; 2],
    l: [[i8; GROUP / 2]; 2],
    /// What makes a sum of products with unsigned levels that of the weights: −128 times the sum of the vector.
    offset: i32,
}

impl Group {
    #[inline(always)]
    fn new(x: &[i16; GROUP]) -> Self {
        let nibbles = |x: &[i8; GROUP]| [0, 1].map(|nibble| core::array::from_fn(|at| x[2 * at + nibble]));
        Self {
            h: nibbles(&x.map(|x| ((x + 128) >> 8) as i8)),
            l: nibbles(&x.map(|x| x as i8)),
            offset: -128 * x.iter().map(|&x| i32::from(x)).sum::<i32>(),
        }
    }
}

/// The sums of four rows over the groups of `x`.
///
/// # Safety
/// `rows` points to that many groups of each row.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn four_rows(mut rows: [*const u8; 4], x: &[Group], ahead: usize) -> __m256i {
    let mut next = rows[0].wrapping_add(ahead);
    let mut total = _mm256_setzero_si256();
    for x in x {
        prefetch(next);
        next = next.wrapping_add(4 * INT4_LEN);
        let [a, b, c, d] = rows;
        // SAFETY: the rows have this group.
        total = unsafe { avx2::add_int4(total, two_rows(a, c, x), two_rows(b, d, x), x.offset, rows) };
        rows = rows.map(|row| row.wrapping_add(INT4_LEN));
    }
    total
}

/// Four partial sums of a group with unsigned levels, for the row of `a` in the lower half, for that of `b` in the upper one.
///
/// # Safety
/// `a` and `b` point to a group.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn two_rows(a: *const u8, b: *const u8, x: &Group) -> __m256i {
    // SAFETY: as the caller promises.
    let [lower, upper] = unsafe { avx2::int4_levels(a, b) };
    let [h, l] = [x.h, x.l].map(|x| x.map(|x| _mm256_broadcastsi128_si256(bytemuck::cast(x))));
    let sums = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), lower, h[0]);
    let sums = _mm256_slli_epi32::<8>(_mm256_dpbusd_avx_epi32(sums, upper, h[1]));
    let sums = _mm256_dpbusd_avx_epi32(sums, lower, l[0]);
    _mm256_dpbusd_avx_epi32(sums, upper, l[1])
}
