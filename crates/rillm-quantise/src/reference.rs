//! The Llama forward pass in plain float32, the reference for every other implementation.
//!
//! Touvron et al., "LLaMA" and "Llama 2" (2023): pre-normalisation with RMSNorm (Zhang & Sennrich, 2019), rotary
//! embeddings (Su et al., 2021), grouped-query attention (Ainslie et al., 2023), SwiGLU (Shazeer, 2020).

use std::sync::Arc;

use rayon::prelude::*;

use crate::config::LlamaConfig;
use crate::matmul::dot;
use crate::rope;
use crate::weights::{Linear, Weights};

/// A float32 model with its KV cache.
#[derive(Clone, Debug)]
pub struct Reference {
    weights: Arc<Weights>,
    /// Angle of each rotary pair from one position to the next, `[head_dim / 2]`.
    frequencies: Vec<f64>,
    /// One a layer.
    caches: Vec<KvCache>,
    /// `[vocab_size]`
    logits: Vec<f32>,
}

/// The KV cache of the positions so far, `[positions, n_kv_heads, head_dim]` each.
#[derive(Clone, Debug, Default)]
struct KvCache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Reference {
    /// A model with these weights, before its first token.
    pub fn new(weights: impl Into<Arc<Weights>>) -> Self {
        let weights = weights.into();
        let config = &weights.config;
        Self {
            frequencies: rope::frequencies(&config.rope, &config.rope_divisors, config.head_dim),
            caches: vec![KvCache::default(); config.n_layers as usize],
            logits: vec![0.0; config.vocab_size as usize],
            weights,
        }
    }

    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        &self.weights.config
    }

    /// The logits, `[vocab_size]`, of the token after `token` at `position`. Positions come in order from 0; an earlier
    /// position starts a new text there.
    ///
    /// # Panics
    /// If the token is outside the vocabulary, or the position is past the next one.
    pub fn forward(&mut self, token: u32, position: usize) -> &[f32] {
        let LlamaConfig { n_heads, head_dim, hidden_size, norm_eps: eps, .. } = self.weights.config;
        let (n_heads, head_dim, hidden_size) = (n_heads as usize, head_dim as usize, hidden_size as usize);
        let angles: Vec<f64> = self.frequencies.iter().map(|frequency| frequency * position as f64).collect();

        let mut x = self.weights.embedding[token as usize * hidden_size..][..hidden_size].to_vec();
        for (layer, cache) in self.weights.layers.iter().zip(&mut self.caches) {
            let normed = rms_norm(&x, &layer.attention_norm, eps);
            let mut q = layer.q_proj.apply(&normed);
            let mut k = layer.k_proj.apply(&normed);
            let v = layer.v_proj.apply(&normed);
            for (heads, weight) in [(&mut q, &layer.q_norm), (&mut k, &layer.k_norm)] {
                if let Some(weight) = weight {
                    *heads = heads.chunks_exact(head_dim).flat_map(|head| rms_norm(head, weight, eps)).collect();
                }
            }
            rotate(&mut q, &angles);
            rotate(&mut k, &angles);
            cache.store(position, &k, &v);
            let attended = attention(&q, cache, n_heads, head_dim, k.len());
            add(&mut x, &layer.o_proj.apply(&attended));

            let normed = rms_norm(&x, &layer.mlp_norm, eps);
            let gate = matvec(&layer.gate_proj, &normed);
            let up = matvec(&layer.up_proj, &normed);
            add(&mut x, &matvec(&layer.down_proj, &swiglu(&gate, &up)));
        }
        self.logits = matvec(&self.weights.head, &rms_norm(&x, &self.weights.norm, eps));
        &self.logits
    }
}

impl Linear {
    /// `W x + b`
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = matvec(&self.weights, x);
        if let Some(bias) = &self.bias {
            add(&mut y, bias);
        }
        y
    }
}

impl KvCache {
    fn store(&mut self, position: usize, k: &[f32], v: &[f32]) {
        let at = position * k.len();
        assert!(at <= self.keys.len(), "position {position} comes before the ones ahead of it");
        self.keys.truncate(at);
        self.keys.extend_from_slice(k);
        self.values.truncate(at);
        self.values.extend_from_slice(v);
    }
}

/// `x / sqrt(mean(x²) + eps) · weight`
fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let scale = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
    x.iter().zip(weight).map(|(x, w)| w * (x * scale)).collect()
}

/// Rotates the pair `(i, i + head_dim / 2)` of every head by `angles[i]` radians.
fn rotate(heads: &mut [f32], angles: &[f64]) {
    for head in heads.chunks_exact_mut(2 * angles.len()) {
        let (first, second) = head.split_at_mut(angles.len());
        for ((a, b), angle) in first.iter_mut().zip(second).zip(angles) {
            let (sin, cos) = angle.sin_cos();
            let (sin, cos) = (sin as f32, cos as f32);
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// For each query head `softmax(q · K / sqrt(head_dim)) · V` over the cached positions. Consecutive query heads share a
/// key and value head.
fn attention(q: &[f32], cache: &KvCache, n_heads: usize, head_dim: usize, kv_dim: usize) -> Vec<f32> {
    let heads_per_kv_head = n_heads * head_dim / kv_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut attended = vec![0.0; q.len()];
    for (head, (q, out)) in q.chunks_exact(head_dim).zip(attended.chunks_exact_mut(head_dim)).enumerate() {
        let at = head / heads_per_kv_head * head_dim;
        let mut weights: Vec<f32> =
            cache.keys.chunks_exact(kv_dim).map(|k| dot(q, &k[at..at + head_dim]) * scale).collect();
        softmax(&mut weights);
        for (weight, v) in weights.iter().zip(cache.values.chunks_exact(kv_dim)) {
            for (out, v) in out.iter_mut().zip(&v[at..at + head_dim]) {
                *out += weight * v;
            }
        }
    }
    attended
}

fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f32 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
}

/// `silu(gate) · up`, where `silu(x) = x / (1 + e^-x)`
fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect()
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// `weights · x`, where `weights` is `[rows, x.len()]`. All cores; every row is summed in the same order by whichever.
fn matvec(weights: &[f32], x: &[f32]) -> Vec<f32> {
    /// The fewest multiplications for which another core is used.
    const TASK: usize = 1 << 15;
    weights.par_chunks_exact(x.len()).with_min_len(TASK.div_ceil(x.len())).map(|row| dot(row, x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one() {
        let mut x = [1000.0, 999.0, -1000.0];
        softmax(&mut x);
        assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(x[0] > x[1] && x[2] == 0.0);
    }

    #[test]
    fn rotation_keeps_lengths_and_turns_pairs_half_a_head_apart() {
        let mut head = [1.0, 0.0, 0.0, 2.0];
        rotate(&mut head, &[std::f64::consts::FRAC_PI_2, 0.0]);
        let expected = [0.0, 0.0, 1.0, 2.0];
        for (found, expected) in head.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{head:?}");
        }
    }
}
