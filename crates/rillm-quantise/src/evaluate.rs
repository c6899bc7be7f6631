//! Compares a model's predictions with the reference's.

use crate::batch::Batch;
use crate::matmul::project;
use crate::weights::Weights;

/// The divergence of a candidate's predictions from the reference's, over the tokens of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    tokens: usize,
    divergence: f64,
    sampled_divergence: f64,
    same_top: usize,
}

/// The tokens that are sampled from, as for [`Agreement::mean_sampled_kl`].
const TOP_K: usize = 40;
const TOP_P: f64 = 0.95;

impl Agreement {
    /// The agreement of a candidate with a reference over texts, in float32.
    pub fn over(reference: &Weights, candidate: &Weights, texts: &[Vec<u32>]) -> Self {
        /// Positions whose logits are in memory at a time.
        const POSITIONS: usize = 64;
        let (hidden_size, vocab_size) = (reference.config.hidden_size as usize, reference.config.vocab_size as usize);
        let mut agreement = Self::default();
        for text in texts {
            let batch = Batch::new(&reference.config, vec![text.len()]);
            let [inputs, candidates] = [reference, candidate].map(|weights| batch.run(weights, text));
            let blocks = inputs.chunks(POSITIONS * hidden_size).zip(candidates.chunks(POSITIONS * hidden_size));
            for (inputs, candidates) in blocks {
                let expected = project(inputs, &reference.head, hidden_size);
                let found = project(candidates, &candidate.head, hidden_size);
                for (expected, found) in expected.chunks_exact(vocab_size).zip(found.chunks_exact(vocab_size)) {
                    agreement.add(expected, found);
                }
            }
        }
        agreement
    }

    /// Adds one position: both models' logits, `[vocab_size]`.
    pub fn add(&mut self, reference: &[f32], candidate: &[f32]) {
        self.tokens += 1;
        self.divergence += kl_divergence(reference, candidate);
        self.sampled_divergence += sampled_kl_divergence(reference, candidate);
        self.same_top += usize::from(argmax(reference) == argmax(candidate));
    }

    /// The number of positions.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The mean of `KL(reference ‖ candidate)`, in nats. Not a number before the first position.
    pub fn mean_kl(&self) -> f64 {
        self.divergence / self.tokens as f64
    }

    /// The mean divergence of the distributions that a sampler draws from, in nats: of the 40 likeliest tokens of the
    /// reference, the fewest that have a probability of at least 0.95, and both models' distributions among them.
    pub fn mean_sampled_kl(&self) -> f64 {
        self.sampled_divergence / self.tokens as f64
    }

    /// The share of positions, 0 to 1, at which both models have the same most probable token.
    pub fn top1(&self) -> f64 {
        self.same_top as f64 / self.tokens as f64
    }
}

/// `KL(P ‖ Q) = Σ P ln(P / Q)` in nats, of the distributions of two logit vectors.
pub fn kl_divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p_norm, q_norm) = (log_sum_exp(p), log_sum_exp(q));
    p.iter()
        .zip(q)
        .map(|(&p, &q)| {
            let (ln_p, ln_q) = (f64::from(p) - p_norm, f64::from(q) - q_norm);
            ln_p.exp() * (ln_p - ln_q)
        })
        .sum()
}

/// `KL(P ‖ Q)` among the tokens that top-k and then top-p leave of P.
fn sampled_kl_divergence(p: &[f32], q: &[f32]) -> f64 {
    let mut tokens: Vec<usize> = (0..p.len()).collect();
    let descending = |&a: &usize, &b: &usize| p[b].total_cmp(&p[a]).then(a.cmp(&b));
    if tokens.len() > TOP_K {
        tokens.select_nth_unstable_by(TOP_K, descending);
        tokens.truncate(TOP_K);
    }
    tokens.sort_unstable_by(descending);
    let logits = |of: &[f32]| -> Vec<f32> { tokens.iter().map(|&token| of[token]).collect() };
    let (p, q) = (logits(p), logits(q));
    let norm = log_sum_exp(&p);
    let mut sum = 0.0;
    let kept = p.iter().take_while(|&&logit| {
        let before = sum;
        sum += (f64::from(logit) - norm).exp();
        before < TOP_P
    });
    let kept = kept.count();
    kl_divergence(&p[..kept], &q[..kept])
}

/// `-ln P(token)`, in nats; its mean over a text is the logarithm of the perplexity.
///
/// # Panics
/// If the token has no logit.
pub fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    log_sum_exp(logits) - f64::from(logits[token as usize])
}

/// The token with the largest logit; the first of equal ones.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    max + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_known_distributions() {
        let p = [0.75f32.ln(), 0.25f32.ln()];
        let q = [0.5f32.ln() + 3.0, 0.5f32.ln() + 3.0];
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((kl_divergence(&p, &q) - expected).abs() < 1e-6);
        assert_eq!(kl_divergence(&p, &p), 0.0);
        assert!((negative_log_likelihood(&p, 1) - 4f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_sampled_does_not_count() {
        // The first two reach 0.95; the third one, and all beyond 40, may differ.
        let p = [0.6f32.ln(), 0.36f32.ln(), 0.04f32.ln()];
        let q = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        assert!(sampled_kl_divergence(&p, &q).abs() < 1e-6);
        let q = [0.3f32.ln(), 0.36f32.ln(), 0.04f32.ln()];
        let expected = 0.625 * (0.625 / (0.3 / 0.66f64)).ln() + 0.375 * (0.375 / (0.36 / 0.66f64)).ln();
        assert!((sampled_kl_divergence(&p, &q) - expected).abs() < 1e-6);
        let flat = [0.0; 100];
        let mut bent = flat;
        bent[40..].fill(9.0);
        assert!(sampled_kl_divergence(&flat, &bent).abs() < 1e-9);
        assert!(sampled_kl_divergence(&bent, &flat).abs() < 1e-9);
    }

    #[test]
    fn agreement_counts_equal_tops() {
        let mut agreement = Agreement::default();
        agreement.add(&[0.0, 1.0], &[0.0, 2.0]);
        agreement.add(&[0.0, 1.0], &[1.0, 0.0]);
        assert_eq!(agreement.tokens(), 2);
        assert_eq!(agreement.top1(), 0.5);
        assert!(agreement.mean_kl() > 0.0);
    }
}
