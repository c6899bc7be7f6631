//! Writes a tensor's rows, which are quantised here unless they already are, on all cores, a block at a time.

use std::ops::ControlFlow;

use rayon::prelude::*;
use rillm::format::TensorHeader;

use super::file::Output;
use super::{Token, WriteError};
use crate::checkpoint::Checkpoint;
use rillm_quantise::model::QuantisedTensor;
use rillm_quantise::rows::{Noise, NotFinite, dequantise_row, quantise_row};

/// Most bytes of rows in memory at once.
const BLOCK_LEN: usize = 4 << 20;

/// The rows to write.
pub(super) struct Rows<'a> {
    /// The tensor; its exponent is not known yet.
    pub tensor: TensorHeader,
    /// The stride of the rows in bytes.
    pub record_len: usize,
    /// The rows, if they are already quantised.
    pub quantised: Option<&'a QuantisedTensor>,
    /// For the embedding table, the tokens whose texts the rows contain, one a row.
    pub tokens: Option<&'a [Token]>,
}

/// The results once all rows of a tensor are written.
pub(super) struct Written {
    /// The largest of the rows' exponents.
    pub exponent: i8,
    /// The running checksum of the rows.
    pub crc: crc32fast::Hasher,
    /// The quantisation noise.
    pub noise: Noise,
}

/// Writes the rows from `offset` on. `rows_done` is called after every block with the number of rows that are written,
/// and returns whether to go on.
pub(super) fn write(
    checkpoint: &Checkpoint,
    rows: &Rows<'_>,
    output: &mut Output<'_>,
    offset: u64,
    rows_done: &mut impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Written, WriteError> {
    let record_len = rows.record_len;
    let n_rows = rows.tensor.rows as usize;
    let block_rows = (BLOCK_LEN / record_len).clamp(1, n_rows);
    let mut block = vec![0; block_rows * record_len];
    let mut written = Written { exponent: i8::MIN, crc: crc32fast::Hasher::new(), noise: Noise::default() };
    for first_row in (0..n_rows).step_by(block_rows) {
        let count = block_rows.min(n_rows - first_row);
        let block = &mut block[..count * record_len];
        // Summed in row order, so that the noise does not depend on which core did which rows.
        for (exponent, noise) in quantise_block(checkpoint, rows, first_row, block)? {
            written.exponent = written.exponent.max(exponent);
            written.noise = written.noise.plus(noise);
        }
        written.crc.update(block);
        output.write_at(offset + (first_row * record_len) as u64, block)?;
        if rows_done((first_row + count) as u32).is_break() {
            return Err(WriteError::Interrupted);
        }
    }
    Ok(written)
}

/// Fills the records of a block. Returns each row's exponent and noise.
fn quantise_block(
    checkpoint: &Checkpoint,
    rows: &Rows<'_>,
    first_row: usize,
    block: &mut [u8],
) -> Result<Vec<(i8, Noise)>, WriteError> {
    let tensor = &rows.tensor;
    let (cols, row_len) = (tensor.cols as usize, tensor.row_len());
    block
        .par_chunks_exact_mut(rows.record_len)
        .enumerate()
        .map_init(
            || (vec![0.0; cols], vec![0.0; cols]),
            |(values, restored), (index, record)| {
                let row = first_row + index;
                checkpoint.rows(tensor.kind, tensor.layer, row..row + 1, values);
                let (quantised, text) = record.split_at_mut(row_len);
                let exponent = match rows.quantised {
                    Some(QuantisedTensor { quantisation, exponent, rows }) => {
                        assert_eq!(*quantisation, tensor.quantisation, "the width of {}", tensor.kind);
                        quantised.copy_from_slice(&rows[row * row_len..][..row_len]);
                        *exponent
                    }
                    None => quantise_row(tensor.quantisation, values, quantised).map_err(
                        |NotFinite { column, value }| WriteError::NotFinite {
                            kind: tensor.kind,
                            layer: tensor.layer,
                            row,
                            column,
                            value,
                        },
                    )?,
                };
                dequantise_row(tensor.quantisation, exponent, quantised, restored);
                if let Some(tokens) = rows.tokens {
                    write_token(&tokens[row], text);
                }
                Ok((exponent, Noise::between(values, restored)))
            },
        )
        .collect()
}

/// The end of an embedding record: the text's length, the token's kind, the text, zeros.
fn write_token(Token { text, kind }: &Token, out: &mut [u8]) {
    out.fill(0);
    out[0] = text.len() as u8;
    out[1] = *kind as u8;
    out[2..2 + text.len()].copy_from_slice(text);
}
