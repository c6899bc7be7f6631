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
                for (index, &sum) in sums.iter().enumerate() {
                    // Only damaged files have a row exponent above the tensor's; it then counts as the tensor's.
                    let below = (i32::from(tensor.exponent) - rows.exponent(index)).max(0);
                    emit(token, first + index, round_shift(sum, (x.excess[token] + below) as u32) as i32);
                }
                spent.multiply += u64::from(multiplied.wrapping_sub(start));
                spent.emit += watch.since(multiplied);
            }
            first += sums.len();
        }
    }
    Ok(spent)
}

/// The exponent of the outputs of `tensor` for a token's vector.
pub(crate) fn output_exponent(x: &BlockFloat16<'_>, token: usize, tensor: &TensorHeader) -> i32 {
    x.exponents[token] + i32::from(tensor.exponent) + x.excess[token]
}
