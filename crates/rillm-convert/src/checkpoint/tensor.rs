//! Where a tensor's numbers lie in a mapped file, and how they become float32.

use std::ops::Range;

/// The type of a checkpoint's numbers, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl Dtype {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Exact conversion to float32. `bytes` holds as many numbers as `out`.
    fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(bytes);
                }
            }
            Self::F16 => {
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *value = half::f16::from_le_bytes(bytes).to_f32();
                }
            }
            Self::Bf16 => {
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *value = half::bf16::from_le_bytes(bytes).to_f32();
                }
            }
        }
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
    /// The head width of a `q_proj` or `k_proj` whose rotary pairs are neighbours (0 1)(2 3)…; none where they are a
    /// half apart, as in Hugging Face checkpoints and in `.rillm` files.
    pub interleaved_head: Option<usize>,
}

impl LocatedTensor {
    /// Its bytes in `file`.
    pub fn byte_range(&self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.cols * self.dtype.size()
    }

    /// Converts rows to float32. `out` has room for exactly these rows.
    pub fn rows(&self, file: &[u8], rows: Range<usize>, out: &mut [f32]) {
        assert!(
            rows.end <= self.rows && out.len() == rows.len() * self.cols,
            "rows {rows:?} of {} × {} do not fit {} values",
            self.rows,
            self.cols,
            out.len()
        );
        let row_len = self.cols * self.dtype.size();
        for (row, out) in rows.zip(out.chunks_exact_mut(self.cols)) {
            let at = self.offset + self.stored_row(row) * row_len;
            self.dtype.to_f32(&file[at..at + row_len], out);
        }
    }

    /// Which row of the file is row `row` of the tensor: value *i* of a head's first half is the first of neighbour
    /// pair *i*, value *i* of its second half is the second.
    fn stored_row(&self, row: usize) -> usize {
        match self.interleaved_head {
            None => row,
            Some(head_dim) => {
                let (head, in_head) = (row / head_dim, row % head_dim);
                let (half, pair) = (in_head / (head_dim / 2), in_head % (head_dim / 2));
                head * head_dim + 2 * pair + half
            }
        }
    }
}
