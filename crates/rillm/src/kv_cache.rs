//! The keys and values of all positions, 8-bit, with a scale for each head and position.

use crate::fixed::{max_bits, round_shift};

/// Bytes of a scale: an 8-bit mantissa and a signed 8-bit exponent.
const SCALE_LEN: usize = 2;

/// Keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// The cache. For each layer, head and part: the vectors of all positions, then their scales.
pub(crate) struct KvCache<'a> {
    pub bytes: &'a mut [u8],
    pub heads: usize,
    pub head_dim: usize,
    pub context: usize,
}

/// One part of one head: the vectors of all positions and their scales.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    vectors: &'a [i8],
    scales: &'a [u8],
    head_dim: usize,
}

impl<'a> Head<'a> {
    /// The vector at `position`. Its values are `q · scale · 2^exponent`, by [`Head::scale`].
    pub fn vector(&self, position: usize) -> &'a [i8] {
        &self.vectors[position * self.head_dim..][..self.head_dim]
    }

    /// The scale's mantissa, at most 255, and its exponent.
    pub fn scale(&self, position: usize) -> (u8, i32) {
        let scale = &self.scales[position * SCALE_LEN..][..SCALE_LEN];
        (scale[0], i32::from(scale[1] as i8))
    }
}

/// Bytes of a cache.
pub(crate) const fn cache_len(layers: usize, heads: usize, head_dim: usize, context: usize) -> usize {
    layers * heads * 2 * part_len(head_dim, context)
}

const fn part_len(head_dim: usize, context: usize) -> usize {
    context * (head_dim + SCALE_LEN)
}

impl KvCache<'_> {
    fn start(&self, layer: usize, head: usize, part: Part) -> usize {
        ((layer * self.heads + head) * 2 + part as usize) * part_len(self.head_dim, self.context)
    }

    /// One part of a head.
    pub fn head(&self, layer: usize, head: usize, part: Part) -> Head<'_> {
        let start = self.start(layer, head, part);
        let (vectors, scales) =
            self.bytes[start..start + part_len(self.head_dim, self.context)].split_at(self.context * self.head_dim);
        Head { vectors: bytemuck::cast_slice(vectors), scales, head_dim: self.head_dim }
    }

    /// Stores the vectors of all heads at `position`, `values · 2^exponent`, rounded to 8 bits each.
    pub fn store(&mut self, layer: usize, part: Part, position: usize, values: &[i32], exponent: i32) {
        for (head, values) in values.chunks_exact(self.head_dim).enumerate() {
            let start = self.start(layer, head, part);
            let vector = start + position * self.head_dim;
            let scale = start + self.context * self.head_dim + position * SCALE_LEN;
            let out = &mut self.bytes[vector..vector + self.head_dim];
            let (mantissa, scale_exponent) = quantise(values, exponent, out);
            self.bytes[scale..scale + SCALE_LEN].copy_from_slice(&[mantissa, scale_exponent as u8]);
        }
    }
}

/// Rounds `values · 2^exponent` to 8 bits with the smallest scale that holds them: `(mantissa, exponent)` of the scale.
///
/// The scale's mantissa lies in 128 ..= 255, or the vector is zero.
fn quantise(values: &[i32], exponent: i32, out: &mut [u8]) -> (u8, i8) {
    let bits = max_bits(values) as i32;
    if bits == 0 {
        out.fill(0);
        return (0, 0);
    }
    // To 30 bits: the largest magnitude then lies in 2^29 ..= 2^30.
    let right = bits - 30;
    let aligned = |value: i32| {
        if right >= 0 { round_shift(value.into(), right as u32) as i32 } else { value << -right }
    };
    let largest = values.iter().map(|&value| aligned(value).unsigned_abs()).max().unwrap_or(0);
    // largest / 127 lies in 2^22 ..= 2^23.02; its upper 8 bits, rounded up, are the mantissa.
    let step = largest.div_ceil(127);
    let drop = if step <= 255 << 15 { 15 } else { 16 };
    let mantissa = step.div_ceil(1 << drop);
    let divisor = (mantissa << drop) as i32;
    for (out, &value) in out.iter_mut().zip(values) {
        // |value| ≤ largest ≤ 127 · divisor: within ±127, rounded to the nearest, halves up.
        *out = (2 * i64::from(aligned(value)) + i64::from(divisor)).div_euclid(2 * i64::from(divisor)) as u8;
    }
    // An exponent beyond 8 bits means numbers beyond 10^38: they saturate.
    (mantissa as u8, (exponent + right + drop).clamp(-128, 127) as i8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stored_vector_is_within_half_a_step(
            values in prop::array::uniform8(-(1i32 << 30)..1 << 30), zeros in 0u32..31, exponent in -60i32..20,
        ) {
            let values = values.map(|value| value >> zeros);
            let mut out = [0; 8];
            let (mantissa, scale_exponent) = quantise(&values, exponent, &mut out);
            let step = f64::from(mantissa) * 2f64.powi(scale_exponent.into());
            for (&value, &q) in values.iter().zip(&out) {
                let error = f64::from(q as i8) * step - f64::from(value) * 2f64.powi(exponent);
                prop_assert!(error.abs() <= step * 0.500001, "{value}: {q} {step}");
                prop_assert!(q != 0x80);
            }
            prop_assert!(mantissa == 0 || mantissa >= 128);
        }
    }

    #[test]
    fn a_stored_vector_comes_back_from_its_place() {
        let mut bytes = [0; cache_len(2, 3, 4, 5)];
        let mut cache = KvCache { bytes: &mut bytes, heads: 3, head_dim: 4, context: 5 };
        let values: [i32; 12] = core::array::from_fn(|i| i as i32 * 1000 - 6000);
        cache.store(1, Part::Value, 4, &values, -3);
        for head in 0..3 {
            let part = cache.head(1, head, Part::Value);
            let (mantissa, exponent) = part.scale(4);
            for (&q, &value) in part.vector(4).iter().zip(&values[4 * head..]) {
                let got = f64::from(q) * f64::from(mantissa) * 2f64.powi(exponent);
                assert!((got - f64::from(value) / 8.0).abs() < 3.0, "{got} {value}");
            }
            assert_eq!(cache.head(1, head, Part::Key).scale(4), (0, 0));
        }
    }
}
