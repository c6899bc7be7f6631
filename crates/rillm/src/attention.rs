//! Grouped-query attention (Ainslie et al. 2023) of one token over the cache.

use crate::COMPUTER;
use crate::fixed::{LOG2_FRACTION, LOG2_LIMIT, Positive, exp2_neg_below_32, mul_high, mul_high_signed, one_over};
use crate::kernels::{HEADS, Loops, Multiply, weighted_values, with_wide_vectors};
use crate::kv_cache::{CacheShape, Keys, KvCache, Values};
use crate::vector::to_i16;

/// Most parts into which heads are divided.
const PARTS: usize = if COMPUTER { 8 } else { 1 };
/// Fewest products of a part, which take some microseconds.
const PART: usize = 1 << 14;

/// Computes attention of all heads over the positions `0..=position` of `layer`. Input: the queries of all heads, one
/// after the other, as `heads · 2^exponent`. The heads' outputs replace the queries. Returns the exponent of the
/// outputs.
pub(crate) fn attention(
    cache: &KvCache<'_>,
    layer: usize,
    position: usize,
    heads: &mut [i32],
    exponent: i32,
    scratch: Scratch<'_>,
    multiplier: &dyn Multiply,
) -> i32 {
    let Scratch { q, scores } = scratch;
    let CacheShape { heads: kv_heads, head_dim, .. } = cache.shape;
    // All heads get one exponent, that of the largest value scale.
    let value_exponent =
        (0..kv_heads).map(|head| largest_exponent(&cache.values(layer, head), position)).max().unwrap_or(0);
    let common = Common {
        cache,
        layer,
        positions: position + 1,
        heads_per_kv: heads.len() / (kv_heads * head_dim),
        exponent,
        scale: ScoreScale::new(head_dim),
        value_exponent,
    };
    // As many parts as there are threads, work and room for scores.
    let all = heads.len() / head_dim;
    let most = multiplier.threads().min(PARTS).min(scores.len() / common.positions);
    let parts = most.min(common.products(all) / PART).clamp(1, all);
    let each = all.div_ceil(parts);
    let mut heads = heads.chunks_mut(each * head_dim);
    let (mut q, mut scores) = (q.chunks_mut(each * head_dim), scores.chunks_mut(scores.len() / parts));
    let mut divided: [AttentionPart<'_>; PARTS] = core::array::from_fn(|part| AttentionPart {
        common: &common,
        first: part * each,
        heads: heads.next().unwrap_or_default(),
        scratch: Scratch { q: q.next().unwrap_or_default(), scores: scores.next().unwrap_or_default() },
    });
    match parts {
        1 => divided[0].run(),
        _ => multiplier.attend(&mut divided[..parts]),
    }
    // Σ weight · v with weights of 24 fraction bits, of which 8 are the scale's mantissa: see `weighted_sum`.
    value_exponent - 16
}

/// Scratch of attention.
pub(crate) struct Scratch<'a> {
    /// A number for each element of the heads.
    pub q: &'a mut [i16],
    /// A number for each position.
    pub scores: &'a mut [i32],
}

/// What the heads of a layer have in common.
struct Common<'a> {
    cache: &'a KvCache<'a>,
    layer: usize,
    positions: usize,
    heads_per_kv: usize,
    /// The exponent of the queries.
    exponent: i32,
    scale: ScoreScale,
    value_exponent: i32,
}

impl Common<'_> {
    /// The number of products of so many heads with keys and values.
    fn products(&self, heads: usize) -> usize {
        (2 * heads * self.cache.shape.head_dim).saturating_mul(self.positions)
    }
}

/// The attention of some heads of a layer, which does not depend on other heads.
pub struct AttentionPart<'a> {
    common: &'a Common<'a>,
    /// The number of the first head.
    first: usize,
    heads: &'a mut [i32],
    scratch: Scratch<'a>,
}

impl AttentionPart<'_> {
    /// The number of products that [`run`](Self::run) computes.
    pub fn products(&self) -> usize {
        self.common.products(self.heads.len() / self.common.cache.shape.head_dim)
    }

    /// Computes the attention. To be called once: the outputs take the place of the queries.
    pub fn run(&mut self) {
        let Common { cache, layer, positions, heads_per_kv, exponent, ref scale, value_exponent } = *self.common;
        let (head_dim, Scratch { q, scores }) = (cache.shape.head_dim, &mut self.scratch);
        // Several heads at a time, while there is room for their scores.
        let together = if HEADS * positions <= scores.len() { HEADS } else { 1 };
        let (mut head, mut rest) = (self.first, &mut *self.heads);
        while !rest.is_empty() {
            let of_kv_head = heads_per_kv - head % heads_per_kv;
            let (heads, others) = rest.split_at_mut((together.min(of_kv_head) * head_dim).min(rest.len()));
            let (keys, values) = (cache.keys(layer, head / heads_per_kv), cache.values(layer, head / heads_per_kv));
            let context = Context { keys, values, scale, value_exponent };
            let mut exponents = [0; HEADS];
            for ((head, q), to) in heads.chunks(head_dim).zip(q.chunks_mut(head_dim)).zip(&mut exponents) {
                *to = to_i16(head, exponent, q);
            }
            let len = heads.len() / head_dim;
            let scores = &mut scores[..len * positions];
            match len {
                1 => with_wide_vectors(context.heads::<1>(q, &exponents, scores, heads)),
                _ => with_wide_vectors(context.heads::<HEADS>(q, &exponents, scores, heads)),
            }
            (head, rest) = (head + len, others);
        }
    }
}

fn largest_exponent(values: &Values<'_>, position: usize) -> i32 {
    values.scales().take(position + 1).map(|scale| scale.exponent).max().unwrap_or(i32::from(i8::MIN))
}

/// `log2(e) / √head_dim`.
struct ScoreScale {
    /// 23 bits.
    mantissa: u32,
    exponent: i32,
}

impl ScoreScale {
    fn new(head_dim: usize) -> Self {
        /// log2(e) with 30 fraction bits.
        const LOG2_E: u64 = 1_549_082_005;
        // `head_dim` is not zero. 32 bits times 31, cut to 23.
        let (root, exponent) = Positive::new(head_dim as u64, 0).inverse_root().unwrap_or((1, 0));
        let product = u64::from(root) * LOG2_E;
        let cut = 64 - product.leading_zeros() - 23;
        Self { mantissa: (product >> cut) as u32, exponent: exponent - 30 + cut as i32 }
    }

    /// Turns sums into scores, in place. Returns the largest one.
    #[cfg_attr(target_arch = "x86_64", inline(always))]
    #[cfg_attr(not(target_arch = "x86_64"), inline(never))]
    fn apply_all(&self, sums: &mut [i32], keys: &Keys<'_>, exponent: i32) -> i32 {
        // The upper half of a product leaves out 32 bits.
        let left = exponent + self.exponent + 32 + LOG2_FRACTION;
        let mut largest = i32::MIN;
        for (sum, key_scale) in sums.iter_mut().zip(keys.scales()) {
            // Both are below 2^31, the upper half of their product is within ±2^30.
            let product = mul_high_signed(*sum, (self.mantissa * u32::from(key_scale.mantissa)) as i32);
            *sum = shift_to_score(product, left + key_scale.exponent);
            largest = largest.max(*sum);
        }
        largest
    }
}

/// `product · 2^left`, rounded down, saturated to ±[`LOG2_LIMIT`]: a score in the logarithmic domain of [`LOG2_FRACTION`].
#[inline(always)]
fn shift_to_score(product: i32, left: i32) -> i32 {
    // Beyond ±2^30, a shift by one more loses bits.
    let by = (left + 1) & 31;
    let twice = product << by;
    if (0..31).contains(&left) && twice >> by == product {
        return twice >> 1;
    }
    if left < 0 { product >> (-left).min(31) } else { LOG2_LIMIT * product.signum() }
}

/// The keys and values to which the query heads of a key-value head attend.
#[derive(Clone, Copy)]
struct Context<'a> {
    keys: Keys<'a>,
    values: Values<'a>,
    scale: &'a ScoreScale,
    /// The largest exponent of the values of all heads.
    value_exponent: i32,
}

/// The attention of `N` heads.
struct Heads<'a, const N: usize> {
    context: Context<'a>,
    /// The queries, `q · 2^exponent`.
    q: [&'a [i16]; N],
    exponents: [i32; N],
    scores: [&'a mut [i32]; N],
    out: [&'a mut [i32]; N],
}

impl<'a> Context<'a> {
    /// The attention of `N` heads, whose queries, scores and outputs lie one after the other.
    fn heads<const N: usize>(
        self,
        q: &'a [i16],
        exponents: &[i32],
        scores: &'a mut [i32],
        out: &'a mut [i32],
    ) -> Heads<'a, N> {
        let (head_dim, positions) = (out.len() / N, scores.len() / N);
        let (mut scores, mut out) = (scores.chunks_exact_mut(positions), out.chunks_exact_mut(head_dim));
        Heads {
            context: self,
            q: core::array::from_fn(|head| &q[head * head_dim..][..head_dim]),
            exponents: core::array::from_fn(|head| exponents[head]),
            scores: core::array::from_fn(|_| scores.next().unwrap_or_default()),
            out: core::array::from_fn(|_| out.next().unwrap_or_default()),
        }
    }
}

impl<const N: usize> Loops for Heads<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { context: Context { keys, values, scale, value_exponent }, q, exponents, mut scores, out } = self;
        // The steps are functions of their own, except for wide vectors: a microcontroller has registers for one of them.
        keys.sums(q, scores.each_mut().map(|scores| &mut **scores));
        for ((q, exponent), scores) in q.into_iter().zip(exponents).zip(&mut scores) {
            // Fraction bits fewer than usual: so many that the scores that count are not saturated.
            let mut fewer = 0;
            let largest = loop {
                let largest = scale.apply_all(scores, &keys, exponent - fewer as i32);
                if (-LOG2_LIMIT / 2..LOG2_LIMIT).contains(&largest) || fewer == LOG2_FRACTION as u32 {
                    break largest;
                }
                fewer += LOG2_FRACTION as u32 / 4;
                keys.sums([q], [scores]);
            };
            let sum = powers(scores, largest, fewer);
            weights(scores, sum, &values, value_exponent);
        }
        weighted_sum(&values, scores.each_ref().map(|scores| &**scores), out);
    }
}

/// Turns scores of `fewer` fraction bits less than [`LOG2_FRACTION`], of which `largest` is the largest, into powers of two with
/// 30 fraction bits, in place. Returns their sum.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn powers(scores: &mut [i32], largest: i32, fewer: u32) -> u64 {
    let mut sum = 0u64;
    for score in scores.iter_mut() {
        // The distance of two numbers within ±2^30 is at most 2^31, which is 2,048 octaves; from 32 on, a power is zero.
        let distance = largest.wrapping_sub(*score) as u32;
        let below_32 = distance < (32 << LOG2_FRACTION) >> fewer;
        let power = if below_32 { exp2_neg_below_32(distance << fewer) >> 2 } else { 0 };
        *score = power as i32;
        sum += u64::from(power);
    }
    sum
}

/// Turns powers with 30 fraction bits, and their sum, into weights: probabilities times the scales of the values,
/// `mantissa / 256 · 2^(exponent − value_exponent) < 1`, rounded down to 24 fraction bits. They add up to at most 2^24.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn weights(powers: &mut [i32], sum: u64, values: &Values<'_>, value_exponent: i32) {
    // The largest power alone is 2^30 − 59, so the sum lies in 2^29 .. 2^50 for up to 2^20 positions. Cut to 31 bits and
    // rounded up, it gives a reciprocal that is no larger than the true one, below 2^30, of which 24 bits are left.
    let zeros = sum.leading_zeros();
    let reciprocal = one_over((sum << zeros >> 33) as u32 + 1) >> 6;
    for (power, scale) in powers.iter_mut().zip(values.scales()) {
        // Power · reciprocal has 30 + 54 fraction bits and those of the sum; the mantissa has 8, and 24 are left.
        let product = mul_high((*power as u32) << 2, reciprocal * u32::from(scale.mantissa));
        let right = (41 - zeros as i32 + value_exponent - scale.exponent) as u32;
        // Without a branch, so that vectors can do it.
        let shifted = product >> (right % 32);
        *power = if right < 32 { shifted } else { 0 } as i32;
    }
}

/// `out[i] = Σ weight · v[i]`, in units of `2^(value_exponent − 16)`.
///
/// The weights add up to at most 2^24, and |v| ≤ 127: every sum fits 31 bits and its sign.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(not(target_arch = "x86_64"), inline(never))]
fn weighted_sum<const N: usize>(values: &Values<'_>, weights: [&[i32]; N], mut out: [&mut [i32]; N]) {
    let (elements, head_dim) = values.elements();
    let first = weighted_values(elements, head_dim, weights, &mut out);
    if first == head_dim {
        return;
    }
    for (weights, out) in weights.into_iter().zip(out) {
        let mut first = first;
        let (blocks, rest) = out[first..].as_chunks_mut::<BLOCK>();
        for block in blocks {
            *block = block_sums(values, weights, first);
            first += BLOCK;
        }
        let (blocks, rest) = rest.as_chunks_mut::<SMALL_BLOCK>();
        for block in blocks {
            *block = block_sums(values, weights, first);
            first += SMALL_BLOCK;
        }
        for out in rest {
            [*out] = block_sums(values, weights, first);
            first += 1;
        }
    }
}

/// The sums of the elements from `first` on. They stay in registers while the loop visits all positions.
#[inline(always)]
fn block_sums<const N: usize>(values: &Values<'_>, weights: &[i32], first: usize) -> [i32; N] {
    let mut sums = [0; N];
    for (vector, &weight) in values.vectors().zip(weights) {
        for (sum, &v) in sums.iter_mut().zip(&vector[first..][..N]) {
            *sum += weight * i32::from(v);
        }
    }
    sums
}

/// Elements of a vector that are summed in parallel.
const BLOCK: usize = if COMPUTER { 32 } else { SMALL_BLOCK };
const SMALL_BLOCK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::KeyBits;
    use crate::kernels::{Kernel, Rows};
    use crate::kv_cache::{CacheScale, KvKind};
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    proptest! {
        #[test]
        fn attention_is_near_float64(
            seed in prop::collection::vec(-30000i16..30000, 2 * 8 + 12 * 16), position in 0usize..12, spread in 0i32..6,
            wide_keys: bool,
        ) {
            let key_bits = if wide_keys { KeyBits::Sixteen } else { KeyBits::Eight };
            let shape = CacheShape { layers: 1, heads: 1, head_dim: 8, context: 12, key_bits };
            let mut bytes = vec![0; shape.byte_len()];
            let mut cache = KvCache { bytes: &mut bytes, shape };
            let wide: Vec<i32> = seed[16..].iter().map(|&v| i32::from(v)).collect();
            for (t, kv) in wide.chunks_exact(16).enumerate() {
                cache.store(0, KvKind::Key, t, &kv[..8], -14);
                cache.store(0, KvKind::Value, t, &kv[8..], -13 + (t as i32 * spread) % 7);
            }
            // The second head is a hundred times smaller.
            let q: Vec<i32> = seed[..16].iter().enumerate().map(|(i, &q)| i32::from(q) << (14 - 7 * (i / 8))).collect();
            let mut out = q.clone();
            let scratch = Scratch { q: &mut [0; 16], scores: &mut [0; 12] };
            let exponent = attention(&cache, 0, position, &mut out, -28, scratch, Kernel::fastest());

            let (keys, values) = (cache.keys(0, 0), cache.values(0, 0));
            let value = |t: usize, i: usize| {
                let CacheScale { mantissa, exponent } = values.scales().nth(t).unwrap();
                f64::from(values.vectors().nth(t).unwrap()[i]) * f64::from(mantissa) * 2f64.powi(exponent)
            };
            let score = |t: usize, q: &[i32]| {
                let mut mantissas = [0; 8];
                let q_exponent = to_i16(q, -28, &mut mantissas);
                let mut sums = [0; 12];
                keys.sums([&mantissas], [&mut sums]);
                let scale = keys.scales().nth(t).unwrap();
                f64::from(sums[t]) * f64::from(scale.mantissa) * 2f64.powi(scale.exponent + q_exponent) / 8f64.sqrt()
            };
            for (q, out) in q.chunks_exact(8).zip(out.chunks_exact(8)) {
                let scores: Vec<f64> = (0..=position).map(|t| score(t, q)).collect();
                let largest = scores.iter().fold(f64::MIN, |a, &b| a.max(b));
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (i, &out) in out.iter().enumerate() {
                    let exact: f64 = weights.iter().enumerate().map(|(t, w)| w / sum * value(t, i)).sum();
                    let got = f64::from(out) * 2f64.powi(exponent);
                    prop_assert!((got - exact).abs() < 127.0 * 12.0 * 2f64.powi(exponent) + exact.abs() * 1e-5 + 1e-3,
                        "{got} {exact}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_score_is_the_product_shifted_and_limited(product in -(1i32 << 30)..=1 << 30, zeros in 0u32..31, left in -70i32..70) {
            let product = product >> zeros;
            let (limit, wide) = (i64::from(LOG2_LIMIT), i64::from(product));
            // By 31 or more, every product but zero is beyond the limit.
            let exact = if left < 0 { wide >> -left.max(-62) } else { wide << left.min(31) };
            prop_assert_eq!(i64::from(shift_to_score(product, left)), exact.clamp(-limit, limit));
        }
    }

    #[test]
    fn a_head_without_values_takes_nothing_from_the_others() {
        let shape = CacheShape { layers: 1, heads: 2, head_dim: 4, context: 3, key_bits: KeyBits::Eight };
        let mut bytes = vec![0; shape.byte_len()];
        let mut cache = KvCache { bytes: &mut bytes, shape };
        for t in 0..3 {
            cache.store(0, KvKind::Key, t, &[5; 8], -10);
            cache.store(0, KvKind::Value, t, &[8, 8, 8, 8, 0, 0, 0, 0], -20);
        }
        let mut heads = [7; 8];
        let scratch = Scratch { q: &mut [0; 8], scores: &mut [0; 3] };
        let exponent = attention(&cache, 0, 2, &mut heads, -8, scratch, Kernel::fastest());
        let expected = 8.0 * 2f64.powi(-20);
        assert!((f64::from(heads[0]) * 2f64.powi(exponent) / expected - 1.0).abs() < 0.01, "{heads:?}");
        assert_eq!(heads[4..], [0; 4]);
    }

    #[test]
    fn scores_beyond_the_usual_range_are_compared() {
        let shape = CacheShape { layers: 1, heads: 1, head_dim: 2, context: 3, key_bits: KeyBits::Sixteen };
        let mut bytes = vec![0; shape.byte_len()];
        let mut cache = KvCache { bytes: &mut bytes, shape };
        // Scores of 7,000 to 700 million, and their negatives: one position's is larger by a hundredth or more.
        for q in [10_000, 1_000_000, 1_000_000_000] {
            for (sign, best) in [(1, 1), (-1, 2)] {
                for (t, key) in [99, 100, 98].into_iter().enumerate() {
                    cache.store(0, KvKind::Key, t, &[sign * key, 0], -7);
                    cache.store(0, KvKind::Value, t, &[100 * t as i32, 1], 0);
                }
                let mut heads = [q, 0];
                let scratch = Scratch { q: &mut [0; 2], scores: &mut [0; 3] };
                let exponent = attention(&cache, 0, 2, &mut heads, 0, scratch, Kernel::fastest());
                let got = f64::from(heads[0]) * 2f64.powi(exponent);
                assert!((got - 100.0 * f64::from(best)).abs() < 1.0, "{sign} {q}: {got}");
            }
        }
    }

    #[test]
    fn heads_at_the_same_time_give_what_each_gives() {
        for key_bits in [KeyBits::Eight, KeyBits::Sixteen] {
            let shape = CacheShape { layers: 1, heads: 1, head_dim: 27, context: 5, key_bits };
            let mut bytes = vec![0; shape.byte_len()];
            let mut cache = KvCache { bytes: &mut bytes, shape };
            let noise =
                |seed: i32| (0..27).map(move |i| (seed + i).wrapping_mul(1_234_567_891) >> 3).collect::<Vec<_>>();
            for t in 0..5 {
                cache.store(0, KvKind::Key, t, &noise(100 * t as i32), -30);
                cache.store(0, KvKind::Value, t, &noise(100 * t as i32 + 50), -30);
            }
            let (keys, values) = (cache.keys(0, 0), cache.values(0, 0));
            let value_exponent = largest_exponent(&values, 4);
            let context = Context { keys, values, scale: &ScoreScale::new(27), value_exponent };
            // The second head's scores saturate at first.
            let (q, exponents) = ([noise(7), noise(8)].concat(), [-12, 0]);
            let q: Vec<i16> = q.iter().map(|&q| (q >> 14) as i16).collect();
            let (mut both, mut each) = ([0; 54], [0; 54]);
            context.heads::<2>(&q, &exponents, &mut [0; 10], &mut both).run();
            for head in 0..2 {
                let (q, out) = (&q[27 * head..][..27], &mut each[27 * head..][..27]);
                context.heads::<1>(q, &exponents[head..], &mut [0; 5], out).run();
            }
            assert_eq!(both, each);
            assert!(both.iter().all(|&out| out != 0));
        }
    }

    /// Divides heads as if it had so many threads, and begins with the last part.
    struct Divided(usize);

    impl Multiply for Divided {
        fn dot(&self, rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
            rows.dot(x, sums);
        }

        fn threads(&self) -> usize {
            self.0
        }

        fn attend(&self, parts: &mut [AttentionPart<'_>]) {
            assert_eq!(parts.len(), self.0);
            parts.iter_mut().rev().for_each(AttentionPart::run);
        }
    }

    #[test]
    fn parts_give_what_all_heads_give() {
        // Three heads for each of two key-value heads, and room for the scores of three.
        let shape = CacheShape { layers: 1, heads: 2, head_dim: 64, context: 1600, key_bits: KeyBits::Eight };
        let mut bytes = vec![0; shape.byte_len()];
        let mut cache = KvCache { bytes: &mut bytes, shape };
        let noise = |seed: i32, len: i32| (0..len).map(move |i| (seed + i).wrapping_mul(1_234_567_891) >> 3);
        let positions = shape.context / 3;
        for t in 0..positions {
            let vector: Vec<i32> = noise(200 * t as i32, 128).collect();
            cache.store(0, KvKind::Key, t, &vector, -30);
            cache.store(0, KvKind::Value, t, &vector, -30);
        }
        let outputs = |multiplier: &dyn Multiply| {
            let mut heads: Vec<i32> = noise(7, 6 * 64).collect();
            let scratch = Scratch { q: &mut vec![0; heads.len()], scores: &mut vec![0; shape.context] };
            attention(&cache, 0, positions - 1, &mut heads, -30, scratch, multiplier);
            heads
        };
        let expected = outputs(Kernel::fastest());
        assert!(expected.iter().all(|&out| out != 0));
        for threads in [2, 3] {
            assert_eq!(outputs(&Divided(threads)), expected);
        }
    }

    #[test]
    fn sums_of_every_length_are_exact() {
        for head_dim in [1, 7, 8, 15, 16, 27, 32, 40, 96] {
            for positions in [1, 2, 3, 8] {
                let shape = CacheShape { layers: 1, heads: 1, head_dim, context: 8, key_bits: KeyBits::Eight };
                let mut bytes = vec![0; shape.byte_len()];
                let mut cache = KvCache { bytes: &mut bytes, shape };
                let noise = |seed: usize| {
                    (0..head_dim)
                        .map(move |i| ((seed * 100 + i) as i32).wrapping_mul(1_234_567_891))
                        .collect::<Vec<_>>()
                };
                for t in 0..8 {
                    cache.store(0, KvKind::Key, t, &noise(t), 0);
                    cache.store(0, KvKind::Value, t, &noise(t), 0);
                }
                // The same numbers as keys and as values.
                let (keys, values) = (cache.keys(0, 0), cache.values(0, 0));
                let q: Vec<i16> = noise(9).iter().map(|&q| ((q >> 16) as i16).max(-i16::MAX)).collect();
                let mut sums = vec![0; positions];
                keys.sums([&q], [&mut sums]);
                // They add up to 2^24.
                let mut weights: Vec<i32> = (0..positions).map(|t| (1 << 24 >> (t + 1)) - t as i32).collect();
                weights[0] += (1 << 24) - weights.iter().sum::<i32>();
                let mut out = vec![0; head_dim];
                weighted_sum(&values, [&weights], [&mut out]);

                let vectors: Vec<&[i8]> = values.vectors().take(positions).collect();
                let dot = |v: &[i8]| v.iter().zip(&q).map(|(&v, &q)| i32::from(v) * i32::from(q)).sum::<i32>();
                let weighted = |i: usize| vectors.iter().zip(&weights).map(|(v, w)| w * i32::from(v[i])).sum::<i32>();
                assert_eq!(sums, vectors.iter().map(|v| dot(v)).collect::<Vec<_>>(), "{head_dim} {positions}");
                assert_eq!(out, (0..head_dim).map(weighted).collect::<Vec<_>>(), "{head_dim} {positions}");
            }
        }
    }

    #[test]
    fn scores_at_both_limits_do_not_overflow() {
        let mut scores = [-(1 << 30), 1 << 30];
        powers(&mut scores, 1 << 30, 0);
        assert_eq!(scores[0], 0);
    }

    #[test]
    fn equal_scores_share_and_never_exceed_one() {
        for len in [1, 2, 3, 1000] {
            let shape = CacheShape { layers: 1, heads: 1, head_dim: 1, context: len, key_bits: KeyBits::Eight };
            let mut bytes = vec![0; shape.byte_len()];
            let mut cache = KvCache { bytes: &mut bytes, shape };
            for t in 0..len {
                // A scale of 128.
                cache.store(0, KvKind::Value, t, &[127 << 7], 0);
            }
            let mut scores = vec![-5; len];
            let sum = powers(&mut scores, -5, 0);
            weights(&mut scores, sum, &cache.values(0, 0), 0);
            let sum: i64 = scores.iter().map(|&weight| i64::from(weight)).sum();
            assert!(sum <= 1 << 23 && sum > (1 << 23) - len as i64 - 4, "{len}: {sum}");
        }
    }
}
