//! Logarithms of probabilities: the log-softmax of a position while its logits stream by.

use core::fmt;
use core::ops::{Add, AddAssign};

use crate::fixed::{LOG2_FRACTION, exp2_neg, neg_log2, round_shift, shift_saturating};
use crate::logits::Logit;

/// A natural logarithm of a probability, in units of 2^-[`FRACTION_BITS`](Self::FRACTION_BITS).
///
/// ```
/// use rillm::Nats;
///
/// assert_eq!(Nats(-3 << 23).to_string(), "-1.500000");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nats(pub i64);

impl Nats {
    /// Number of fraction bits.
    pub const FRACTION_BITS: u32 = 24;
}

impl Add for Nats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Nats {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Six decimals, rounded to the nearest.
impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MILLION: u64 = 1_000_000;
        let bits = self.0.unsigned_abs();
        let fraction = bits & ((1 << Self::FRACTION_BITS) - 1);
        // A product below 2^44.
        let millionths = (fraction * MILLION + (1 << (Self::FRACTION_BITS - 1))) >> Self::FRACTION_BITS;
        let whole = (bits >> Self::FRACTION_BITS) + millionths / MILLION;
        let sign = if self.0 < 0 && (whole, millionths) != (0, 0) { "-" } else { "" };
        write!(f, "{sign}{whole}.{:06}", millionths % MILLION)
    }
}

/// A logit times log2(e), in the logarithmic domain of [`LOG2_FRACTION`], saturated to ±1,024 octaves: ±709 nats.
/// Error: half a unit, and 2^-32 of the value.
pub fn log2_of(logit: Logit) -> i32 {
    /// log2(e) with 30 fraction bits.
    const LOG2_E: i64 = 1_549_082_005;
    // |mantissa| ≤ 2^30: within ±2^61.
    shift_saturating(i64::from(logit.mantissa) * LOG2_E, 30 - LOG2_FRACTION - logit.exponent)
}

/// A sum of powers of two, Σ 2^x, over up to 2^20 tokens. Independent of the order but for the last bits.
#[derive(Clone, Copy)]
pub struct LogSum {
    /// The unit of the mass is 2^(octave - MASS_FRACTION). The largest power so far lies in the octave below 2^octave.
    octave: i32,
    mass: u64,
}

/// Fraction bits of the mass. A power is at most 2^43, 2^20 of them 2^63.
const MASS_FRACTION: u32 = 43;

impl LogSum {
    /// The sum of no powers.
    pub const ZERO: Self = Self { octave: i32::MIN, mass: 0 };

    /// Adds 2^x, `x` as [`log2_of`] returns it.
    #[inline]
    pub fn add(&mut self, x: i32) {
        // x / 2^20, rounded up: within ±1,024.
        let octave = -(-x >> LOG2_FRACTION);
        if octave > self.octave {
            // By whole octaves, so that the sum is shifted and nothing but its last bit is lost.
            self.mass = self.mass.checked_shr(octave.abs_diff(self.octave)).unwrap_or(0);
            self.octave = octave;
        }
        // Between 0 and 2,048 octaves.
        let below = (self.octave << LOG2_FRACTION).abs_diff(x);
        let fraction = exp2_neg(below & ((1 << LOG2_FRACTION) - 1));
        let power = u64::from(fraction) << (MASS_FRACTION - 32);
        self.mass += power.checked_shr(below >> LOG2_FRACTION).unwrap_or(0);
    }

    /// The base-2 logarithm of the sum with 26 fraction bits. A sum of 0, whose logarithm is infinite, has that of
    /// 2^-4096, which is less than that of any other.
    pub fn log2(&self) -> i64 {
        if self.mass == 0 {
            return -4096 << 26;
        }
        // mass = upper · 2^(32 - zeros), but for the bits that are cut off, below 2^-31 of it.
        let zeros = self.mass.leading_zeros();
        let upper = ((self.mass << zeros) >> 32) as u32;
        let octaves = i64::from(self.octave) + i64::from(64 - zeros) - i64::from(MASS_FRACTION);
        (octaves << 26) - i64::from(neg_log2(upper))
    }
}

/// The natural logarithm of the share that 2^`part` is of 2^`all`, both with 26 fraction bits and within ±2^13. At most
/// 0, also where roundings make a part larger than the whole. Error: 2^-28 of the value, and half a unit.
pub fn log_share(part: i64, all: i64) -> Nats {
    /// ln(2) with 22 fraction bits.
    const LN_2: i64 = 2_907_270;
    // Within 2^40 · 2^22 = 2^62.
    Nats(round_shift((part - all).min(0) * LN_2, 26 + 22 - Nats::FRACTION_BITS))
}

/// A logarithm of [`log2_of`] with 26 fraction bits.
pub fn widened(x: i32) -> i64 {
    i64::from(x) << (26 - LOG2_FRACTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn nats(nats: Nats) -> f64 {
        nats.0 as f64 / f64::from(1 << Nats::FRACTION_BITS)
    }

    /// The log-softmax of every logit.
    fn log_softmax(logits: &[Logit]) -> Vec<f64> {
        let mut all = LogSum::ZERO;
        logits.iter().for_each(|&logit| all.add(log2_of(logit)));
        logits.iter().map(|&logit| nats(log_share(widened(log2_of(logit)), all.log2()))).collect()
    }

    fn assert_near(logits: &[Logit]) {
        let exact: Vec<f64> =
            logits.iter().map(|logit| f64::from(logit.mantissa) * 2f64.powi(logit.exponent)).collect();
        let largest = exact.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = exact.iter().map(|logit| (logit - largest).exp()).sum();
        for (got, logit) in log_softmax(logits).into_iter().zip(exact) {
            let expected = logit - largest - sum.ln();
            let bound = 2f64.powi(-19) - expected * 2f64.powi(-28);
            assert!((got - expected).abs() < bound, "{got} is not {expected}");
        }
    }

    proptest! {
        // Logits of up to 2^9 nats, which are not saturated.
        #[test]
        fn a_log_softmax_is_within_its_bound(
            mantissas in prop::collection::vec(-(1i32 << 30)..1 << 30, 1..400), zeros in 0u32..12, exponent in -40i32..-20,
        ) {
            let logit = |(token, &mantissa): (u32, &i32)| Logit { token, mantissa: mantissa >> zeros, exponent };
            assert_near(&(0..).zip(&mantissas).map(logit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_large_vocabulary_keeps_the_bound() {
        // Tiny shares that together weigh as much as the largest one: e^12 of them, and none of them below a unit.
        let least = (0..1 << 18).map(|token| Logit { token, mantissa: (token % 64) as i32, exponent: -20 });
        let largest = Logit { token: 1 << 18, mantissa: 12 << 20, exponent: -20 };
        assert_near(&least.clone().chain([largest]).collect::<Vec<_>>());
        assert_near(&[largest].into_iter().chain(least).collect::<Vec<_>>());
    }

    #[test]
    fn rising_logits_lose_nothing_that_matters() {
        assert_near(&(0..4000).map(|token| Logit { token, mantissa: token as i32, exponent: -7 }).collect::<Vec<_>>());
    }

    #[test]
    fn the_ends_of_the_ranges() {
        let of = |mantissa, exponent| log2_of(Logit { token: 0, mantissa, exponent });
        assert_eq!([of(1 << 30, 0), of(-1 << 30, 0), of(1, 31)], [1 << 30, -1 << 30, 1 << 30]);
        assert_eq!([of(1 << 30, -60), of(0, i32::MAX), of(5, i32::MIN / 2)], [0; 3]);
        let mut sum = LogSum::ZERO;
        assert!(sum.log2() < widened(-1 << 30) - (30 << 26));
        assert_eq!(log_share(sum.log2(), widened(1 << 30) + (20 << 26)).0 >> Nats::FRACTION_BITS, -3563);
        for x in [-1 << 30, 1 << 30] {
            sum.add(x);
            assert!((sum.log2() - widened(x)).abs() < 64, "{x}");
        }
        assert_eq!(log_share(5, 4), Nats(0));
    }

    #[test]
    fn six_decimals() {
        let shown = |bits| Nats(bits).to_string();
        assert_eq!([shown(0), shown(-1), shown(-(1 << 24))], ["0.000000", "0.000000", "-1.000000"]);
        assert_eq!([shown(-(1 << 24) + 1), shown(-(12 << 24) - 8)], ["-1.000000", "-12.000000"]);
        assert_eq!(shown(-11_629_080), "-0.693147");
    }
}
