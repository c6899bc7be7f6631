//! Logits divided by the temperature.

use crate::fixed::{exp2_neg_chord, round_shift};
use crate::sampling::{Q16, Sampling};

/// A distance in octaves that noise never makes up for.
pub(crate) const NEVER: u32 = 64;

/// The distance from which on a token is no candidate, in octaves: so many that the whole vocabulary at that distance has at
/// most half of what top-p leaves out, or that a token has half of min-p.
pub(crate) fn negligible_octaves(sampling: &Sampling, vocab_size: u32) -> u32 {
    let bits = |number: u32| 32 - number.leading_zeros();
    let Sampling { top_k, top_p, min_p, .. } = *sampling;
    // 1 - p and min-p are at least 2^(bits - 17), and the vocabulary is at most 2^bits of its size less one.
    let by_top_p =
        (top_k == 0 && top_p < Q16::ONE).then(|| bits(vocab_size.saturating_sub(1)) + 18 - bits(Q16::ONE.0 - top_p.0));
    let by_min_p = (min_p > Q16::ZERO).then(|| 18 - bits(min_p.0.min(Q16::ONE.0)));
    [by_top_p, by_min_p].into_iter().flatten().fold(NEVER, u32::min)
}

/// Logits divided by the temperature, in the base-2 logarithmic domain: scores, and shares of the largest probability.
#[derive(Clone, Copy)]
pub(crate) struct TemperatureScale {
    /// 2^22 · log2(e) / temperature, below 2^29.
    factor: u32,
    /// The exponent of the logits.
    pub exponent: i32,
    /// A difference of two logits, shifted left by `left`, times `multiplier · 2^-(16 + right)` is their distance with
    /// 16 fraction bits. The multiplier is the factor in 16 bits: 2^15 to 2^16, or 0 if all distances are 0.
    multiplier: u32,
    left: u32,
    right: u32,
    /// The smallest difference with a distance of at least 32: from there on, shares are 0. At least 1, and `u32::MAX`
    /// if no two logits are that far apart.
    pub reach: u32,
    /// The octaves from which on a token is no candidate, and the smallest difference with that distance: at least 1, and
    /// `u32::MAX` if no two logits are that far apart.
    octaves: u32,
    pub negligible: u32,
}

impl TemperatureScale {
    pub fn new(temperature: Q16, octaves: u32) -> Self {
        // log2(e) with 22 + 16 fraction bits, by at least 2^10: below 2^29. By less than 2^32: at least 92.
        const LOG2_E: i64 = 6_051_102 << 16;
        let factor = (LOG2_E / i64::from(temperature.0.max(1 << 10))) as u32;
        let mut scale =
            Self { factor, exponent: 0, multiplier: 0, left: 0, right: 0, reach: 1, octaves, negligible: 1 };
        scale.set_exponent(0);
        scale
    }

    /// Prepares for logits of this exponent.
    pub fn set_exponent(&mut self, exponent: i32) {
        let bits = (32 - self.factor.leading_zeros()) as i32;
        // The factor's upper 16 bits, rounded: at most 2^16.
        let multiplier = if bits > 16 {
            round_shift(self.factor.into(), bits as u32 - 16) as u32
        } else {
            self.factor << (16 - bits)
        };
        // The distance is difference · multiplier · 2^-shift: of the factor's 22 fraction bits, bits - 16 are cut off
        // and 16 are the distance's.
        let shift = 22 - bits - exponent;
        self.exponent = exponent;
        // Differences are below 2^32: beyond a shift of 48, every distance is 0.
        self.multiplier = if shift < 48 { multiplier } else { 0 };
        self.left = (16 - shift).clamp(0, 31) as u32;
        self.right = (shift - 16).clamp(0, 31) as u32;
        // From difference · multiplier ≥ octaves · 2^(16 + shift) on. A product beyond 2^56 leaves a quotient beyond 2^32.
        let from = |octaves: u32| {
            let product = u64::from(octaves) << (16 + shift).clamp(0, 56);
            u32::try_from(product.div_ceil(multiplier.into())).unwrap_or(u32::MAX)
        };
        (self.reach, self.negligible) = (from(32), from(self.octaves));
    }

    /// The probability of a logit as a share of that of a larger one, 32 fraction bits: `2^-distance`. `logit` must not
    /// exceed `largest`.
    #[inline(always)]
    pub fn share(&self, largest: i32, logit: i32) -> u32 {
        let difference = largest.abs_diff(logit);
        if difference >= self.reach {
            return 0;
        }
        // The upper 32 of 48 bits of difference · multiplier, exactly. With a left shift (by 16 - shift), a difference
        // below the reach is below 2^21 · 2^shift / 2^15 + 1; shifted, it is at most 2^22.
        let difference = difference << self.left;
        let (upper, lower) = (difference >> 16, difference & 0xffff);
        // Both factors are at most 2^16 - 1 and 2^16: neither products nor sum exceed 32 bits.
        let product = upper * self.multiplier + ((lower * self.multiplier) >> 16);
        exp2_neg_chord(product >> self.right)
    }

    /// The smallest logit whose score is at least `score`, which is a score of a logit or less.
    pub fn least_with_score(&self, score: i64) -> i32 {
        // Scores never fall with rising logits.
        let (mut low, mut high) = (-(1i32 << 30), 1i32 << 30);
        while low < high {
            let middle = low + (high.abs_diff(low) / 2) as i32;
            if self.score(middle) >= score {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// |logit| ≤ 2^30, the product is below 2^59. Scores beyond ±2^40 saturate: probabilities of 2^(-2^24).
    pub fn score(&self, logit: i32) -> i64 {
        const LIMIT: i64 = 1 << 40;
        let product = i64::from(logit) * i64::from(self.factor);
        let right = 22 - 16 - self.exponent;
        let score = if right >= 0 {
            round_shift(product, right as u32)
        } else {
            product.clamp(-LIMIT, LIMIT) << (-right).min(20)
        };
        score.clamp(-LIMIT, LIMIT)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The share of a probability by its definition.
    pub(crate) fn share_by_definition(temperature: Q16, exponent: i32, difference: u32) -> u32 {
        let distance = distance_by_definition(temperature, exponent, difference);
        if distance < 32 << 16 { exp2_neg_chord(distance as u32) } else { 0 }
    }

    /// A distance in octaves with 16 fraction bits by its definition.
    pub(crate) fn distance_by_definition(temperature: Q16, exponent: i32, difference: u32) -> u128 {
        let factor = (6_051_102u64 << 16) / u64::from(temperature.0.max(1 << 10));
        let bits = 64 - factor.leading_zeros() as i32;
        let multiplier = if bits > 16 { (factor + (1 << (bits - 17))) >> (bits - 16) } else { factor << (16 - bits) };
        // Shifts beyond these limits leave nothing, or more than 32.
        let shift = (22 - bits - exponent).clamp(-50, 100);
        let product = u128::from(difference) * u128::from(multiplier);
        if shift >= 0 { product >> shift } else { product << -shift }
    }

    /// Any temperature.
    pub(crate) fn any_q16() -> impl Strategy<Value = Q16> {
        prop_oneof![Just(0), Just(1 << 16), 1u32..1 << 16, 1u32..1 << 18, any::<u32>()].prop_map(Q16)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn shares_are_those_of_the_definition(
            temperature in any_q16(),
            exponent in prop_oneof![-32i32..0, -200i32..200],
            bits in 0u32..=31,
            difference in any::<u32>(),
        ) {
            let mut scale = TemperatureScale::new(temperature, NEVER);
            scale.set_exponent(exponent);
            let share = |difference: u32| scale.share(1 << 30, (1 << 30) - difference as i32);
            for difference in [difference >> 1 >> bits, scale.reach, scale.reach - 1, scale.reach / 2, 1] {
                let difference = difference.min(1 << 31 >> 1);
                prop_assert_eq!(share(difference), share_by_definition(temperature, exponent, difference));
            }
            // The reach is the smallest difference without a share.
            prop_assert!(scale.reach == u32::MAX || share_by_definition(temperature, exponent, scale.reach) == 0);
            prop_assert!(share_by_definition(temperature, exponent, (scale.reach - 1).min(1 << 31)) > 0);
        }

        #[test]
        fn shares_are_near_float64(thousandths in 16u32..64_000, difference in 0.0..32.0f64) {
            let temperature = Q16::thousandths(thousandths);
            let mut scale = TemperatureScale::new(temperature, NEVER);
            scale.set_exponent(-20);
            let difference = (difference * 2f64.powi(20)) as i32;
            let distance = f64::from(difference) * 2f64.powi(-20) * std::f64::consts::LOG2_E
                / (f64::from(temperature.0) / 65_536.0);
            let exact = (32.0 - distance).exp2();
            // Temperature and multiplier have 16 bits, distance and chord errors of 2^-16; the share is rounded down.
            let bound = 1.0 + exact * (distance + 2.0) * 2f64.powi(-16);
            prop_assert!((f64::from(scale.share(0, -difference)) - exact).abs() < bound, "{distance} {exact}");
        }
    }
}
