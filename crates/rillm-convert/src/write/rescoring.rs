//! The margin of a head that computes its best logits again.

use rayon::prelude::*;
use rillm::format::TensorKind;
use rillm_quantise::model::QuantisedModel;
use rillm_quantise::rows::dequantise_row;

use crate::checkpoint::Checkpoint;

/// A logit is expected to change by at most this many standard deviations: of a normal distribution 1 of 16,000 values lies
/// beyond.
const DEVIATIONS: f64 = 4.0;

/// The most by which a logit is expected to change from the quantised head to the checkpoint's, in 256ths: four standard
/// deviations of the row that changes most. The input of the head is taken to be white, of mean square 1 before the norm's
/// weights. Without a quantised head, the largest margin.
pub(super) fn margin(checkpoint: &Checkpoint, quantised: &QuantisedModel) -> u16 {
    let Some(head) = quantised.get(&(TensorKind::Head, 0)) else { return u16::MAX };
    let norm = checkpoint.tensor(TensorKind::FinalNorm, 0);
    let (cols, row_len) = (norm.len(), head.quantisation.row_len(norm.len() as u32));
    let variance = |row: usize, bytes: &[u8]| -> f64 {
        let [mut values, mut restored] = [vec![0.0; cols], vec![0.0; cols]];
        checkpoint.rows(TensorKind::Head, 0, row..row + 1, &mut values);
        dequantise_row(head.quantisation, head.exponent, bytes, &mut restored);
        let error = values.iter().zip(&restored).map(|(value, restored)| f64::from(value - restored));
        error.zip(&norm).map(|(error, &weight)| (error * f64::from(weight)).powi(2)).sum()
    };
    let rows = head.rows.par_chunks_exact(row_len).enumerate();
    let largest = rows.map(|(row, bytes)| variance(row, bytes)).reduce(|| 0.0, f64::max);
    // `as` saturates.
    (256.0 * DEVIATIONS * largest.sqrt()).ceil() as u16
}
