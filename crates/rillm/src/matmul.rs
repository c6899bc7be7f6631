//! Multiplication of a quantised matrix by vectors.

use core::ops::Range;

use crate::fixed::round_shift;
use crate::format::{FormatError, TensorHeader};
use crate::kernels::{Dot, Rows};
use crate::stats::Stopwatch;
use crate::tape::Tape;
use crate::vector::BlockFloat16;

/// The parts of a quantised row. The value at `i` is `q[i] · scales[i / group] · 2^exponent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub q: &'a [i8],
    pub scales: &'a [u8],
    pub exponent: i32,
    pub group: usize,
}

impl<'a> Row<'a> {
    /// Splits the row at the start of `bytes` into its parts.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] if the tensor is not quantised to 8 bits.
    pub fn new(bytes: &'a [u8], tensor: &TensorHeader) -> Result<Self, FormatError> {
        let group = tensor.int8_group()?;
        let (q, rest) = bytes.split_at(tensor.cols as usize);
        let (scales, rest) = rest.split_at((tensor.cols as usize).div_ceil(group));
        Ok(Self { q: bytemuck::cast_slice(q), scales, exponent: i32::from(rest[0] as i8), group })
    }
}

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
    let group = tensor.int8_group()?;
    let (rows, cols, row_len) = (tensor.rows as usize, tensor.cols as usize, tensor.row_len());
    let mut spent = Spent::default();
    let mut first = 0;
    while first < rows {
        let block = tape.rows(row_len, rows - first).await?;
        for strip in block.chunks(STRIP * row_len) {
            let rows = Rows::new(strip, row_len, cols, group).ok_or(FormatError::Truncated)?;
            let mut sums = [0; STRIP];
            let sums = &mut sums[..rows.len()];
            for token in tokens.clone() {
                let start = watch.now();
                dot(&rows, x.get(token, cols), sums);
                let multiplied = watch.now();
                for (index, &sum) in sums.iter().enumerate() {
                    // Only damaged files have a row exponent above the tensor's; it then counts as the tensor's.
                    let exponent = rows.row(index)[cols + cols.div_ceil(group)] as i8;
                    let below = (i32::from(tensor.exponent) - i32::from(exponent)).max(0);
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
