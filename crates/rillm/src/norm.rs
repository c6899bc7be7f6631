//! RMSNorm (Zhang and Sennrich 2019): `y = x / √(mean(x²) + ε) · w`.

use crate::fixed::{Positive, max_bits, round_shift};
use crate::vector::{Narrow, Wide};

/// A norm's weights as they lie on the tape.
#[derive(Clone, Copy)]
pub(crate) struct NormWeights<'a> {
    /// Little-endian 32-bit mantissas, magnitude below 2^24.
    pub mantissas: &'a [[u8; 4]],
    pub exponent: i32,
    pub epsilon: Positive,
}

/// Normalises a token's residual vector into `out`.
///
/// The products `x · w` are exact (54 bits); the factor `1 / √…` has 32 bits. `scratch` takes one number for each element.
pub(crate) fn rms_norm(
    x: &Wide<'_>,
    weights: NormWeights<'_>,
    scratch: &mut [i32],
    out: &mut Narrow<'_>,
    token: usize,
) {
    let len = weights.mantissas.len();
    let (x, x_exponent) = x.get(token, len);
    let scratch = &mut scratch[..len];

    // Σ x² of mantissas rounded to 23 bits: at most 2^16 squares of at most 2^46.
    let cut = max_bits(x).saturating_sub(23);
    let squares: u64 = x.iter().map(|&x| round_shift(x.into(), cut).unsigned_abs().pow(2)).sum();
    let mean = Positive::new(squares, 2 * (x_exponent + cut as i32)) / len as u32;
    let Some((root, root_exponent)) = (mean + weights.epsilon).inverse_root() else {
        scratch.fill(0);
        out.set(token, scratch, 0);
        return;
    };

    // x · w to 29 bits, times the root's 32 (or 2^32 itself).
    let product = |x: i32, w: &[u8; 4]| {
        // Masked to the format's 25 bits (with sign), so that a damaged file cannot overflow the product.
        let w = (i32::from_le_bytes(*w) << 7) >> 7;
        i64::from(x) * i64::from(w)
    };
    let largest = x.iter().zip(weights.mantissas).map(|(&x, w)| product(x, w).unsigned_abs()).max().unwrap_or(0);
    let right = 64 - largest.leading_zeros() as i32 - 29;
    for ((out, &x), w) in scratch.iter_mut().zip(x).zip(weights.mantissas) {
        let product = product(x, w);
        let product = if right >= 0 { round_shift(product, right as u32) } else { product << -right };
        *out = round_shift(product * root as i64, 32) as i32;
    }
    out.set(token, scratch, x_exponent + weights.exponent + right + root_exponent + 32);
}
