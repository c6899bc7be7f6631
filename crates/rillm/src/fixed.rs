//! Fixed-point arithmetic: rounding shifts and the functions of a transformer in integers.
//!
//! Every function is defined to the bit, on every target. [The numerics page] lists the error bounds; the tests below
//! measure them against float64.
//!
//! [the numerics page]: https://github.com/rillm/rillm/blob/main/docs/numerics.md

use core::ops::{Add, Div};

use crate::COMPUTER;

/// Fraction bits of numbers in the base-2 logarithmic domain: attention scores and gate values. An `i32` then spans
/// ±2,048, and one step is a relative change of 2^-20 · ln 2.
pub const LOG2_FRACTION: i32 = 20;
/// The largest magnitude of a number in the logarithmic domain: 1,024 octaves.
pub const LOG2_LIMIT: i32 = 1 << 30;

/// `value / 2^shift`, rounded to the nearest integer, halves up; 0 for shifts of 63 and more.
///
/// `value` must lie within ±2^62, so that adding the half cannot overflow.
#[inline(always)]
pub const fn round_shift(value: i64, shift: u32) -> i64 {
    match shift {
        0 => value,
        1..=62 => (value + (1 << (shift - 1))) >> shift,
        _ => 0,
    }
}

/// `value · 2^-right`, rounded as by [`round_shift`], saturated to ±2^30. `right` may be negative.
///
/// `value` must lie within ±2^62.
#[cfg_attr(target_arch = "x86_64", inline(always))]
pub fn shift_saturating(value: i64, right: i32) -> i32 {
    const LIMIT: i64 = LOG2_LIMIT as i64;
    let shifted = if right >= 0 {
        round_shift(value, right as u32)
    } else {
        // Every value except zero reaches the limit when shifted by 31 or more; the clamp prevents an overflow of the
        // shift.
        value.clamp(-LIMIT, LIMIT) << (-right).min(31)
    };
    shifted.clamp(-LIMIT, LIMIT) as i32
}

/// `2^-x` in 0.32 fixed point, `x` with [`LOG2_FRACTION`] fraction bits. Absolute error below 2^-23.9.
#[cfg_attr(target_arch = "x86_64", inline(always))]
pub const fn exp2_neg(x: u32) -> u32 {
    if x < 32 << LOG2_FRACTION { exp2_neg_below_32(x) } else { 0 }
}

/// Like [`exp2_neg`], for `x` below 32.
#[inline(always)]
pub const fn exp2_neg_below_32(x: u32) -> u32 {
    // The minimax polynomial of degree 5 of 2^-f on [0, 1), coefficients with 32 fraction bits, by Horner's rule. The
    // signs alternate and every intermediate value lies in (0, 2^32), so that unsigned 32 bits hold it.
    const C: [u32; 6] = [4_294_967_061, 2_977_027_382, 1_031_563_053, 237_510_004, 39_560_409, 4_069_712];
    let fraction = x << (32 - LOG2_FRACTION);
    let mut sum = C[5];
    let mut term = 5;
    // No iterator: the function is evaluated at compile time, too.
    while term > 0 {
        term -= 1;
        sum = C[term] - mul_high(fraction, sum);
    }
    sum >> (x >> LOG2_FRACTION)
}

/// `2^-x` in 0.32 fixed point, `x` with 16 fraction bits and below 32, by 64 chords: relative error between -2^-23 and
/// 2^-16, then rounded down. Never rises with `x`.
///
/// For a sum over the vocabulary: one product of 32 bits, where [`exp2_neg`] has five of 64.
#[inline(always)]
pub fn exp2_neg_chord(x: u32) -> u32 {
    const KNOTS: [u32; 65] = {
        let mut knots = [0; 65];
        let mut index = 0;
        while index < knots.len() {
            knots[index] = exp2_neg((index as u32) << (LOG2_FRACTION - 6));
            index += 1;
        }
        knots
    };
    let (left, within) = ((x >> 10 & 63) as usize, x & 1023);
    // Neighbours differ by less than 2^26, without the last four bits 2^22: the product with 10 bits stays below 2^32.
    let fall = (((KNOTS[left] - KNOTS[left + 1]) >> 4) * within) >> 6;
    (KNOTS[left] - fall) >> (x >> 16)
}

/// `2^60 / divisor`, rounded down, for a divisor in `2^30..=2^31`.
pub fn one_over(divisor: u32) -> u32 {
    if COMPUTER { ((1 << 60) / u64::from(divisor)) as u32 } else { one_over_in_32_bits(divisor) }
}

/// Like [`one_over`]. Microcontrollers have no 64-bit division.
///
/// The quotient is estimated from the divisor's upper bits, which are 2^15 to 2^16, and corrected in the same way by the
/// remainder of the estimate.
fn one_over_in_32_bits(divisor: u32) -> u32 {
    let upper = divisor >> 15;
    let left_over = |quotient: u32| (1i64 << 60) - i64::from(quotient) * i64::from(divisor);
    // Cutting the divisor off changes a quotient by at most 2^-15 of it: the guess leaves less than 2^46, the
    // correction is below 2^16, and it is wrong by a few units at most.
    let guess = (u32::MAX / upper) << 13;
    let mut quotient = guess.wrapping_add_signed((left_over(guess) >> 15) as i32 / upper as i32);
    let mut rest = left_over(quotient);
    while rest < 0 {
        (quotient, rest) = (quotient - 1, rest + i64::from(divisor));
    }
    while rest >= i64::from(divisor) {
        (quotient, rest) = (quotient + 1, rest - i64::from(divisor));
    }
    quotient
}

/// `-log2(x / 2^32)` with 26 fraction bits, for `x` at least 1, so that its logarithm exists. Absolute error below
/// 2^-23.
pub fn neg_log2(x: u32) -> u32 {
    // The minimax polynomial of degree 8 of log2(1 + f) on [0, 1), coefficients with 30 fraction bits, signs
    // alternating from the second on: 52 + f (C0 - f (C1 - f (C2 - ...))), every intermediate value positive.
    const C: [u32; 8] =
        [1_549_073_132, 774_290_921, 513_595_996, 371_510_389, 256_873_042, 144_455_056, 53_985_062, 9_529_133];
    let x = x.max(1);
    let zeros = x.leading_zeros();
    // x = 2^(31 - zeros) · (1 + f); f with 32 fraction bits. The double shift avoids one by 32.
    let fraction = x << zeros << 1;
    let mut sum = C[7];
    for &coefficient in C[..7].iter().rev() {
        sum = coefficient - mul_high(fraction, sum);
    }
    let log2_fraction = (52 + mul_high(fraction, sum)) >> 4;
    (((zeros + 1) << 26).saturating_sub(log2_fraction)).max(1)
}

/// `(sin, cos)` of an angle in turns, 0.32 fixed point; results with 30 fraction bits. Absolute error below 2^-26.
pub fn sin_cos(turns: u32) -> (i32, i32) {
    (sin(turns), sin(turns.wrapping_add(1 << 30)))
}

fn sin(turns: u32) -> i32 {
    // sin(π/2 t) = t · p(t²) on [0, 1]: minimax, coefficients with 31 fraction bits, signs alternating, every
    // intermediate value positive.
    const C: [u32; 5] = [3_373_259_412, 1_387_196_613, 171_132_806, 10_037_662, 325_720];
    let quadrant = turns >> 30;
    // Within a quarter turn, t with 32 fraction bits; the second and fourth quarters run backwards.
    let t = if quadrant & 1 == 0 { turns << 2 } else { (turns << 2).wrapping_neg() };
    let magnitude = if t == 0 && quadrant & 1 == 1 {
        1 << 30
    } else {
        let square = mul_high(t, t);
        let mut sum = C[4];
        for &coefficient in C[..4].iter().rev() {
            sum = coefficient - mul_high(square, sum);
        }
        // 31 fraction bits to 30, rounded.
        ((mul_high(t, sum) + 1) >> 1) as i32
    };
    if quadrant < 2 { magnitude } else { -magnitude }
}

/// The upper half of the product: `a · b / 2^32`, rounded down. One instruction on most microcontrollers.
#[inline(always)]
pub const fn mul_high(a: u32, b: u32) -> u32 {
    ((a as u64 * b as u64) >> 32) as u32
}

/// The upper half of the signed product: `a · b / 2^32`, rounded down.
#[inline(always)]
pub const fn mul_high_signed(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64) >> 32) as i32
}

/// A non-negative number with 62 bits of mantissa: the mean square under a norm's root, and that root.
///
/// The mantissa is zero or in `2^61..2^62`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive {
    mantissa: u64,
    exponent: i32,
}

impl Positive {
    /// `mantissa · 2^exponent`; a mantissa of 62 bits or fewer is kept exactly.
    pub fn new(mantissa: u64, exponent: i32) -> Self {
        if mantissa == 0 {
            return Self { mantissa, exponent: 0 };
        }
        let zeros = mantissa.leading_zeros() as i32;
        let mantissa = if zeros >= 2 { mantissa << (zeros - 2) } else { mantissa >> (2 - zeros) };
        Self { mantissa, exponent: exponent - (zeros - 2) }
    }

    /// The value of a float32's bit pattern, exactly. The sign is ignored; infinities and NaNs read as large numbers.
    pub fn from_f32_bits(bits: u32) -> Self {
        let (exponent, fraction) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
        let (significand, exponent) = match exponent {
            0 => (fraction, -149),
            _ => (fraction | 0x80_0000, exponent as i32 - 150),
        };
        Self::new(significand.into(), exponent)
    }

    /// One over the square root as `(m, e)`, meaning `m · 2^e`, with `m` in `2^31 - 8..2^32` and a relative error below 2^-28. `None`
    /// for zero.
    pub fn inverse_root(self) -> Option<(u32, i32)> {
        if self.mantissa == 0 {
            return None;
        }
        // Make the exponent even: x · 2^(2k) with x in 1/4..1, 32 fraction bits, cut off: 2^-31 of the root at most.
        let odd = self.exponent & 1;
        let x = (self.mantissa >> (30 + odd)) as u32;
        // Half of 1 / √x, 32 fraction bits: y ≈ 1.07 - 0.61 x is within a twelfth of it. Four of
        // Newton's steps, y · (3 - 4 x y²) / 2, leave 2^-48 and what the last one cuts off.
        let mut y = 300_647_711u32.wrapping_sub(mul_high(2_619_930_051, x));
        for _ in 0..4 {
            // At most 1, which the last number below 1 stands for.
            y = mul_high(y, (3 << 30) - mul_high(x, mul_high(y, y))).min(i32::MAX as u32) << 1;
        }
        Some((y, -62 - (self.exponent + odd) / 2))
    }
}

impl Add for Positive {
    type Output = Self;

    /// The sum, rounded down to 61 bits.
    fn add(self, other: Self) -> Self {
        if self.mantissa == 0 {
            return other;
        }
        if other.mantissa == 0 {
            return self;
        }
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = (large.exponent - small.exponent) as u32;
        // Two numbers below 2^62 add up to less than 2^63.
        Self::new(large.mantissa + small.mantissa.checked_shr(shift).unwrap_or(0), large.exponent)
    }
}

impl Div<u32> for Positive {
    type Output = Self;

    /// The quotient by a divisor that is not zero, rounded down to at least 41 bits for divisors of up to 20 bits.
    fn div(self, divisor: u32) -> Self {
        let quotient = if divisor < 1 << 16 {
            // By digits of 16 bits: microcontrollers have no 64-bit division.
            let (mut quotient, mut rest) = (0, 0);
            for shift in [48, 32, 16, 0] {
                let part = rest << 16 | (self.mantissa >> shift) as u32 & 0xffff;
                (quotient, rest) = (quotient << 16 | u64::from(part / divisor), part % divisor);
            }
            quotient
        } else {
            self.mantissa / u64::from(divisor)
        };
        Self::new(quotient, self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(exponent: i32) -> f64 {
        2f64.powi(exponent)
    }

    #[test]
    fn one_over_is_the_division() {
        let near_the_ends = (0..70_000).flat_map(|i| [(1 << 30) + i, (1 << 31) - i]);
        let between = (0..200_000u32).map(|i| (1 << 30) + i.wrapping_mul(2_654_435_761) % (1 << 30));
        for divisor in near_the_ends.chain(between) {
            assert_eq!(u64::from(one_over_in_32_bits(divisor)), (1 << 60) / u64::from(divisor), "{divisor}");
        }
    }

    #[test]
    fn round_shift_rounds_halves_up() {
        let cases = [(5, 1, 3), (-5, 1, -2), (4, 2, 1), (-6, 2, -1), (7, 0, 7), (1 << 61, 63, 0), (-1, 70, 0)];
        for (value, shift, expected) in cases {
            assert_eq!(round_shift(value, shift), expected, "{value} >> {shift}");
        }
    }

    #[test]
    fn shift_saturating_reaches_the_limits() {
        assert_eq!(shift_saturating(3, -2), 12);
        assert_eq!(shift_saturating(3, -60), 1 << 30);
        assert_eq!(shift_saturating(-1, -i32::MAX), -(1 << 30));
        assert_eq!(shift_saturating(1 << 61, 10), 1 << 30);
        assert_eq!(shift_saturating(1 << 61, i32::MAX), 0);
    }

    proptest! {
        #[test]
        fn exp2_neg_is_within_its_bound(x in 0u32..40 << LOG2_FRACTION) {
            let exact = (-f64::from(x) * scale(-LOG2_FRACTION)).exp2();
            let error = f64::from(exp2_neg(x)) * scale(-32) - exact;
            prop_assert!(error.abs() < 2f64.powf(-23.9), "{error:e}");
        }

        #[test]
        fn exp2_neg_chord_is_within_its_bound(x in 0u32..32 << 16) {
            let exact = (32.0 - f64::from(x) * scale(-16)).exp2();
            let error = f64::from(exp2_neg_chord(x)) - exact;
            prop_assert!((-1.0 - exact * scale(-23)..exact * scale(-16)).contains(&error), "{x}: {error}");
        }

        #[test]
        fn neg_log2_is_within_its_bound(x in 1u32.., zeros in 0u32..32) {
            let x = (x >> zeros).max(1);
            let exact = 32.0 - f64::from(x).log2();
            let error = f64::from(neg_log2(x)) * scale(-26) - exact;
            prop_assert!(error.abs() < scale(-23), "{x}: {error:e}");
        }

        #[test]
        fn sin_cos_is_within_its_bound(turns: u32) {
            let angle = f64::from(turns) * scale(-32) * std::f64::consts::TAU;
            let (sin, cos) = sin_cos(turns);
            prop_assert!((f64::from(sin) * scale(-30) - angle.sin()).abs() < scale(-26));
            prop_assert!((f64::from(cos) * scale(-30) - angle.cos()).abs() < scale(-26));
        }

        #[test]
        fn inverse_root_is_within_its_bound(mantissa in 1u64..1 << 62, exponent in -100i32..100) {
            let (m, e) = Positive::new(mantissa, exponent).inverse_root().unwrap();
            let exact = 1.0 / (mantissa as f64 * scale(exponent)).sqrt();
            prop_assert!((f64::from(m) * scale(e) / exact - 1.0).abs() < scale(-28));
            prop_assert!(m >= (1 << 31) - 8);
        }

        #[test]
        fn positive_adds_and_divides(a in 0f32..1e9, b in 0f32..1e-3, divisor in 1u32..1 << 16) {
            let sum = Positive::from_f32_bits(a.to_bits()) / divisor + Positive::from_f32_bits(b.to_bits());
            let exact = f64::from(a) / f64::from(divisor) + f64::from(b);
            prop_assert!((sum.mantissa as f64 * scale(sum.exponent) - exact).abs() <= exact * scale(-40));
        }
    }

    #[test]
    fn the_ends_of_the_ranges_do_not_panic() {
        for x in [0, 1, u32::MAX, 1 << 31, (1 << 31) - 1] {
            exp2_neg(x);
            neg_log2(x);
            sin_cos(x);
            Positive::from_f32_bits(x).inverse_root();
        }
        assert_eq!(sin_cos(0), (0, 1 << 30));
        assert_eq!(sin_cos(1 << 31).1, -(1 << 30));
        assert_eq!(Positive::new(u64::MAX, 0).exponent, 2);
    }
}
