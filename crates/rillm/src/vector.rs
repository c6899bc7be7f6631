//! Block floating point: vectors of integer mantissas with one exponent. A value is `mantissa · 2^exponent`.
//!
//! The residual stream and the outputs of a matrix are 32-bit (`|mantissa|` at most 2^30), the inputs of a matrix
//! 16-bit.

use core::ops::Range;

use crate::COMPUTER;
use crate::kernels::{Loops, Vectors, with_wide_vectors};

/// The 16-bit vectors of a batch: the input of the next matrix.
pub(crate) struct BlockFloat16<'a> {
    pub mantissas: &'a mut [i16],
    pub stride: usize,
    pub exponents: &'a mut [i32],
    /// Maximum number of bits by which an accumulator over the vector exceeds 30: see [`BlockFloat16::set`].
    pub excess: &'a mut [i32],
}

impl BlockFloat16<'_> {
    /// The first `len` mantissas of a token.
    pub fn get(&self, token: usize, len: usize) -> &[i16] {
        &self.mantissas[token * self.stride..][..len]
    }

    /// The vectors of some tokens.
    pub fn vectors(&self, tokens: Range<usize>) -> Vectors<'_> {
        Vectors::new(self.mantissas, self.stride, self.exponents.len()).range(tokens)
    }

    /// The mantissas of a token, to be written.
    pub fn get_mut(&mut self, token: usize) -> &mut [i16] {
        &mut self.mantissas[token * self.stride..][..self.stride]
    }

    /// Sets a token's vector to `values · 2^exponent`, rounded to 16 bits.
    pub fn set(&mut self, token: usize, values: &[i32], exponent: i32) {
        let out = &mut self.get_mut(token)[..values.len()];
        let narrowed = with_wide_vectors(RoundTo16 { values, out });
        self.describe(token, narrowed, exponent);
    }

    /// Takes note that a token's vector was set to values of this exponent, rounded to 16 bits.
    pub fn describe(&mut self, token: usize, narrowed: Narrowed, exponent: i32) {
        self.exponents[token] = exponent + narrowed.right;
        self.excess[token] = excess(narrowed.magnitudes);
    }
}

/// Rounds `values · 2^exponent` to 16-bit mantissas, the largest of which has 15 bits. Returns their exponent.
pub(crate) fn to_i16(values: &[i32], exponent: i32, out: &mut [i16]) -> i32 {
    exponent + with_wide_vectors(RoundTo16 { values, out }).right
}

/// Rounds `values` to 16 bits.
struct RoundTo16<'a> {
    values: &'a [i32],
    out: &'a mut [i16],
}

/// The properties of a vector that was rounded to 16 bits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Narrowed {
    /// The number of bits that were rounded off, negative if zeros were added.
    pub right: i32,
    /// Σ |x| of the 16-bit mantissas: at most 2^17 of 15 bits.
    pub magnitudes: u32,
}

impl Loops for RoundTo16<'_> {
    type Output = Narrowed;

    #[inline(always)]
    fn run(self) -> Narrowed {
        let Self { values, out } = self;
        let largest = largest_magnitude(values, |value| value);
        let right = 32 - largest.leading_zeros() as i32 - 15;
        if right > 0 {
            return round_to_i16(values, |value| value, largest, right, out);
        }
        let mut magnitudes = 0;
        for_each(values, out, |value, out| {
            *out = (value << -right) as i16;
            magnitudes += u32::from(out.unsigned_abs());
        });
        Narrowed { right, magnitudes }
    }
}

/// Rounds `value(x)` of all `values` to 16 bits. Their magnitudes are at most `largest`, which has `right + 15` bits and is at
/// most 127 · 2^24. `right` is 1 to 16.
#[inline(always)]
pub(crate) fn round_to_i16(
    values: &[i32],
    value: impl Fn(i32) -> i32,
    largest: u32,
    right: i32,
    out: &mut [i16],
) -> Narrowed {
    let half = 1 << (right - 1);
    let mut magnitudes = 0;
    for_each(values, out, |x, out| {
        // Below 2^31, and within ±2^15 after the shift.
        let rounded = (value(x) + half) >> right;
        *out = rounded as i16;
        magnitudes += rounded.unsigned_abs();
    });
    if (largest + half as u32) >> right > 32767 {
        // Where rounding reached ±2^15, there is −2^15 now.
        for (out, &x) in out.iter_mut().zip(values).filter(|(out, _)| **out == i16::MIN) {
            *out = if value(x) < 0 { -32767 } else { 32767 };
            magnitudes -= 1;
        }
    }
    Narrowed { right, magnitudes }
}

/// The bit length of the largest magnitude in `values`: every value lies strictly between ±2^bits. 0 if all values are
/// zero.
#[inline(always)]
pub(crate) fn max_bits(values: &[i32]) -> u32 {
    32 - largest_magnitude(values, |value| value).leading_zeros()
}

/// The largest magnitude of `value(x)` of all `values`.
#[inline(always)]
pub(crate) fn largest_magnitude<T: Copy>(values: &[T], value: impl Fn(T) -> i32) -> u32 {
    // Of the smallest and the largest value: a comparison that changes nothing takes one instruction, a magnitude three.
    let wider = |(smallest, largest): (i32, i32), &x: &T| (value(x).min(smallest), value(x).max(largest));
    let (blocks, rest) = values.as_chunks::<UNROLLED>();
    let range = blocks.iter().fold((0, 0), |range, block| block.iter().fold(range, wider));
    let (smallest, largest) = rest.iter().fold(range, wider);
    smallest.unsigned_abs().max(largest.unsigned_abs())
}

/// Calls `f` with each value and its output.
#[inline(always)]
pub(crate) fn for_each<T: Copy, O>(values: &[T], out: &mut [O], mut f: impl FnMut(T, &mut O)) {
    let (value_blocks, values) = values.as_chunks::<UNROLLED>();
    let (out_blocks, out) = out.as_chunks_mut::<UNROLLED>();
    for (values, out) in value_blocks.iter().zip(out_blocks) {
        for (&value, out) in values.iter().zip(out) {
            f(value, out);
        }
    }
    for (&value, out) in values.iter().zip(out) {
        f(value, out);
    }
}

/// Elements for each turn of a loop. For a microcontroller, compilers unroll no loops of unknown length; others
/// do, after they vectorise.
const UNROLLED: usize = if COMPUTER { 1 } else { 4 };

/// The number of bits by which an accumulator of `Σ q · s · x` may exceed 30, for weights `q` with scales `s` of
/// magnitude below 256, from `Σ |x|`.
///
/// |q · s| ≤ 127 · 255 < 2^15, and Σ |x| < 2^b for its bit length b, so the accumulator lies within ±2^(15 + b). With
/// at most 2^17 elements of 15 bits, b ≤ 32: the accumulator fits 48 bits.
fn excess(magnitudes: u32) -> i32 {
    (32 - magnitudes.leading_zeros()).saturating_sub(15) as i32
}

/// The 32-bit vectors of a batch.
pub(crate) struct BlockFloat32<'a> {
    pub mantissas: &'a mut [i32],
    pub stride: usize,
    pub exponents: &'a mut [i32],
}

impl BlockFloat32<'_> {
    /// The first `len` mantissas of a token, and its exponent.
    pub fn get(&self, token: usize, len: usize) -> (&[i32], i32) {
        (&self.mantissas[token * self.stride..][..len], self.exponents[token])
    }

    /// The first `len` mantissas of a token, mutable.
    pub fn get_mut(&mut self, token: usize, len: usize) -> &mut [i32] {
        &mut self.mantissas[token * self.stride..][..len]
    }

    /// Adds `value(x) · 2^exponent` of all `values` to a token's vector: the residual connection, or a bias.
    ///
    /// The sum's exponent is the smallest with which no sum can reach 2^30; shifts to the right round.
    pub fn add<T: Copy>(&mut self, token: usize, values: &[T], value: impl Fn(T) -> i32, exponent: i32) {
        let own_exponent = self.exponents[token];
        let own = self.get_mut(token, values.len());
        self.exponents[token] = with_wide_vectors(Sum { own, own_exponent, values, value, exponent });
    }
}

/// Adds `value(x) · 2^exponent` of all `values` to `own · 2^own_exponent`.
struct Sum<'a, T, F> {
    own: &'a mut [i32],
    own_exponent: i32,
    values: &'a [T],
    value: F,
    exponent: i32,
}

impl<T: Copy, F: Fn(T) -> i32> Loops for Sum<'_, T, F> {
    /// The exponent of the sum.
    type Output = i32;

    #[inline(always)]
    fn run(self) -> i32 {
        let Self { own, own_exponent, values, value, exponent } = self;
        let own_bits = max_bits(own) as i32;
        let bits = 32 - largest_magnitude(values, &value).leading_zeros() as i32;
        if bits == 0 {
            return own_exponent;
        }
        // Every value is below 2^top, a sum below 2^(top + 1); 28 bits and the sum's carry and rounding make 30.
        let top = if own_bits == 0 { exponent + bits } else { (own_exponent + own_bits).max(exponent + bits) };
        let sum_exponent = top - 28;
        let (own_shift, shift) = (Shift::new(sum_exponent - own_exponent), Shift::new(sum_exponent - exponent));
        for_each(values, own, |x, own| *own = own_shift.apply(*own) + shift.apply(value(x)));
        sum_exponent
    }
}

/// A shift to the right, with rounding as by [`round_shift`](crate::fixed::round_shift), or to the left.
#[derive(Clone, Copy)]
struct Shift {
    left: u32,
    right: u32,
    /// The half that rounding adds before the last bit is shifted off: 1, or 0 without a shift to the right.
    last: i32,
}

impl Shift {
    fn new(right: i32) -> Self {
        // Beyond 32 bits nothing is left; a zero vector may have any exponent.
        Self {
            left: right.saturating_neg().clamp(0, 31) as u32,
            right: (right - 1).clamp(0, 31) as u32,
            last: (right > 0).into(),
        }
    }

    /// The caller guarantees that the result fits 30 bits.
    #[inline(always)]
    fn apply(self, value: i32) -> i32 {
        ((value << self.left >> self.right) + self.last) >> self.last
    }
}

/// A mantissa of a vector on the tape, limited to 24 bits and a sign, so that a damaged file cannot overflow a product.
#[inline(always)]
pub(crate) fn fixed32(bytes: [u8; 4]) -> i32 {
    (i32::from_le_bytes(bytes) << 7) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn narrow_keeps_15_bits(values in prop::collection::vec(-(1i32 << 30)..1 << 30, 1..40), zeros in 0u32..30) {
            let values: Vec<i32> = values.iter().map(|v| v >> zeros).collect();
            let mut mantissas = std::vec![0i16; values.len()];
            let mut narrow = BlockFloat16 {
                mantissas: &mut mantissas, stride: values.len(), exponents: &mut [0], excess: &mut [0],
            };
            narrow.set(0, &values, 7);
            let step = 2f64.powi(narrow.exponents[0]);
            for (&value, &mantissa) in values.iter().zip(narrow.get(0, values.len())) {
                let error = f64::from(mantissa) * step - f64::from(value) * 128.0;
                // Half a step, or a whole one where rounding would have reached 2^15.
                let bound = if mantissa.abs() == 32767 { step } else { step / 2.0 };
                prop_assert!(error.abs() <= bound);
            }
            prop_assert!(max_bits(&values) == 0 || narrow.mantissas.iter().any(|m| m.unsigned_abs() >= 1 << 14));
        }

        #[test]
        fn add_is_near_the_exact_sum(
            a in prop::collection::vec(-(1i32 << 30) + 1..1 << 30, 8), a_exponent in -40i32..10, a_zeros in 0u32..31,
            b in prop::collection::vec(-(1i32 << 30) + 1..1 << 30, 8), b_exponent in -40i32..10, b_zeros in 0u32..31,
        ) {
            let mut a: Vec<i32> = a.iter().map(|v| v >> a_zeros).collect();
            let b: Vec<i32> = b.iter().map(|v| v >> b_zeros).collect();
            let exact: Vec<f64> = a.iter().zip(&b)
                .map(|(&a, &b)| f64::from(a) * 2f64.powi(a_exponent) + f64::from(b) * 2f64.powi(b_exponent))
                .collect();
            let mut wide = BlockFloat32 { mantissas: &mut a, stride: 8, exponents: &mut [a_exponent] };
            wide.add(0, &b, |b| b, b_exponent);
            let step = 2f64.powi(wide.exponents[0]);
            let largest = exact.iter().fold(0f64, |m, v| m.max(v.abs()));
            for (&mantissa, exact) in wide.mantissas.iter().zip(&exact) {
                prop_assert!(mantissa.unsigned_abs() < 1 << 30);
                prop_assert!((f64::from(mantissa) * step - exact).abs() <= step, "{mantissa} {exact} {largest}");
            }
        }
    }

    #[test]
    fn zero_vectors_take_any_exponent() {
        let mut zeros = [0i32; 3];
        let mut wide = BlockFloat32 { mantissas: &mut zeros, stride: 3, exponents: &mut [1000] };
        wide.add(0, &[1, -2, 3], |x| x, -1000);
        assert_eq!(wide.get(0, 3).0.iter().map(|&m| i64::from(m)).sum::<i64>(), 2 << 26);
        wide.add(0, &[0; 3], |x| x, 5000);
        assert_eq!(wide.exponents[0], -1000 + 2 - 28);
    }
}
