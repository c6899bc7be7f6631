//! Outputs: the sums of rows, times the rows' powers of two, rounded to 32 bits.

use super::{Loops, Rows, STRIP_ROWS, with_wide_vectors};
use crate::COMPUTER;
use crate::fixed::round_shift;

/// Sums that are computed before they become outputs: few, which stay near the processor, as do their rows.
const SUMS: usize = if COMPUTER { 512 } else { STRIP_ROWS };

/// What makes a row's output of its sum: a shift to the right by `excess + largest − exponent` bits, where `exponent` is the row's.
#[derive(Clone, Copy, Debug)]
pub struct OutputScale {
    /// The exponent of the matrix: the largest one of its rows.
    pub largest: i32,
    /// The number of bits by which a sum may exceed 30, from 0 to 17. An output is within ±2^30.
    pub excess: i32,
}

/// Computes the outputs of rows, whose sums `dot` computes.
pub(crate) fn outputs(
    dot: impl Fn(&Rows<'_>, &[i16], &mut [i64]),
    rows: &Rows<'_>,
    x: &[i16],
    scale: OutputScale,
    outputs: &mut [i32],
) {
    let (mut sums, mut exponents, mut rest) = ([0; SUMS], [0; SUMS], *rows);
    for outputs in outputs[..rows.len()].chunks_mut(SUMS) {
        let (rows, others) = rest.split_at(SUMS);
        let sums = &mut sums[..outputs.len()];
        dot(&rows, x, sums);
        if COMPUTER {
            exponents.iter_mut().zip(rows.exponents()).for_each(|(to, exponent)| *to = exponent);
            scale.apply(sums, &exponents, outputs);
        } else {
            for ((output, &sum), exponent) in outputs.iter_mut().zip(&*sums).zip(rows.exponents()) {
                *output = narrowed(sum, scale.shift(exponent));
            }
        }
        rest = others;
    }
}

impl OutputScale {
    /// Computes the outputs of rows with these sums and exponents.
    pub(crate) fn apply(self, sums: &[i64], exponents: &[i8], outputs: &mut [i32]) {
        with_wide_vectors(Shifts { sums, exponents, scale: self, outputs });
    }

    /// The shift of a row with this exponent. Only damaged files have a row exponent above the matrix's; it then counts as
    /// the matrix's.
    #[inline(always)]
    fn shift(self, exponent: i8) -> u32 {
        (self.excess + (self.largest - i32::from(exponent)).max(0)) as u32
    }
}

/// The shifts of sums.
struct Shifts<'a> {
    sums: &'a [i64],
    exponents: &'a [i8],
    scale: OutputScale,
    outputs: &'a mut [i32],
}

impl Loops for Shifts<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((output, &sum), &exponent) in self.outputs.iter_mut().zip(self.sums).zip(self.exponents) {
            // Twice the output, rounded down, as in `narrowed`. A sum is within ±2^47.
            let twice = ((sum << 1) >> self.scale.shift(exponent).min(63)) as i32;
            *output = (twice >> 1) + (twice & 1);
        }
    }
}

/// `round_shift(sum, shift)` of a sum within ±2^(30 + shift), exclusively. Where possible in 32 bits, because a
/// microcontroller takes long to shift a 64-bit number by any distance.
fn narrowed(sum: i64, shift: u32) -> i32 {
    if shift == 0 || shift > 32 {
        return round_shift(sum, shift) as i32;
    }
    // The sum without all but one of the bits to round off, within ±2^31: half of it, rounded up.
    let (upper, lower, right) = ((sum >> 32) as u32, sum as u32, shift - 1);
    let twice = (upper << 1 << (31 - right) | lower >> right) as i32;
    (twice >> 1) + (twice & 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The output by both ways to compute it.
    fn both(sum: i64, shift: u32) -> [i64; 2] {
        let scale = OutputScale { largest: 100, excess: shift as i32 - 150 };
        let mut outputs = [0; 16];
        Shifts { sums: &[sum; 16], exponents: &[-50; 16], scale, outputs: &mut outputs }.run();
        assert!(outputs.iter().all(|&output| output == outputs[0]));
        [narrowed(sum, shift).into(), outputs[0].into()]
    }

    proptest! {
        #[test]
        fn narrowed_sums_are_rounded(sum in -(1i64 << 47)..1 << 47, right in 0u32..18, more in 0u32..64) {
            // The excess leaves less than 2^30, at its least shift; rows with lower exponents are shifted further.
            let sum = sum >> right;
            let excess = (64 - sum.unsigned_abs().leading_zeros()).saturating_sub(30);
            for shift in [excess, excess + more] {
                prop_assert_eq!(both(sum, shift), [round_shift(sum, shift); 2]);
            }
        }
    }

    #[test]
    fn narrowed_sums_reach_the_limits() {
        for shift in [0, 1, 2, 17, 31, 32] {
            for sum in [(1i64 << (30 + shift)) - 1, 1 - (1 << (30 + shift)), (1 << shift) - 1, 1 << shift >> 1, 0, -1] {
                assert_eq!(both(sum, shift), [round_shift(sum, shift); 2], "{sum} >> {shift}");
            }
        }
    }
}
