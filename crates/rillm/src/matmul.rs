//! Multiplication of a quantised matrix by vectors.

use core::ops::Range;

use crate::fixed::round_shift;
use crate::format::{FormatError, TensorHeader};
use crate::kernels::{Loops, Multiply, Rows, STRIP_ROWS, STRIP_SUMS, with_wide_vectors};
use crate::stats::{Stage, Stopwatch};
use crate::tape::Tape;
use crate::vector::BlockFloat16;

/// A stopwatch, and the stages of a multiplication.
#[derive(Clone, Copy)]
pub(crate) struct MatmulWatch<'w> {
    pub watch: &'w Stopwatch,
    /// The stage of the products and their sums.
    pub multiply: Stage,
    /// The stage of the outputs and the caller's `emit`.
    pub emit: Stage,
}

/// The most vectors that a strip is multiplied by in one call.
const TOGETHER: usize = if STRIP_SUMS > STRIP_ROWS { 32 } else { 1 };

/// Multiplies the next tensor on the tape by the vectors `tokens` of `x`, in one pass for all of them.
///
/// `emit(token, first, values)` receives the outputs of the rows from `first` on, in ascending order of rows. An output is its
/// value times `2^output_exponent(x, token, tensor)`; values lie within ±2^30.
pub(crate) async fn matmul(
    tape: &mut Tape<'_, '_>,
    watch: MatmulWatch<'_>,
    multiplier: &dyn Multiply,
    tensor: &TensorHeader,
    x: &BlockFloat16<'_>,
    tokens: Range<usize>,
    mut emit: impl FnMut(usize, usize, &[i32]),
) -> Result<(), FormatError> {
    tensor.expect_matrix()?;
    let (rows, cols, row_len) = (tensor.rows as usize, tensor.cols as usize, tensor.row_len());
    let strip_rows = (STRIP_SUMS / tokens.len().clamp(1, TOGETHER)).min(STRIP_ROWS);
    let mut first = 0;
    while first < rows {
        let block = tape.rows(row_len, rows - first).await?;
        for strip in block.chunks(strip_rows * row_len) {
            let rows = Rows::new(strip, tensor.quantisation, cols).ok_or(FormatError::Truncated)?;
            let strip = Strip { rows, first, tensor, x, tokens: tokens.clone() };
            let sums = rows.len() * tokens.len().min(TOGETHER);
            if sums <= FEW_SUMS {
                strip.multiply::<FEW_SUMS, FEW_SUMS>(watch, multiplier, &mut emit);
            } else if sums <= SOME_SUMS {
                strip.multiply::<SOME_SUMS, SOME_SUMS>(watch, multiplier, &mut emit);
            } else if sums <= STRIP_ROWS {
                strip.multiply::<STRIP_ROWS, STRIP_ROWS>(watch, multiplier, &mut emit);
            } else {
                strip.multiply::<STRIP_SUMS, STRIP_ROWS>(watch, multiplier, &mut emit);
            }
            first += rows.len();
        }
    }
    Ok(())
}

/// Rows of a tensor that are multiplied by the vectors of a batch.
struct Strip<'a> {
    rows: Rows<'a>,
    /// The number of the first row.
    first: usize,
    tensor: &'a TensorHeader,
    x: &'a BlockFloat16<'a>,
    tokens: Range<usize>,
}

/// Sums of a strip that take little memory, which is cleared for each strip; and some more.
const FEW_SUMS: usize = if STRIP_SUMS < 256 { STRIP_SUMS } else { 256 };
const SOME_SUMS: usize = if STRIP_SUMS < 1024 { STRIP_SUMS } else { 1024 };

impl Strip<'_> {
    /// Multiplies a strip of at most `SUMS` sums and `ROWS` rows. See [`matmul`]. Not inlined into a future, whose variables are in
    /// memory.
    #[inline(never)]
    fn multiply<const SUMS: usize, const ROWS: usize>(
        &self,
        MatmulWatch { watch, multiply, emit: emitting }: MatmulWatch<'_>,
        multiplier: &dyn Multiply,
        emit: &mut impl FnMut(usize, usize, &[i32]),
    ) {
        let (mut sums, mut values, mut exponents) = ([0; SUMS], [0; ROWS], [0; ROWS]);
        let len = self.rows.len();
        let (values, exponents) = (&mut values[..len], &mut exponents[..len]);
        for first in self.tokens.clone().step_by(TOGETHER) {
            let tokens = first..self.tokens.end.min(first + TOGETHER);
            let sums = &mut sums[..len * tokens.len()];
            let start = watch.now();
            if tokens.len() == 1 {
                multiplier.dot(&self.rows, self.x.get(first, self.tensor.cols as usize), sums);
            } else {
                multiplier.dot_batch(&self.rows, self.x.vectors(tokens.clone()), sums);
            }
            let multiplied = watch.now();
            if first == self.tokens.start {
                // Not before the rows have been multiplied: the kernel fetches them in order.
                let rows = self.rows.as_bytes().chunks_exact(self.tensor.row_len());
                let exponent_at = self.rows.exponent_at();
                for (exponent, row) in exponents.iter_mut().zip(rows) {
                    *exponent = row[exponent_at] as i8;
                }
            }
            for (token, sums) in tokens.zip(sums.chunks_exact(len)) {
                let scale = RowScale { largest: self.tensor.exponent.into(), excess: self.x.excess[token] };
                outputs(sums, exponents, scale, values);
                emit(token, self.first, values);
            }
            watch.add(multiply, multiplied.wrapping_sub(start).into());
            watch.add(emitting, watch.since(multiplied));
        }
    }
}

/// The scale that turns sums of rows into outputs.
#[derive(Clone, Copy)]
struct RowScale {
    /// The tensor's exponent, the largest one of its rows.
    largest: i32,
    /// The vector's excess bits.
    excess: i32,
}

/// Computes the outputs of rows with these sums and exponents.
fn outputs(sums: &[i64], exponents: &[i8], scale: RowScale, values: &mut [i32]) {
    if cfg!(target_pointer_width = "64") {
        return with_wide_vectors(StripOutputs { sums, exponents, scale, values });
    }
    for ((value, &sum), &exponent) in values.iter_mut().zip(sums).zip(exponents) {
        *value = narrowed(sum, scale.shift(exponent));
    }
}

impl RowScale {
    /// The shift of a row with this exponent. Only damaged files have a row exponent above the tensor's; it then counts as
    /// the tensor's.
    #[inline(always)]
    fn shift(self, exponent: i8) -> u32 {
        (self.excess + (self.largest - i32::from(exponent)).max(0)) as u32
    }
}

/// The outputs of a strip, all at once.
struct StripOutputs<'a> {
    sums: &'a [i64],
    exponents: &'a [i8],
    scale: RowScale,
    values: &'a mut [i32],
}

impl Loops for StripOutputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((value, &sum), &exponent) in self.values.iter_mut().zip(self.sums).zip(self.exponents) {
            // Twice the output, rounded down, as in `narrowed`. A sum is within ±2^47.
            let twice = ((sum << 1) >> self.scale.shift(exponent).min(63)) as i32;
            *value = (twice >> 1) + (twice & 1);
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

/// The exponent of the outputs of `tensor` for a token's vector.
pub(crate) fn output_exponent(x: &BlockFloat16<'_>, token: usize, tensor: &TensorHeader) -> i32 {
    x.exponents[token] + i32::from(tensor.exponent) + x.excess[token]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The output by both ways to compute it.
    fn both(sum: i64, shift: u32) -> [i64; 2] {
        let scale = RowScale { largest: 100, excess: shift as i32 - 150 };
        let mut values = [0; 16];
        StripOutputs { sums: &[sum; 16], exponents: &[-50; 16], scale, values: &mut values }.run();
        assert!(values.iter().all(|&value| value == values[0]));
        [narrowed(sum, shift).into(), values[0].into()]
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
