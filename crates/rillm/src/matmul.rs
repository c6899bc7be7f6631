//! Multiplication of a quantised matrix by vectors.

use core::ops::Range;

use crate::format::{FormatError, TensorHeader};
use crate::kernels::{Multiply, OutputScale, Rows, STRIP_ROWS, STRIP_SUMS};
use crate::stats::{Stage, Stopwatch};
use crate::tape::Tape;
use crate::vector::BlockFloat16;

/// A stopwatch, and the stages of a multiplication.
#[derive(Clone, Copy)]
pub(crate) struct MatmulWatch<'w> {
    pub watch: &'w Stopwatch,
    /// The stage of the products, their sums and the outputs.
    pub multiply: Stage,
    /// The stage of the caller's `emit`.
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
            // With the least arrays that are large enough: they are cleared for each strip.
            let sums = rows.len() * tokens.len().min(TOGETHER);
            if TOGETHER == 1 || tokens.len() == 1 {
                if sums <= FEW {
                    strip.multiply::<FEW>(watch, multiplier, &mut emit);
                } else {
                    strip.multiply::<STRIP_ROWS>(watch, multiplier, &mut emit);
                }
            } else if sums <= SOME {
                strip.multiply_batch::<SOME, SOME>(watch, multiplier, &mut emit);
            } else if sums <= STRIP_ROWS {
                strip.multiply_batch::<STRIP_ROWS, STRIP_ROWS>(watch, multiplier, &mut emit);
            } else {
                strip.multiply_batch::<STRIP_SUMS, STRIP_ROWS>(watch, multiplier, &mut emit);
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

/// Outputs or sums of a small strip, and of a larger one.
const FEW: usize = if STRIP_ROWS < 256 { STRIP_ROWS } else { 256 };
const SOME: usize = if STRIP_ROWS < 1024 { STRIP_ROWS } else { 1024 };

impl Strip<'_> {
    /// Multiplies a strip of at most `ROWS` rows by one vector after the other. Like [`multiply_batch`](Self::multiply_batch) not
    /// inlined into a future, whose variables are in memory.
    #[inline(never)]
    fn multiply<const ROWS: usize>(
        &self,
        MatmulWatch { watch, multiply, emit: emitting }: MatmulWatch<'_>,
        multiplier: &dyn Multiply,
        emit: &mut impl FnMut(usize, usize, &[i32]),
    ) {
        let mut outputs = [0; ROWS];
        let outputs = &mut outputs[..self.rows.len()];
        for token in self.tokens.clone() {
            let start = watch.now();
            multiplier.outputs(&self.rows, self.x.get(token, self.tensor.cols as usize), self.scale(token), outputs);
            let multiplied = watch.now();
            emit(token, self.first, outputs);
            watch.add(multiply, multiplied.wrapping_sub(start).into());
            watch.add(emitting, watch.since(multiplied));
        }
    }

    /// Multiplies a strip of at most `ROWS` rows by several vectors at the same time, `SUMS` sums or fewer.
    #[inline(never)]
    fn multiply_batch<const SUMS: usize, const ROWS: usize>(
        &self,
        MatmulWatch { watch, multiply, emit: emitting }: MatmulWatch<'_>,
        multiplier: &dyn Multiply,
        emit: &mut impl FnMut(usize, usize, &[i32]),
    ) {
        let (mut sums, mut outputs, mut exponents) = ([0; SUMS], [0; ROWS], [0; ROWS]);
        let len = self.rows.len();
        let (outputs, exponents) = (&mut outputs[..len], &mut exponents[..len]);
        for first in self.tokens.clone().step_by(TOGETHER) {
            let tokens = first..self.tokens.end.min(first + TOGETHER);
            let sums = &mut sums[..len * tokens.len()];
            let start = watch.now();
            multiplier.dot_batch(&self.rows, self.x.vectors(tokens.clone()), sums);
            let multiplied = watch.now();
            if first == self.tokens.start {
                // Not before the rows have been multiplied: the kernel fetches them in order.
                exponents.iter_mut().zip(self.rows.exponents()).for_each(|(to, exponent)| *to = exponent);
            }
            for (token, sums) in tokens.zip(sums.chunks_exact(len)) {
                self.scale(token).apply(sums, exponents, outputs);
                emit(token, self.first, outputs);
            }
            watch.add(multiply, multiplied.wrapping_sub(start).into());
            watch.add(emitting, watch.since(multiplied));
        }
    }

    /// The scale of a token's outputs.
    fn scale(&self, token: usize) -> OutputScale {
        OutputScale { largest: self.tensor.exponent.into(), excess: self.x.excess[token] }
    }
}

/// The exponent of the outputs of `tensor` for a token's vector.
pub(crate) fn output_exponent(x: &BlockFloat16<'_>, token: usize, tensor: &TensorHeader) -> i32 {
    x.exponents[token] + i32::from(tensor.exponent) + x.excess[token]
}
