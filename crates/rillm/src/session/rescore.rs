//! Computes the best logits again.

use crate::error::Error;
use crate::format::FormatError;
use crate::kernels::{Multiply, Rows};
use crate::logits::Logit;
use crate::model::RescoringRows;
use crate::rescoring::mantissa;
use crate::source::{Counted, WeightSource, record};
use crate::vector::BlockFloat16;

/// The second head, and the input that both heads have.
pub(super) struct Rescorer<'r, 'a> {
    pub rows: &'r RescoringRows,
    /// The exponent of the first head's tensor.
    pub head_exponent: i32,
    /// The inputs of the head, of which the one at `place` is multiplied.
    pub input: &'r BlockFloat16<'a>,
    pub place: usize,
    pub multiplier: &'r dyn Multiply,
}

impl Rescorer<'_, '_> {
    /// Computes a logit again, in the unit of the first head's logits. `sectors` has room for a row.
    pub async fn rescore<S: WeightSource>(
        &self,
        logit: Logit,
        source: &mut Counted<S>,
        sectors: &mut [u8],
    ) -> Result<Logit, Error<S::Error>> {
        let tensor = &self.rows.tensor;
        let (offset, row_len) = (self.rows.offset(logit.token), tensor.row_len());
        let row = record(source, offset, row_len, sectors).await.map_err(Error::Source)?;
        let (cols, mut sum) = (tensor.cols as usize, [0]);
        let row = Rows::new(row, tensor.quantisation, cols).ok_or(FormatError::Truncated)?;
        self.multiplier.dot(&row, self.input.get(self.place, cols), &mut sum);
        // A logit's unit is 2^(input + head + excess), this sum's 2^(input + row).
        let right = self.input.excess[self.place] + self.head_exponent - row.exponent(0);
        Ok(Logit { mantissa: mantissa(sum[0], right), ..logit })
    }
}
