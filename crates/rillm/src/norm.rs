//! RMSNorm (Zhang and Sennrich 2019): `y = x / √(mean(x²) + ε) · w`, of the residual stream or of each head (Henry et
//! al. 2020).

use crate::fixed::{Positive, max_bits, round_shift, shift_saturating};
use crate::vector::{BlockFloat16, BlockFloat32, fixed32};

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
/// The products `x · w` are exact (54 bits); the factor `1 / √…` has 32 bits. `scratch` has one number for each
/// element.
pub(crate) fn rms_norm(
    x: &BlockFloat32<'_>,
    weights: NormWeights<'_>,
    scratch: &mut [i32],
    out: &mut BlockFloat16<'_>,
    token: usize,
) {
    let len = weights.mantissas.len();
    let (x, x_exponent) = x.get(token, len);
    let scratch = &mut scratch[..len];

    let Some((root, root_exponent)) = inverse_root_mean_square(x, x_exponent, weights.epsilon) else {
        scratch.fill(0);
        out.set(token, scratch, 0);
        return;
    };

    // x · w to 29 bits, times the root's 32 (or 2^32 itself).
    let product = |x: i32, w: &[u8; 4]| i64::from(x) * i64::from(fixed32(*w));
    let largest = x.iter().zip(weights.mantissas).map(|(&x, w)| product(x, w).unsigned_abs()).max().unwrap_or(0);
    let right = 64 - largest.leading_zeros() as i32 - 29;
    for ((out, &x), w) in scratch.iter_mut().zip(x).zip(weights.mantissas) {
        let product = product(x, w);
        let product = if right >= 0 { round_shift(product, right as u32) } else { product << -right };
        *out = round_shift(product * root as i64, 32) as i32;
    }
    out.set(token, scratch, x_exponent + weights.exponent + right + root_exponent + 32);
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
        let Some((root, root_exponent)) = inverse_root_mean_square(head, exponent, weights.epsilon) else {
            head.fill(0);
            continue;
        };
        let right = -(exponent + root_exponent + 25);
        for (x, w) in head.iter_mut().zip(weights.mantissas) {
            // 30 bits times 32, then 25 fraction bits; times 24 bits, in 64.
            let normalised = shift_saturating(i64::from(*x) * root as i64, right);
            *x = round_shift(i64::from(normalised) * i64::from(fixed32(*w)), 25) as i32;
        }
    }
    y.exponents[token] = weights.exponent;
}

/// `1 / √(mean(x²) + ε)` as `(m, e)` with `m` in `2^31..=2^32`, of at most 2^16 elements. `None` if the root is zero.
fn inverse_root_mean_square(x: &[i32], exponent: i32, epsilon: Positive) -> Option<(u64, i32)> {
    // Σ x² of mantissas rounded to 23 bits: at most 2^16 squares of at most 2^46.
    let cut = max_bits(x.iter().copied()).saturating_sub(23);
    let squares: u64 = x.iter().map(|&x| round_shift(x.into(), cut).unsigned_abs().pow(2)).sum();
    let mean = Positive::new(squares, 2 * (exponent + cut as i32)) / x.len() as u32;
    (mean + epsilon).inverse_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
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
