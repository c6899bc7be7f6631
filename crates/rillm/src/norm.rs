//! RMSNorm (Zhang and Sennrich 2019): `y = x / √(mean(x²) + ε) · w`, of the residual stream or of each head (Henry et
//! al. 2020).

use crate::fixed::{Positive, mul_high_signed, round_shift, shift_saturating};
use crate::kernels::{Loops, with_wide_vectors};
use crate::vector::{BlockFloat16, BlockFloat32, Narrowed, fixed32, largest_magnitude, max_bits, round_to_i16};

/// A norm's weights, in the layout of the tape.
#[derive(Clone, Copy)]
pub(crate) struct NormWeights<'a> {
    /// Little-endian 32-bit mantissas, magnitude below 2^24.
    pub mantissas: &'a [[u8; 4]],
    pub exponent: i32,
    pub epsilon: Positive,
}

/// Normalises a token's residual vector into `out`.
///
/// `scratch` has one number for each element.
pub(crate) fn rms_norm(
    x: &BlockFloat32<'_>,
    weights: NormWeights<'_>,
    scratch: &mut [i32],
    out: &mut BlockFloat16<'_>,
    token: usize,
) {
    let len = weights.mantissas.len();
    let (x, exponent) = x.get(token, len);
    let scratch = &mut scratch[..len];
    let (narrowed, exponent) =
        with_wide_vectors(Norm { x, exponent, weights, products: scratch, out: &mut out.get_mut(token)[..len] });
    out.describe(token, narrowed, exponent);
}

/// The normalisation of one vector.
struct Norm<'a> {
    x: &'a [i32],
    exponent: i32,
    weights: NormWeights<'a>,
    products: &'a mut [i32],
    out: &'a mut [i16],
}

impl Loops for Norm<'_> {
    /// What was rounded, and the exponent before.
    type Output = (Narrowed, i32);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { x, exponent, weights, products, out } = self;
        let bits = max_bits(x);
        let root = inverse_root_mean_square(x, bits, exponent, weights.epsilon);

        // The upper 32 bits of x, shifted to 30 bits, times w, shifted to 31: below 2^29, and its negative at most.
        let left = 30u32.saturating_sub(bits);
        for ((product, &x), &w) in products.iter_mut().zip(x).zip(weights.mantissas) {
            *product = mul_high_signed(x << left, fixed32(w) << 7);
        }
        let largest = largest_magnitude(products, |product| product);
        let Some((root, root_exponent)) = root.filter(|_| largest > 0) else {
            out.fill(0);
            return (Narrowed::default(), 0);
        };

        // Shifted to 30 bits, times the root in 31: 28 or 29 bits, and a negative one at most its power of two.
        let more = largest.leading_zeros() - 2;
        let root = (root >> 1) as i32;
        let normalised = |product: i32| mul_high_signed(product << more, root);
        let largest = normalised(largest as i32) as u32;
        let right = 32 - largest.leading_zeros() as i32 - 15;
        // A negative one is rounded down: by one more, at most.
        let narrowed = round_to_i16(products, normalised, largest + 1, right, out);
        (narrowed, exponent + weights.exponent + root_exponent + (32 - 7 + 32 + 1) - (left + more) as i32)
    }
}

/// Normalises the first `len` elements of a token's queries or keys in place, head by head. The weights are those of
/// one head.
///
/// An element of up to 512 lies within ±2^4.5 when it is normalised, and times a weight's mantissa within ±2^28.5: with
/// the weights' exponent, every head's outputs fit. An element is off by at most 2^-26 and the factor's 2^-30 of
/// itself.
pub(crate) fn rms_norm_heads(y: &mut BlockFloat32<'_>, weights: NormWeights<'_>, token: usize, len: usize) {
    let exponent = y.exponents[token];
    for head in y.get_mut(token, len).chunks_exact_mut(weights.mantissas.len()) {
        let bits = max_bits(head);
        let Some((root, root_exponent)) = inverse_root_mean_square(head, bits, exponent, weights.epsilon) else {
            head.fill(0);
            continue;
        };
        let right = -(exponent + root_exponent + 25);
        for (x, w) in head.iter_mut().zip(weights.mantissas) {
            // 30 bits times 32, then 25 fraction bits; times 24 bits, in 64.
            let normalised = shift_saturating(i64::from(*x) * i64::from(root), right);
            *x = round_shift(i64::from(normalised) * i64::from(fixed32(*w)), 25) as i32;
        }
    }
    y.exponents[token] = weights.exponent;
}

/// `1 / √(mean(x²) + ε)` as `(m, e)` with `m` of 32 bits, of at most 2^16 elements, the largest of which has `bits`.
/// `None` if the root is zero.
#[inline(always)]
fn inverse_root_mean_square(x: &[i32], bits: u32, exponent: i32, epsilon: Positive) -> Option<(u32, i32)> {
    // Σ x² of mantissas rounded to 23 bits: at most 2^16 squares of at most 2^46.
    let cut = bits.saturating_sub(23);
    let half = 1 << cut >> 1;
    let square = |&x: &i32| {
        let x = i64::from((x + half) >> cut);
        (x * x) as u64
    };
    let mean = Positive::new(x.iter().map(square).sum(), 2 * (exponent + cut as i32)) / x.len() as u32;
    (mean + epsilon).inverse_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn a_vector_is_normalised(
            x in prop::collection::vec((-(1i32 << 30)..1 << 30, 0u32..31), 1..40), zeros in 0u32..31, exponent in -60i32..20,
            weights in prop::collection::vec((-(1i32 << 24) + 1..1 << 24, 0u32..25), 40), weight_exponent in -30i32..0,
        ) {
            let mut x: Vec<i32> = x.iter().map(|(x, zeros_of_one)| x >> zeros_of_one >> zeros).collect();
            let weights: Vec<i32> = weights.iter().map(|(w, zeros)| w >> zeros).take(x.len()).collect();
            let mantissas: Vec<[u8; 4]> = weights.iter().map(|w| w.to_le_bytes()).collect();
            let epsilon = 1e-6f32;
            let value = |x: i32| f64::from(x) * 2f64.powi(exponent);
            let mean = x.iter().map(|&x| value(x) * value(x)).sum::<f64>() / x.len() as f64;
            let root = (mean + f64::from(epsilon)).sqrt();
            let largest = x.iter().map(|&x| value(x).abs()).fold(0.0, f64::max);
            let exact: Vec<f64> =
                x.iter().zip(&weights).map(|(&x, &w)| value(x) / root * f64::from(w) * 2f64.powi(weight_exponent)).collect();
            let weights = NormWeights {
                mantissas: &mantissas,
                exponent: weight_exponent,
                epsilon: Positive::from_f32_bits(epsilon.to_bits()),
            };
            let len = x.len();
            let (mut scratch, mut out) = (std::vec![0; len], std::vec![0; len]);
            let x = BlockFloat32 { mantissas: &mut x, stride: len, exponents: &mut [exponent] };
            let mut out = BlockFloat16 { mantissas: &mut out, stride: len, exponents: &mut [0], excess: &mut [0] };
            rms_norm(&x, weights, &mut scratch, &mut out, 0);
            let unit = 2f64.powi(out.exponents[0]);
            for (&got, exact) in out.mantissas.iter().zip(exact) {
                let bound = 1.01 * unit + exact.abs() * 2f64.powi(-22)
                    + largest / root * 2f64.powi(24 + weight_exponent - 28);
                prop_assert!((f64::from(got) * unit - exact).abs() <= bound, "{} {exact}", f64::from(got) * unit);
            }
        }

        #[test]
        fn heads_are_normalised_one_by_one(
            heads in prop::collection::vec((prop::collection::vec(-(1i32 << 30)..1 << 30, 6), 0u32..30), 3),
            weights in prop::collection::vec(-(1i32 << 24) + 1..1 << 24, 6), exponent in -60i32..20, weight_exponent in -30i32..0,
        ) {
            let mut y: Vec<i32> = heads.iter().flat_map(|(head, zeros)| head.iter().map(move |x| x >> zeros)).collect();
            let epsilon = 1e-6f32;
            let value = |x: i32| f64::from(x) * 2f64.powi(exponent);
            let exact: Vec<f64> = y.chunks(6).flat_map(|head| {
                let mean = head.iter().map(|&x| value(x) * value(x)).sum::<f64>() / 6.0;
                let root = (mean + f64::from(epsilon)).sqrt();
                head.iter().zip(&weights).map(|(&x, &w)| value(x) / root * f64::from(w)).collect::<Vec<_>>()
            }).collect();
            let mantissas: Vec<[u8; 4]> = weights.iter().map(|w| w.to_le_bytes()).collect();
            let weights = NormWeights {
                mantissas: &mantissas,
                exponent: weight_exponent,
                epsilon: Positive::from_f32_bits(epsilon.to_bits()),
            };
            let mut wide = BlockFloat32 { mantissas: &mut y, stride: 18, exponents: &mut [exponent] };
            rms_norm_heads(&mut wide, weights, 0, 18);
            prop_assert_eq!(wide.exponents[0], weight_exponent);
            for (&x, exact) in wide.mantissas.iter().zip(exact) {
                prop_assert!(x.unsigned_abs() < 1 << 30);
                // 2^-26 of a weight, and what 23 bits of the squares leave.
                let bound = 0.51 + 2f64.powi(24 - 26) + exact.abs() * 2f64.powi(-21);
                prop_assert!((f64::from(x) - exact).abs() < bound, "{x} {exact}");
            }
        }
    }
}
