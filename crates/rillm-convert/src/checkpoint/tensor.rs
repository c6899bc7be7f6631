//! The location of a tensor in a file, and its conversion to float32.

use std::fmt;
use std::ops::Range;

use super::{READABLE, WeightFile, blocks};

/// The type of a checkpoint's numbers, all little-endian. Types with `Q` are ggml's: blocks of 32 or 256 numbers with
/// common scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dtype {
    /// float32 (IEEE single precision).
    F32,
    /// float64, rounded to float32 when it is read.
    F64,
    /// float16 (IEEE half precision).
    F16,
    /// bfloat16: the upper half of a float32.
    Bf16,
    /// int8; a number is the byte times the tensor's scale, in single precision.
    I8 {
        /// The scale.
        scale: f32,
    },
    /// 32 numbers of 4 bits and a scale.
    Q4_0,
    /// 32 numbers of 4 bits, a scale and a least value.
    Q4_1,
    /// 32 numbers of 5 bits and a scale.
    Q5_0,
    /// 32 numbers of 5 bits, a scale and a least value.
    Q5_1,
    /// 32 numbers of 8 bits and a scale.
    Q8_0,
    /// 256 numbers of 4 bits; each 32 have a scale and a least value.
    Q4K,
    /// 256 numbers of 5 bits; each 32 have a scale and a least value.
    Q5K,
    /// 256 numbers of 6 bits; each 16 have a scale.
    Q6K,
}

impl Dtype {
    /// The numbers and the bytes of a block. A row is a whole number of blocks.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F64 => (1, 8),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::I8 { .. } => (1, 1),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of a row of `cols` numbers.
    fn row_len(self, cols: usize) -> usize {
        let (numbers, bytes) = self.block();
        cols / numbers * bytes
    }

    /// Converts `bytes` to float32. `bytes` holds as many numbers as `out`.
    pub(super) fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => each(bytes, out, |&bytes, [out]| *out = f32::from_le_bytes(bytes)),
            Self::F64 => each(bytes, out, |&bytes, [out]| *out = f64::from_le_bytes(bytes) as f32),
            Self::F16 => each(bytes, out, |&bytes, [out]| *out = half::f16::from_le_bytes(bytes).to_f32()),
            Self::Bf16 => each(bytes, out, |&bytes, [out]| *out = half::bf16::from_le_bytes(bytes).to_f32()),
            Self::I8 { scale } => each(bytes, out, |&[byte], [out]| *out = f32::from(byte as i8) * scale),
            Self::Q4_0 => each(bytes, out, blocks::q4_0),
            Self::Q4_1 => each(bytes, out, blocks::q4_1),
            Self::Q5_0 => each(bytes, out, blocks::q5_0),
            Self::Q5_1 => each(bytes, out, blocks::q5_1),
            Self::Q8_0 => each(bytes, out, blocks::q8_0),
            Self::Q4K => each(bytes, out, blocks::q4_k),
            Self::Q5K => each(bytes, out, blocks::q5_k),
            Self::Q6K => each(bytes, out, blocks::q6_k),
        }
    }
}

/// The name in messages, which is ggml's.
impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I8 { .. } => "I8",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        })
    }
}

/// Converts block by block.
fn each<const BYTES: usize, const NUMBERS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    convert: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        convert(bytes, out);
    }
}

/// A row-major matrix in one of the checkpoint's files; a vector is a matrix of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocatedTensor {
    /// Index of the file.
    pub file: usize,
    /// Its first byte in that file.
    pub offset: usize,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Rows: outputs.
    pub rows: usize,
    /// Columns: inputs.
    pub cols: usize,
    /// The head width of a `q_proj` or `k_proj`, or of its bias, whose rotary pairs are neighbours (0 1)(2 3)…; `None`
    /// if the pairs are half a head apart, as in Hugging Face checkpoints and in `.rillm` files.
    pub interleaved_head: Option<usize>,
}

impl LocatedTensor {
    /// Its bytes in `file`.
    pub fn byte_range(&self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.dtype.row_len(self.cols)
    }

    /// Converts rows to float32. `out` has room for exactly these rows.
    pub fn rows(&self, file: &WeightFile, rows: Range<usize>, out: &mut [f32]) {
        assert!(
            rows.end <= self.rows && out.len() == rows.len() * self.cols,
            "rows {rows:?} of {} × {} do not fit {} values",
            self.rows,
            self.cols,
            out.len()
        );
        let row_len = self.dtype.row_len(self.cols);
        for (row, out) in rows.zip(out.chunks_exact_mut(self.cols)) {
            let at = self.offset + self.stored(row) * row_len;
            self.dtype.to_f32(&file.bytes(at..at + row_len).expect(READABLE), out);
            if self.rows == 1 && self.interleaved_head.is_some() {
                let stored = out.to_vec();
                out.iter_mut().enumerate().for_each(|(output, out)| *out = stored[self.stored(output)]);
            }
        }
    }

    /// The index in the file of output `output` of the tensor, a row or a number of a bias: value *i* of a head's first
    /// half is the first of neighbour pair *i*, value *i* of its second half is the second.
    fn stored(&self, output: usize) -> usize {
        match self.interleaved_head {
            None => output,
            Some(head_dim) => {
                let (head, in_head) = (output / head_dim, output % head_dim);
                let (half, pair) = (in_head / (head_dim / 2), in_head % (head_dim / 2));
                head * head_dim + 2 * pair + half
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks, then their values as the `gguf` Python package finds them: `tests/goldens/blocks/make.py`.
    #[test]
    fn numbers_are_those_of_the_gguf_package_to_the_last_bit() {
        let goldens: [(Dtype, &[u8]); 11] = [
            (Dtype::F32, include_bytes!("../../tests/goldens/blocks/f32.bin")),
            (Dtype::F16, include_bytes!("../../tests/goldens/blocks/f16.bin")),
            (Dtype::Bf16, include_bytes!("../../tests/goldens/blocks/bf16.bin")),
            (Dtype::Q4_0, include_bytes!("../../tests/goldens/blocks/q4_0.bin")),
            (Dtype::Q4_1, include_bytes!("../../tests/goldens/blocks/q4_1.bin")),
            (Dtype::Q5_0, include_bytes!("../../tests/goldens/blocks/q5_0.bin")),
            (Dtype::Q5_1, include_bytes!("../../tests/goldens/blocks/q5_1.bin")),
            (Dtype::Q8_0, include_bytes!("../../tests/goldens/blocks/q8_0.bin")),
            (Dtype::Q4K, include_bytes!("../../tests/goldens/blocks/q4_k.bin")),
            (Dtype::Q5K, include_bytes!("../../tests/goldens/blocks/q5_k.bin")),
            (Dtype::Q6K, include_bytes!("../../tests/goldens/blocks/q6_k.bin")),
        ];
        for (dtype, golden) in goldens {
            let (numbers, bytes) = dtype.block();
            let blocks = golden.len() / (bytes + 4 * numbers);
            assert!(blocks >= 3 && golden.len() % (bytes + 4 * numbers) == 0, "{dtype}");
            let (stored, values) = golden.split_at(blocks * bytes);
            let mut found = vec![0.0; blocks * numbers];
            dtype.to_f32(stored, &mut found);
            for (at, (found, expected)) in found.iter().zip(values.as_chunks().0).enumerate() {
                let expected = f32::from_le_bytes(*expected);
                assert_eq!(found.to_bits(), expected.to_bits(), "{dtype}, number {at}: {found} {expected}");
            }
        }
    }
}
