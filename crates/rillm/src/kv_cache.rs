//! The KV cache: the keys and values of all positions in 8 bits (keys in 16 bits if the file says so), with a scale for
//! each head and position.

use core::ops::Range;

use crate::COMPUTER;
use crate::fixed::mul_high_signed;
use crate::format::KeyBits;
use crate::kernels::{Loops, dot, dot_pairs, key_products, with_wide_vectors};
use crate::vector::{for_each, largest_magnitude, to_i16};

/// Bytes of a scale: an unsigned 8-bit mantissa and a signed 8-bit exponent.
const SCALE_LEN: usize = 2;

/// Keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvKind {
    Key,
    Value,
}

/// The cache: for each layer and head, the keys of all positions, their scales, the values, their scales. 16-bit keys
/// are little-endian.
pub(crate) struct KvCache<'a> {
    pub bytes: &'a mut [u8],
    pub shape: CacheShape,
}

/// A cache's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub layers: usize,
    pub heads: usize,
    pub head_dim: usize,
    pub context: usize,
    pub key_bits: KeyBits,
}

impl CacheShape {
    /// Length of the cache in bytes, rounded up to a multiple of four. A length beyond the address space saturates.
    pub fn byte_len(&self) -> usize {
        let position =
            self.head_dim * (self.element_len(KvKind::Key) + self.element_len(KvKind::Value)) + 2 * SCALE_LEN;
        let len = (self.layers * self.heads).saturating_mul(position).saturating_mul(self.context);
        len.saturating_add(3) / 4 * 4
    }

    fn element_len(&self, kind: KvKind) -> usize {
        match kind {
            KvKind::Key => self.key_bits.byte_len(),
            KvKind::Value => 1,
        }
    }

    fn kind_len(&self, kind: KvKind) -> usize {
        self.context * (self.head_dim * self.element_len(kind) + SCALE_LEN)
    }

    /// The ranges of the first `positions`: for each layer and head the keys, their scales, the values, their scales.
    pub fn first(self, positions: usize) -> impl Iterator<Item = Range<usize>> {
        (0..self.layers * self.heads).flat_map(move |index| {
            [KvKind::Key, KvKind::Value].into_iter().flat_map(move |kind| {
                let (vectors, scales) = self.place(index / self.heads, index % self.heads, kind);
                let lens = [self.head_dim * self.element_len(kind), SCALE_LEN];
                [vectors, scales].into_iter().zip(lens).map(move |(all, len)| all.start..all.start + positions * len)
            })
        })
    }

    /// The ranges of the vectors and of the scales, for keys or values.
    fn place(&self, layer: usize, head: usize, kind: KvKind) -> (Range<usize>, Range<usize>) {
        let head_len = self.kind_len(KvKind::Key) + self.kind_len(KvKind::Value);
        let start = (layer * self.heads + head) * head_len + kind as usize * self.kind_len(KvKind::Key);
        let scales = start + self.context * self.head_dim * self.element_len(kind);
        (start..scales, scales..start + self.kind_len(kind))
    }
}

/// The vectors of all positions, in order.
#[derive(Clone, Copy)]
enum CachedVectors<'a> {
    Eight(&'a [i8]),
    Sixteen(&'a [i16]),
}

/// The keys of one head.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    vectors: CachedVectors<'a>,
    scales: &'a [u8],
    head_dim: usize,
}

impl Keys<'_> {
    /// Sets the `sums` of each head to the products of its `q` and the keys of the first positions: `sum · mantissa · 2^exponent`, by
    /// [`Keys::scales`]; |sum| < 2^31. `q` is without −32,768.
    ///
    /// For 8-bit keys, a sum is exact. For 16-bit keys, 8 bits of every two products are cut off: rounding an element to 16
    /// bits changes more.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline(never))]
    pub fn sums<const N: usize>(&self, q: [&[i16]; N], mut sums: [&mut [i32]; N]) {
        let in_blocks = !COMPUTER;
        let mut first = 0;
        if in_blocks {
            if let CachedVectors::Eight(keys) = self.vectors {
                first = key_products(keys, self.head_dim, q, &mut sums);
            }
            if first == self.head_dim {
                return;
            }
            if first == 0 {
                sums.iter_mut().for_each(|sums| sums.fill(0));
            }
        }
        for (q, sums) in q.into_iter().zip(sums) {
            match self.vectors {
                CachedVectors::Eight(keys) if in_blocks => add_by_blocks(keys, q, first, sums, dot_block),
                CachedVectors::Sixteen(keys) if in_blocks => add_by_blocks(keys, q, first, sums, dot_wide_block),
                CachedVectors::Eight(keys) => {
                    for (sum, key) in sums.iter_mut().zip(keys.chunks_exact(self.head_dim)) {
                        *sum = dot(key, q);
                    }
                }
                CachedVectors::Sixteen(keys) => {
                    for (sum, key) in sums.iter_mut().zip(keys.chunks_exact(self.head_dim)) {
                        *sum = dot_wide(key, q);
                    }
                }
            }
        }
    }

    /// The scales of all positions.
    #[inline(always)]
    pub fn scales(&self) -> impl Iterator<Item = CacheScale> {
        // That of 16-bit keys is 2^exponent, or 128 · 2^-7, for sums without 8 bits.
        let is_wide = matches!(self.vectors, CachedVectors::Sixteen(_));
        let scales = self.scales.as_chunks::<SCALE_LEN>().0.iter();
        scales.map(move |&[mantissa, exponent]| CacheScale {
            mantissa: if is_wide { 128 } else { mantissa },
            exponent: i32::from(exponent as i8) + i32::from(is_wide),
        })
    }
}

/// Adds the products of `q` and `keys`, each of as many elements, from element `first` on: blocks of `q` stay in a
/// microcontroller's registers, each while a loop visits all keys.
#[inline(never)]
fn add_by_blocks<K>(keys: &[K], q: &[i16], first: usize, sums: &mut [i32], dot: impl Fn(&[K], &[i16]) -> i32) {
    /// Elements of a query that stay in registers, an even number.
    const BLOCK: usize = 8;
    let head_dim = q.len();
    let (blocks, rest) = q[first..].as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        for (sum, key) in sums.iter_mut().zip(keys.chunks_exact(head_dim)) {
            *sum += dot(&key[first + index * BLOCK..][..BLOCK], block);
        }
    }
    if !rest.is_empty() {
        for (sum, key) in sums.iter_mut().zip(keys.chunks_exact(head_dim)) {
            *sum += dot(&key[head_dim - rest.len()..], rest);
        }
    }
}

/// `Σ k · q` of few elements.
#[inline(always)]
fn dot_block(k: &[i8], q: &[i16]) -> i32 {
    k.iter().zip(q).map(|(&k, &q)| i32::from(k) * i32::from(q)).sum()
}

/// `Σ k · q` of few elements, as by [`dot_wide`].
#[inline(always)]
fn dot_wide_block(k: &[i16], q: &[i16]) -> i32 {
    let product = |(&k, &q): (&i16, &i16)| i32::from(i16::from_le(k)) * i32::from(q);
    k.chunks(2).zip(q.chunks(2)).map(|(k, q)| k.iter().zip(q).map(product).sum::<i32>() >> 8).sum()
}

/// The scale of a head's key or value at a position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheScale {
    pub mantissa: u8,
    pub exponent: i32,
}

/// `Σ k · q` without its last 8 bits, which are cut off from every two products; `k` little-endian, at most 512 elements.
///
/// Two products are at most 2^31 - 2^16, so that 256 times as much without 8 bits is below 2^31.
#[inline(always)]
fn dot_wide(k: &[i16], q: &[i16]) -> i32 {
    let (k_blocks, k_rest) = k.as_chunks();
    let (q_blocks, q_rest) = q.as_chunks();
    let mut sums = [0; 4];
    for (k, q) in k_blocks.iter().zip(q_blocks) {
        for (sum, pair) in sums.iter_mut().zip(dot_pairs(k.map(i16::from_le), *q)) {
            *sum += pair >> 8;
        }
    }
    sums.iter().sum::<i32>() + dot_wide_block(k_rest, q_rest)
}

/// The values of one head.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    vectors: &'a [i8],
    scales: &'a [u8],
    head_dim: usize,
}

impl<'a> Values<'a> {
    /// The elements of all vectors, and the number of elements of each.
    pub fn elements(&self) -> (&'a [i8], usize) {
        (self.vectors, self.head_dim)
    }

    /// The vectors of all positions. Their elements are `v · mantissa · 2^exponent`, by [`Values::scales`].
    pub fn vectors(&self) -> impl Iterator<Item = &'a [i8]> {
        self.vectors.chunks_exact(self.head_dim)
    }

    /// The scales of all positions.
    pub fn scales(&self) -> impl Iterator<Item = CacheScale> {
        let scales = self.scales.as_chunks::<SCALE_LEN>().0.iter();
        scales.map(|&[mantissa, exponent]| CacheScale { mantissa, exponent: i32::from(exponent as i8) })
    }
}

impl KvCache<'_> {
    /// The keys of a head.
    pub fn keys(&self, layer: usize, head: usize) -> Keys<'_> {
        let (vectors, scales) = self.shape.place(layer, head, KvKind::Key);
        let vectors = &self.bytes[vectors];
        let vectors = match self.shape.key_bits {
            KeyBits::Eight => CachedVectors::Eight(bytemuck::cast_slice(vectors)),
            KeyBits::Sixteen => CachedVectors::Sixteen(bytemuck::cast_slice(vectors)),
        };
        Keys { vectors, scales: &self.bytes[scales], head_dim: self.shape.head_dim }
    }

    /// The values of a head.
    pub fn values(&self, layer: usize, head: usize) -> Values<'_> {
        let (vectors, scales) = self.shape.place(layer, head, KvKind::Value);
        Values {
            vectors: bytemuck::cast_slice(&self.bytes[vectors]),
            scales: &self.bytes[scales],
            head_dim: self.shape.head_dim,
        }
    }

    /// Stores the vectors of all heads at `position`, `values · 2^exponent`. Each head's vector is rounded to its own
    /// scale.
    pub fn store(&mut self, layer: usize, kind: KvKind, position: usize, values: &[i32], exponent: i32) {
        let len = self.shape.head_dim * self.shape.element_len(kind);
        for (head, values) in values.chunks_exact(self.shape.head_dim).enumerate() {
            let (vectors, scales) = self.shape.place(layer, head, kind);
            let out = &mut self.bytes[vectors][position * len..][..len];
            let (mantissa, scale_exponent) = if len == values.len() {
                quantise(values, exponent, out)
            } else {
                let out = bytemuck::cast_slice_mut(out);
                let exponent = to_i16(values, exponent, out);
                out.iter_mut().for_each(|key| *key = key.to_le());
                (1, saturate(exponent))
            };
            self.bytes[scales][position * SCALE_LEN..][..SCALE_LEN].copy_from_slice(&[mantissa, scale_exponent as u8]);
        }
    }
}

/// An exponent in 8 bits, saturated. Numbers beyond this range are above 10^38 or below 10^-38.
fn saturate(exponent: i32) -> i8 {
    exponent.clamp(-128, 127) as i8
}

/// Rounds `values · 2^exponent` to 8 bits with the smallest sufficient scale. Returns `(mantissa, exponent)` of the
/// scale.
///
/// The scale's mantissa lies in 128 ..= 255, or the vector is zero.
fn quantise(values: &[i32], exponent: i32, out: &mut [u8]) -> (u8, i8) {
    let largest = largest_magnitude(values, |value| value);
    if largest == 0 {
        out.fill(0);
        // The smallest exponent never exceeds those of other vectors.
        return (0, i8::MIN);
    }
    // To 30 bits: the largest magnitude then lies in 2^29 ..= 2^30. Rotated values have up to 31.
    let left = largest.leading_zeros().max(2) - 2;
    let right = u32::from(largest >= 1 << 30);
    let largest = ((largest << left) + right) >> right;
    // largest / 127 lies in 2^22 ..= 2^23.02; its upper 8 bits, rounded up, are the mantissa.
    let step = largest.div_ceil(127);
    let drop = if step <= 255 << 15 { 15 } else { 16 };
    let mantissa = step.div_ceil(1 << drop);
    with_wide_vectors(Quantise {
        values,
        left,
        right,
        inverse: (((1 << 31) / mantissa) << 6) as i32,
        fraction: drop + 5,
        out,
    });
    (mantissa as u8, saturate(exponent - left as i32 + right as i32 + drop as i32))
}

/// Multiplies values by the inverse of their scale.
struct Quantise<'a> {
    values: &'a [i32],
    /// What shifts values to 30 bits: to the left, or to the right by 1, with rounding.
    left: u32,
    right: u32,
    /// The inverse, at most 2^30: a product has `fraction` + 32 fraction bits.
    inverse: i32,
    fraction: u32,
    out: &'a mut [u8],
}

impl Loops for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { values, left, right, inverse, fraction, out } = self;
        let half = 1 << (fraction - 1);
        // |aligned| is at most 127 times the scale, of which the inverse is rounded down: within ±127.
        let round = |aligned| ((mul_high_signed(aligned, inverse) + half) >> fraction) as u8;
        if right == 0 {
            for_each(values, out, |value, out| *out = round(value << left));
        } else {
            for_each(values, out, |value, out| *out = round((value + 1) >> 1));
        }
    }
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
                prop_assert!(error.abs() <= step * (0.5 + 2f64.powi(-16)), "{value}: {q} {step}");
                prop_assert!(q != 0x80);
            }
            prop_assert!(mantissa == 0 || mantissa >= 128);
        }
    }

    #[test]
    fn a_stored_vector_comes_back_from_its_place() {
        for key_bits in [KeyBits::Eight, KeyBits::Sixteen] {
            let shape = CacheShape { layers: 2, heads: 3, head_dim: 4, context: 5, key_bits };
            let mut bytes = std::vec![0; shape.byte_len()];
            let mut cache = KvCache { bytes: &mut bytes, shape };
            let values: [i32; 12] = core::array::from_fn(|i| i as i32 * 1000 - 6000);
            cache.store(1, KvKind::Value, 4, &values, -3);
            cache.store(1, KvKind::Key, 3, &values, -3);
            for head in 0..3 {
                let stored = cache.values(1, head);
                let CacheScale { mantissa, exponent } = stored.scales().nth(4).unwrap();
                for (i, &value) in values[4 * head..][..4].iter().enumerate() {
                    let got =
                        f64::from(stored.vectors().nth(4).unwrap()[i]) * f64::from(mantissa) * 2f64.powi(exponent);
                    assert!((got - f64::from(value) / 8.0).abs() < 3.0, "{got} {value}");
                    let unit: [i16; 4] = core::array::from_fn(|j| i16::from(i == j) << 14);
                    let keys = cache.keys(1, head);
                    let mut sums = [7; 5];
                    keys.sums([&unit], [&mut sums]);
                    assert_eq!(sums[4], 0);
                    let scale = keys.scales().nth(3).unwrap();
                    let got = f64::from(sums[3]) * f64::from(scale.mantissa) * 2f64.powi(scale.exponent - 14);
                    assert!((got - f64::from(value) / 8.0).abs() < 3.0, "{got} {value}");
                }
            }
        }
    }
}
