//! Chooses the width of cached keys.
//!
//! A key of 8 bits has one scale for a head and position. Where a few elements are much larger than the others, because of
//! large biases (Qwen2) or weights, the others lose their bits, and so do the scores.

use rayon::prelude::*;
use rillm::format::{KeyBits, TensorKind};

use crate::checkpoint::Checkpoint;

/// Keys have 8 bits where they are expected to change no score by more than this, as a standard deviation. The decision
/// about keys of 16 bits has the figures.
const MOST_NOISE: f64 = 0.1;

/// The width of keys for a checkpoint: 8 bits, if the scores' noise is low in every head.
pub(super) fn choose(checkpoint: &Checkpoint) -> KeyBits {
    let layers = checkpoint.config().n_layers;
    let noise = (0..layers).into_par_iter().map(|layer| score_noise(checkpoint, layer)).reduce(|| 0.0, f64::max);
    if noise <= MOST_NOISE { KeyBits::Eight } else { KeyBits::Sixteen }
}

/// The standard deviation of a score's error with keys of 8 bits, in the layer's worst head.
///
/// The input of the projections is taken to be white, of mean square 1 before the norm's weights. An element then has a
/// standard deviation that its row of weights says, around its bias. The largest element of a key is taken to be three
/// deviations above its bias, rotated by any angle. Its step's rounding error is multiplied by the query's elements.
fn score_noise(checkpoint: &Checkpoint, layer: u32) -> f64 {
    let config = checkpoint.config();
    let (head_dim, extras) = (config.head_dim as usize, config.attention);
    let norm = checkpoint.tensor(TensorKind::AttentionNorm, layer);
    let vector = |there: bool, kind| there.then(|| checkpoint.tensor(kind, layer));
    let [q_norm, k_norm] = [TensorKind::QNorm, TensorKind::KNorm].map(|kind| vector(extras.qk_norm, kind));
    let [q_bias, k_bias] = [TensorKind::QBias, TensorKind::KBias].map(|kind| vector(extras.qkv_bias, kind));
    // Mean and variance of each element.
    let moments = |kind, bias: &Option<Vec<f32>>, head_norm: &Option<Vec<f32>>| -> Vec<(f64, f64)> {
        let mut weights = vec![0.0; norm.len()];
        let moments = |row: usize| match head_norm {
            Some(norm) => (0.0, f64::from(norm[row % head_dim]).powi(2)),
            None => {
                checkpoint.rows(kind, layer, row..row + 1, &mut weights);
                let squares = weights.iter().zip(&norm).map(|(&w, &n)| (f64::from(w) * f64::from(n)).powi(2));
                (bias.as_ref().map_or(0.0, |bias| bias[row].into()), squares.sum())
            }
        };
        (0..config.shape(kind).0).map(moments).collect()
    };
    let queries = moments(TensorKind::QProj, &q_bias, &q_norm);
    let keys = moments(TensorKind::KProj, &k_bias, &k_norm);
    let queries_of_a_key = queries.len() / keys.len() * head_dim;
    let heads = keys.chunks_exact(head_dim).zip(queries.chunks_exact(queries_of_a_key));
    heads
        .map(|(keys, queries)| {
            let (first, second) = keys.split_at(head_dim / 2);
            let largest = first.iter().zip(second).map(|(a, b)| a.0.hypot(b.0) + 3.0 * a.1.max(b.1).sqrt());
            let step = largest.fold(0.0, f64::max) / 126.0;
            let mean_square = |head: &[(f64, f64)]| {
                head.iter().map(|(mean, variance)| mean * mean + variance).sum::<f64>() / head_dim as f64
            };
            let query = queries.chunks_exact(head_dim).map(mean_square).fold(0.0, f64::max);
            (query / 12.0).sqrt() * step
        })
        .fold(0.0, f64::max)
}
