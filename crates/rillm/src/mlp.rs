//! SiLU (Hendrycks and Gimpel 2016; Elfwing et al. 2018), the gate of SwiGLU (Shazeer 2020).

use crate::fixed::{LOG2_FRACTION, exp2_neg, mul_high, mul_high_signed, round_shift};
use crate::kernels::{Loops, with_wide_vectors};
use crate::vector::max_bits;

/// Replaces the gates `x = gate · 2^exponent`, within ±2^30, by `x · sigmoid(x)`, shifted to the left as far as they stay
/// below 2^30. Returns their exponent.
pub(crate) fn silu(gates: &mut [i32], exponent: i32) -> i32 {
    with_wide_vectors(Silu { gates, exponent })
}

/// Multiplies the gates, within ±2^30, by `ups`: `round(gate · up, 30)`.
pub(crate) fn multiply(gates: &mut [i32], ups: &[i32]) {
    with_wide_vectors(Product { gates, ups });
}

struct Silu<'a> {
    gates: &'a mut [i32],
    exponent: i32,
}

impl Loops for Silu<'_> {
    type Output = i32;

    #[inline(always)]
    fn run(self) -> i32 {
        let Self { gates, exponent } = self;
        let magnitude = Magnitude::new(exponent);
        for gate in gates.iter_mut() {
            let below_zero = magnitude.sigmoid_of_negative(gate.unsigned_abs());
            // x · sigmoid(x) is max(x, 0) - |x| · sigmoid(-|x|). Magnitudes are at most 2^30, doubled 2^31.
            *gate = (*gate).max(0) - mul_high(gate.unsigned_abs() << 1, below_zero) as i32;
        }
        let left = 30 - max_bits(gates).min(30);
        gates.iter_mut().for_each(|gate| *gate <<= left);
        exponent - left as i32
    }
}

struct Product<'a> {
    gates: &'a mut [i32],
    ups: &'a [i32],
}

impl Loops for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (gate, &up) in self.gates.iter_mut().zip(self.ups) {
            // Both factors lie within ±2^30.
            *gate = round_shift(i64::from(*gate) * i64::from(up), 30) as i32;
        }
    }
}

/// The shift that turns magnitudes of gates into fixed point with 27 fraction bits.
struct Magnitude {
    left: u32,
    right: u32,
    /// The largest magnitude below 16.
    largest: u32,
}

impl Magnitude {
    fn new(exponent: i32) -> Self {
        // From 2^31 on a magnitude is 16 or more, to the left by 31 any but 0.
        let left = exponent.saturating_add(27).clamp(0, 31) as u32;
        let right = exponent.saturating_add(27).saturating_neg().clamp(0, 31) as u32;
        Self { left, right, largest: i32::MAX as u32 >> left }
    }

    /// `sigmoid(-|x|)` with 31 fraction bits. Absolute error below 2^-21.
    #[inline(always)]
    fn sigmoid_of_negative(&self, magnitude: u32) -> u32 {
        // Beyond the table's end, as at its end.
        let x = if magnitude > self.largest { i32::MAX as u32 } else { magnitude << self.left >> self.right };
        let [c0, c1, c2, c3] = CUBICS[(x >> 25) as usize & (CUBICS.len() - 1)];
        // The place within the piece, 31 fraction bits.
        let place = (x << 6 & i32::MAX as u32) as i32;
        let sum = c1 + mul_high_signed(place, c2 + mul_high_signed(place, c3));
        (c0 + mul_high_signed(place, sum)) as u32
    }
}

/// `sigmoid(-x)` on 0..16, in pieces of a quarter: the coefficients of a cubic polynomial through four points of each, with
/// 31, 30, 29 and 28 fraction bits, since [`mul_high_signed`] with 31 fraction bits halves.
///
/// The last piece is zero, which is off by less than 2^-22. The others are positive and fall: the one before ends at 2^-22.7.
const CUBICS: [[i32; 4]; 64] = {
    let mut cubics = [[0; 4]; 64];
    let mut piece = 0;
    while piece + 1 < cubics.len() {
        cubics[piece] = cubic(3 * piece as i64);
        piece += 1;
    }
    cubics
};

/// The coefficients of the polynomial through `sigmoid(-k / 12)` for `k` from `first` to `first + 3`.
const fn cubic(first: i64) -> [i32; 4] {
    let [y0, y1, y2, y3] = [
        sigmoid_of_negative_twelfth(first),
        sigmoid_of_negative_twelfth(first + 1),
        sigmoid_of_negative_twelfth(first + 2),
        sigmoid_of_negative_twelfth(first + 3),
    ];
    // Newton's differences d, in thirds of the piece, s = 3f: y0 + d1 s + d2 s(s - 1) / 2 + d3 s(s - 1)(s - 2) / 6.
    let (d1, d2, d3) = (y1 - y0, y2 - 2 * y1 + y0, y3 - 3 * y2 + 3 * y1 - y0);
    // By powers of f: 3 d1 - 3/2 d2 + d3, 9/2 (d2 - d3), 9/2 d3; times 2, 4, 8.
    [y0 as i32, (6 * d1 - 3 * d2 + 2 * d3) as i32, (18 * (d2 - d3)) as i32, (36 * d3) as i32]
}

/// `sigmoid(-k / 12)` with 31 fraction bits: `e / (1 + e)`, where `e` is 2^(-k · log2(e) / 12).
const fn sigmoid_of_negative_twelfth(k: i64) -> i64 {
    /// log2(e) / 12 with 40 fraction bits.
    const LOG2_E_TWELFTH: i64 = 132_188_331_066;
    const CUT: i32 = 40 - LOG2_FRACTION;
    let e = exp2_neg(round_shift(k * LOG2_E_TWELFTH, CUT as u32) as u32) as i64;
    (e << 31) / ((1 << 32) + e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn silu_of(gate: i32, exponent: i32) -> f64 {
        let mut gates = [gate];
        let exponent = silu(&mut gates, exponent);
        f64::from(gates[0]) * 2f64.powi(exponent)
    }

    proptest! {
        #[test]
        fn silu_is_near_float64(gate in -(1i32 << 30)..=1 << 30, zeros in 0u32..30, exponent in -60i32..40) {
            let gate = gate >> zeros;
            let x = f64::from(gate) * 2f64.powi(exponent);
            let exact = x / (1.0 + (-x).exp());
            // 2^-21 of the sigmoid's error, and a unit of the rounding.
            let bound = x.abs() * 2f64.powi(-21) + 2f64.powi(exponent);
            let got = silu_of(gate, exponent);
            prop_assert!((got - exact).abs() <= bound, "{got} {exact}");
        }

        #[test]
        fn products_are_rounded(gate in -(1i32 << 30)..=1 << 30, up in -(1i32 << 30)..=1 << 30) {
            let mut gates = [gate; 9];
            multiply(&mut gates, &[up; 9]);
            let exact = (i128::from(gate) * i128::from(up) + (1 << 29)) >> 30;
            prop_assert!(gates.iter().all(|&product| i128::from(product) == exact));
        }
    }

    #[test]
    fn the_table_is_within_its_bound() {
        let magnitude = Magnitude::new(-27);
        for x in (0..i32::MAX as u32).step_by(10_007).chain(0..1000).chain((1 << 25) - 1000..(1 << 25) + 1000) {
            let exact = 1.0 / (1.0 + (f64::from(x) * 2f64.powi(-27)).exp());
            let got = f64::from(magnitude.sigmoid_of_negative(x)) * 2f64.powi(-31);
            assert!((got - exact).abs() < 2f64.powi(-21), "{x}: {got} {exact}");
        }
    }

    #[test]
    fn gates_beyond_the_table_are_kept_or_zero() {
        for exponent in [-26, 0, 3, 4, 5, 100, i32::MAX - 100] {
            let mut gates = [1 << 30, -(1 << 30), 0];
            silu(&mut gates, exponent);
            assert_eq!(gates, [1 << 30, 0, 0]);
        }
    }
}
