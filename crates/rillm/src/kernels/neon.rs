//! The kernel for AArch64, all of whose processors have NEON: four rows at a time.
//!
//! A group's sum is below 2^28: 32 products of at most 128 · 32,767. Times a scale it is added up in 64 bits.

use core::arch::aarch64::*;

use super::fours::{self, GROUP, INT4_LEN, Int4Group, UNSIGNED_LEVELS};
use super::{Bits, Rows, int4_scale};

/// Sums of four rows in 64 bits: of rows 0 and 1, then of rows 2 and 3.
type Totals = [int64x2_t; 2];

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    match (rows.group, rows.bits) {
        // SAFETY: this file is compiled for processors with NEON only.
        (GROUP, Bits::Four) => unsafe { int4_rows(rows, x, sums) },
        // SAFETY: the same.
        (GROUP, Bits::Eight) => unsafe { int8_rows(rows, x, sums) },
        _ => rows.dot_generic(x, sums),
    }
}

#[target_feature(enable = "neon")]
fn int8_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    fours::int8_rows(
        rows,
        x,
        sums,
        // SAFETY: a row holds `cols` values, and a scale for each group of `x`.
        |starts, x| unsafe { int8(starts, rows.cols, x) },
        |mut totals, q, x, scales| {
            // SAFETY: the arrays hold a group.
            let group = unsafe { int8_group(q.map(|q| q.as_ptr()), x) };
            add_scaled(&mut totals, group, scales.map(i32::from));
            totals
        },
        |totals| sums_of(totals),
    );
}

/// The sums of four rows over whole groups.
///
/// # Safety
/// Each row starts with the groups of `x`, and has a scale for each of them at byte `scales`.
#[target_feature(enable = "neon")]
unsafe fn int8(rows: [*const u8; 4], scales: usize, x: &[[i16; GROUP]]) -> Totals {
    let mut totals = [vdupq_n_s64(0); 2];
    for (group, x) in x.iter().enumerate() {
        // SAFETY: the rows have this group and its scale.
        let (sums, scales) = unsafe {
            (int8_group(rows.map(|row| row.add(group * GROUP)), x), rows.map(|row| i32::from(*row.add(scales + group))))
        };
        add_scaled(&mut totals, sums, scales);
    }
    totals
}

/// The sums of a group of four rows.
///
/// # Safety
/// `q` points to a group of each row.
#[target_feature(enable = "neon")]
unsafe fn int8_group(q: [*const u8; 4], x: &[i16; GROUP]) -> int32x4_t {
    let mut sums = [vdupq_n_s32(0); 4];
    for (sum, q) in sums.iter_mut().zip(q) {
        for half in 0..2 {
            // SAFETY: `q` points to 32 bytes.
            let (q, x) = unsafe { (vld1q_s8(q.add(16 * half).cast()), vld1q_s16_x2(x.as_ptr().add(16 * half))) };
            *sum = add_products(*sum, vmovl_s8(vget_low_s8(q)), x.0);
            *sum = add_products(*sum, vmovl_high_s8(q), x.1);
        }
    }
    reduce(sums)
}

#[target_feature(enable = "neon")]
fn int4_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    // SAFETY: the rows have all groups of `x`.
    fours::int4_rows(rows, x, sums, Int4Group::new, |starts, x| sums_of(unsafe { int4(starts, x) }));
}

/// The sums of four rows over the groups of `x`.
///
/// # Safety
/// `rows` points to that many groups of each row.
#[target_feature(enable = "neon")]
unsafe fn int4(rows: [*const u8; 4], x: &[Int4Group]) -> Totals {
    let mut totals = [vdupq_n_s64(0); 2];
    for (group, Int4Group { x, offset }) in x.iter().enumerate() {
        let (mut sums, mut scales) = ([vdupq_n_s32(0); 4], [0; 4]);
        for ((sum, scale), row) in sums.iter_mut().zip(&mut scales).zip(rows) {
            // SAFETY: the rows have this group, whose scale is its last byte.
            unsafe {
                let group = row.add(group * INT4_LEN);
                *sum = int4_sums(vld1q_u8(group), x);
                *scale = int4_scale(*group.add(INT4_LEN - 1));
            }
        }
        add_scaled(&mut totals, vaddq_s32(reduce(sums), vdupq_n_s32(*offset)), scales);
    }
    totals
}

/// Four partial sums of a group with unsigned levels.
#[target_feature(enable = "neon")]
fn int4_sums(bytes: uint8x16_t, x: &[[i16; 8]; 4]) -> int32x4_t {
    // SAFETY: reads the levels, and `x`.
    let (levels, x) = unsafe { (vld1q_u8(UNSIGNED_LEVELS.as_ptr()), x.each_ref().map(|x| vld1q_s16(x.as_ptr()))) };
    let lower = vreinterpretq_u16_u8(vqtbl1q_u8(levels, vandq_u8(bytes, vdupq_n_u8(15))));
    let upper = vreinterpretq_u16_u8(vqtbl1q_u8(levels, vshrq_n_u8::<4>(bytes)));
    // In 16 bits each: the even bytes' levels of both, then the odd bytes'.
    let even = |q| vreinterpretq_s16_u16(vandq_u16(q, vdupq_n_u16(0xff)));
    let odd = |q| vreinterpretq_s16_u16(vshrq_n_u16::<8>(q));
    let mut sum = vdupq_n_s32(0);
    sum = add_products(sum, even(lower), x[0]);
    sum = add_products(sum, even(upper), x[1]);
    sum = add_products(sum, odd(lower), x[2]);
    add_products(sum, odd(upper), x[3])
}

/// `sum` plus the products of eight values, two in each of four sums.
#[target_feature(enable = "neon")]
fn add_products(sum: int32x4_t, q: int16x8_t, x: int16x8_t) -> int32x4_t {
    vmlal_high_s16(vmlal_s16(sum, vget_low_s16(q), vget_low_s16(x)), q, x)
}

/// The totals of four vectors of partial sums.
#[target_feature(enable = "neon")]
fn reduce([a, b, c, d]: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))
}

/// Adds `sums · scales`.
#[target_feature(enable = "neon")]
fn add_scaled([low, high]: &mut Totals, sums: int32x4_t, scales: [i32; 4]) {
    // SAFETY: reads `scales`.
    let scales = unsafe { vld1q_s32(scales.as_ptr()) };
    *low = vmlal_s32(*low, vget_low_s32(sums), vget_low_s32(scales));
    *high = vmlal_high_s32(*high, sums, scales);
}

/// The rows' sums in 64 bits.
#[target_feature(enable = "neon")]
fn sums_of([low, high]: Totals) -> [i64; 4] {
    let mut sums = [0; 4];
    // SAFETY: writes `sums`.
    unsafe {
        vst1q_s64(sums.as_mut_ptr(), low);
        vst1q_s64(sums.as_mut_ptr().add(2), high);
    }
    sums
}
