//! Multiplication of a quantised matrix by vectors.

use core::ops::Range;

use crate::fixed::round_shift;
use crate::format::{FormatError, TensorHeader};
use crate::kernels::{Dot, Rows};
use crate::stats::Stopwatch;
use crate::tape::Tape;
use crate::vector::BlockFloat16;

/// Rows that are multiplied by one vector before the next vector.
const STRIP: usize = 16;

/// Ticks of a multiplication, by part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Ticks of the products and their sums.
    pub multiply: u64,
    /// Ticks of the caller's `emit`.
    pub emit: u64,
}

/// Multiplies the next tensor on the tape by the vectors `tokens` of `x`, in one pass for all of them.
///
/// `emit(token, row, value)` receives every output, in ascending order of rows. The output is `value` times
/// `2^output_exponent(x, token, tensor)`; `value` lies within ±2^30.
pub(crate) async fn matmul(
    tape: &mut Tape<'_, '_>,
    watch: &Stopwatch,
    dot: Dot,
    tensor: &TensorHeader,
    x: &BlockFloat16<'_>,
    tokens: Range<usize>,
    mut emit: impl FnMut(usize, usize, i32),
) -> Result<Spent, FormatError> {
    tensor.expect_matrix()?;
    let (rows, cols, row_len) = (tensor.rows as usize, tensor.cols as usize, tensor.row_len());
    let mut spent = Spent::default();
    let mut first = 0;
    while first < rows {
        let block = tape.rows(row_len, rows - first).await?;
        for strip in block.chunks(STRIP * row_len) {
            let rows = Rows::new(strip, tensor.quantisation, cols).ok_or(FormatError::Truncated)?;
            let mut sums = [0; STRIP];
            let sums = &mut sums[..rows.len()];
            for token in tokens.clone() {
                let start = watch.now();
                dot(&rows, x.get(token, cols), sums);
                let multiplied = watch.now();
                let scale = RowScale {
                    exponent_at: rows.exponent_at(),
                    largest: tensor.exponent.into(),
                    excess: x.excess[token],
                };
                outputs(strip, row_len, sums, scale, |index, value| emit(token, first + index, value));
                spent.multiply += u64::from(multiplied.wrapping_sub(start));
                spent.emit += watch.since(multiplied);
            }
            first += sums.len();
        }
    }
    Ok(spent)
}

/// What turns sums of rows into outputs.
#[derive(Clone, Copy)]
struct RowScale {
    /// Where in a row its exponent is.
    exponent_at: usize,
    /// The tensor's exponent, the largest one of its rows.
    largest: i32,
    /// The vector's excess bits.
    excess: i32,
}

/// Emits the outputs of a strip of rows with these sums. Not inlined into a future, whose variables are in memory.
#[inline(never)]
fn outputs(strip: &[u8], row_len: usize, sums: &[i64], scale: RowScale, mut emit: impl FnMut(usize, i32)) {
    for (index, (row, &sum)) in strip.chunks_exact(row_len).zip(sums).enumerate() {
        // Only damaged files have a row exponent above the tensor's; it then counts as the tensor's.
        let below = (scale.largest - i32::from(row[scale.exponent_at] as i8)).max(0);
        emit(index, narrowed(sum, (scale.excess + below) as u32));
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

    proptest! {
        #[test]
        fn narrowed_sums_are_rounded(sum in -(1i64 << 47)..1 << 47, right in 0u32..18, more in 0u32..64) {
            // The excess leaves less than 2^30, at its least shift; rows with lower exponents are shifted further.
            let sum = sum >> right;
            let excess = (64 - sum.unsigned_abs().leading_zeros()).saturating_sub(30);
            for shift in [excess, excess + more] {
                prop_assert_eq!(i64::from(narrowed(sum, shift)), round_shift(sum, shift));
            }
        }
    }

    #[test]
    fn narrowed_sums_reach_the_limits() {
        for shift in [0, 1, 2, 17, 31, 32] {
            for sum in [(1i64 << (30 + shift)) - 1, 1 - (1 << (30 + shift)), (1 << shift) - 1, 1 << shift >> 1, 0, -1] {
                assert_eq!(i64::from(narrowed(sum, shift)), round_shift(sum, shift), "{sum} >> {shift}");
            }
        }
    }
}
