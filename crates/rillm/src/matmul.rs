//! Quantised matrix times vectors: where a token's time goes.

use core::ops::Range;

use crate::clock::Stopwatch;
use crate::fixed::round_shift;
use crate::format::{FormatError, Quantisation, TensorHeader};
use crate::tape::Tape;
use crate::vector::Narrow;

/// A quantised row, taken apart. Its value at `i` is `q[i] · scales[i / group] · 2^exponent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub q: &'a [i8],
    pub scales: &'a [u8],
    pub exponent: i32,
    pub group: usize,
}

impl<'a> Row<'a> {
    /// Takes the row at the start of `bytes` apart, `None` if the tensor's rows are no such rows.
    pub fn new(bytes: &'a [u8], tensor: &TensorHeader) -> Option<Self> {
        let Quantisation::Int8 { group } = tensor.quantisation else {
            return None;
        };
        let (q, rest) = bytes.split_at(tensor.cols as usize);
        let (scales, rest) = rest.split_at(tensor.cols.div_ceil(group) as usize);
        Some(Self { q: bytemuck::cast_slice(q), scales, exponent: i32::from(rest[0] as i8), group: group as usize })
    }
}

/// Rows of one tensor, one after the other.
#[derive(Clone, Copy)]
struct Rows<'a> {
    bytes: &'a [u8],
    row_len: usize,
    cols: usize,
    group: usize,
}

impl Rows<'_> {
    /// `sums[row] = Σ q · s · x`, exactly.
    ///
    /// A group's sum fits 32 bits: at most 512 products of at most 127 · 32,767. The row's fits 48 bits: see
    /// [`excess`](crate::vector::excess). Both are exact, so that no order of summation changes a bit.
    fn dot(&self, x: &[i16], sums: &mut [i64]) {
        for (row, sum) in self.bytes.chunks_exact(self.row_len).zip(sums) {
            let (q, scales) = row.split_at(self.cols);
            let groups = bytemuck::cast_slice(q).chunks(self.group).zip(x.chunks(self.group)).zip(scales);
            *sum = groups.map(|((q, x), &scale)| i64::from(dot(q, x)) * i64::from(scale)).sum();
        }
    }

    /// The exponent of a row.
    fn exponent(&self, row: usize) -> i32 {
        i32::from(self.bytes[row * self.row_len + self.cols + self.cols.div_ceil(self.group)] as i8)
    }
}

/// `Σ w · x` of at most 512 elements, `x` not −32,768: 512 · 128 · 32,767 is below 2^31.
pub(crate) fn dot(w: &[i8], x: &[i16]) -> i32 {
    // Blocks of a fixed length: the compiler unrolls them, and vectorises them where it can.
    let (w_blocks, w_rest) = w.as_chunks::<BLOCK>();
    let (x_blocks, x_rest) = x.as_chunks::<BLOCK>();
    let mut sum = 0;
    for (w, x) in w_blocks.iter().zip(x_blocks) {
        sum += (0..BLOCK).map(|i| i32::from(w[i]) * i32::from(x[i])).sum::<i32>();
    }
    sum + w_rest.iter().zip(x_rest).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum::<i32>()
}

/// Elements that are multiplied side by side; a divisor of every group size.
const BLOCK: usize = 16;

/// Multiplies the tensor that comes next on the tape with the vectors `tokens` of `x`, one pass for all of them.
///
/// `emit(token, row, value)` receives every output, rows ascending. Output `value` stands for
/// `value · 2^output_exponent(x, token, tensor)`, and lies within ±2^30.
pub(crate) async fn matmul(
    tape: &mut Tape<'_, '_>,
    watch: &Stopwatch,
    tensor: &TensorHeader,
    x: &Narrow<'_>,
    tokens: Range<usize>,
    mut emit: impl FnMut(usize, usize, i32),
) -> Result<Spent, FormatError> {
    let Quantisation::Int8 { group } = tensor.quantisation else {
        return Err(FormatError::Truncated);
    };
    let (rows, cols, row_len) = (tensor.rows as usize, tensor.cols as usize, tensor.row_len());
    let mut spent = Spent::default();
    let mut first = 0;
    while first < rows {
        let block = tape.rows(row_len, rows - first).await?;
        for strip in block.chunks(STRIP * row_len) {
            let rows = Rows { bytes: strip, row_len, cols, group: group as usize };
            let mut sums = [0; STRIP];
            let sums = &mut sums[..strip.len() / row_len];
            for token in tokens.clone() {
                let start = watch.now();
                rows.dot(x.get(token, cols), sums);
                let multiplied = watch.now();
                for (index, &sum) in sums.iter().enumerate() {
                    // A row's exponent above the tensor's occurs in damaged files only; it then counts as the tensor's.
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

/// Ticks of a multiplication.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// On the products and their sums.
    pub multiply: u64,
    /// On what the caller did with the outputs.
    pub emit: u64,
}

/// Rows that are multiplied with one vector before the next one's turn.
const STRIP: usize = 16;

/// The exponent of the outputs of `tensor` times a token's vector.
pub(crate) fn output_exponent(x: &Narrow<'_>, token: usize, tensor: &TensorHeader) -> i32 {
    x.exponents[token] + i32::from(tensor.exponent) + x.excess[token]
}
