//! Texts on which a model is calibrated: written by itself, so that no data is needed, or given.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;

use crate::batch::{BatchDecoder, softmax};
use crate::random::SplitMix64;
use crate::weights::Weights;

/// Sequences that are written at a time.
const BATCH: usize = 64;

/// Texts that the model writes, of `length` tokens each, sampled at temperature 1: those of these numbers. The same model, seed
/// and number give the same tokens on every machine.
///
/// A sequence starts with BOS, or else with an EOS token, or else with a random one. After an EOS token the next text starts with
/// BOS, where the model has one. `progress` is told the tokens so far, and may break off.
pub fn own_texts(
    weights: &Weights,
    sequences: Range<usize>,
    length: usize,
    seed: u64,
    mut progress: impl FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<(), Vec<Vec<u32>>> {
    let config = &weights.config;
    let mut texts = vec![];
    let mut written = 0;
    for first in sequences.clone().step_by(BATCH) {
        let mut batch: Vec<(SplitMix64, Vec<u32>)> = (first..sequences.end.min(first + BATCH))
            .map(|sequence| {
                let mut random = SplitMix64(SplitMix64(seed).next_u64() ^ SplitMix64(sequence as u64).next_u64());
                let start = config.bos.or(config.eos.first().copied());
                let start = start.unwrap_or_else(|| (random.uniform() * config.vocab_size as f32) as u32);
                (random, vec![start])
            })
            .collect();
        let mut decoder = BatchDecoder::new(weights, batch.len());
        for _ in 1..length {
            let last: Vec<u32> = batch.iter().map(|(_, text)| text[text.len() - 1]).collect();
            let mut logits = decoder.step(&last);
            batch.par_iter_mut().zip(logits.par_chunks_exact_mut(config.vocab_size as usize)).for_each(
                |((random, text), logits)| {
                    let sampled = sample(logits, random.uniform());
                    let is_over = config.eos.contains(&text[text.len() - 1]);
                    text.push(config.bos.filter(|_| is_over).unwrap_or(sampled));
                },
            );
            written += batch.len();
            progress(written)?;
        }
        texts.extend(batch.into_iter().map(|(_, text)| text));
    }
    ControlFlow::Continue(texts)
}

/// Tokens cut into sequences of `length`, each with BOS before it where the model has one, as many as `most`. What is
/// left at the end is a shorter sequence, unless it is the BOS alone.
///
/// # Panics
/// If `length` has no room for a token after BOS.
pub fn given_texts(tokens: &[u32], bos: Option<u32>, length: usize, most: usize) -> Vec<Vec<u32>> {
    let texts = tokens.chunks(length - usize::from(bos.is_some())).take(most);
    texts.map(|tokens| bos.into_iter().chain(tokens.iter().copied()).collect()).collect()
}

/// The token at `point`, 0 to 1, of the cumulated probabilities. The logits become probabilities.
fn sample(logits: &mut [f32], point: f32) -> u32 {
    softmax(logits);
    let total: f64 = logits.iter().map(|&probability| f64::from(probability)).sum();
    let mut left = f64::from(point) * total;
    for (token, &probability) in logits.iter().enumerate() {
        left -= f64::from(probability);
        if left < 0.0 {
            return token as u32;
        }
    }
    logits.len() as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sampled_by_their_probabilities() {
        let mut random = SplitMix64(3);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            let mut logits = [0.5f32.ln() + 7.0, 0.2f32.ln() + 7.0, 0.3f32.ln() + 7.0];
            counts[sample(&mut logits, random.uniform()) as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([5000, 2000, 3000]) {
            assert!(i32::abs(count - expected) < 150, "{counts:?}");
        }
        assert_eq!(sample(&mut [0.0, -1000.0], 0.999_999), 0);
    }

    #[test]
    fn given_tokens_are_cut_with_bos_before_each() {
        let tokens: Vec<u32> = (10..17).collect();
        assert_eq!(given_texts(&tokens, Some(1), 4, 9), [vec![1, 10, 11, 12], vec![1, 13, 14, 15], vec![1, 16]]);
        assert_eq!(given_texts(&tokens, None, 4, 1), [vec![10, 11, 12, 13]]);
    }
}
