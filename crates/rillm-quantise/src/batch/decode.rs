//! Many sequences, written a token at a time.

use rayon::prelude::*;

use super::attention::attend;
use super::operations::{Rotation, add, rms_norm, swiglu};
use super::{embed, linear, projected_heads, q_dim};
use crate::matmul::project;
use crate::weights::Weights;

/// A model with the KV caches of sequences that have as many tokens each.
#[derive(Clone, Debug)]
pub struct BatchDecoder<'a> {
    weights: &'a Weights,
    sequences: usize,
    /// Tokens of each sequence so far.
    position: usize,
    /// Of each layer, sequence and key and value head the keys and values so far, `[positions, head_dim]` each.
    caches: Vec<(Vec<f32>, Vec<f32>)>,
}

impl<'a> BatchDecoder<'a> {
    /// As many sequences without a token yet.
    pub fn new(weights: &'a Weights, sequences: usize) -> Self {
        let caches = weights.layers.len() * sequences * weights.config.n_kv_heads as usize;
        Self { weights, sequences, position: 0, caches: vec![Default::default(); caches] }
    }

    /// Adds a token to each sequence, and returns the logits of the next one, `[sequences, vocab_size]`.
    ///
    /// # Panics
    /// Unless there is a token of the vocabulary for each sequence.
    pub fn step(&mut self, tokens: &[u32]) -> Vec<f32> {
        assert_eq!(tokens.len(), self.sequences, "tokens of a step");
        let Weights { config, layers, norm, head, .. } = self.weights;
        let (hidden_size, intermediate_size) = (config.hidden_size as usize, config.intermediate_size as usize);
        let (head_dim, kv_heads) = (config.head_dim as usize, config.n_kv_heads as usize);
        let kv_dim = head_dim * kv_heads;
        let rotation = Rotation::new(config, self.position..self.position + 1);
        let lengths = vec![1; self.sequences];

        let mut x = embed(self.weights, tokens);
        for (layer, caches) in layers.iter().zip(self.caches.chunks_exact_mut(self.sequences * kv_heads)) {
            let mut heads =
                projected_heads(layer, &rms_norm(&x, &layer.attention_norm, config.norm_eps), config.norm_eps);
            rotation.apply(&mut heads.q, &lengths);
            rotation.apply(&mut heads.k, &lengths);
            // A key and value head of a sequence, with the query heads that share it.
            let shared_by = q_dim(config) / kv_dim * head_dim;
            let queries = heads.q.par_chunks_exact_mut(shared_by);
            let new = heads.k.par_chunks_exact(head_dim).zip(heads.v.par_chunks_exact(head_dim));
            queries.zip(new).zip(caches).for_each(|((queries, (k, v)), (keys, values))| {
                keys.extend_from_slice(k);
                values.extend_from_slice(v);
                for q in queries.chunks_exact_mut(head_dim) {
                    q.copy_from_slice(&attend(q, keys, values));
                }
            });
            add(&mut x, &linear(&layer.o_proj, &heads.q, q_dim(config)));

            let normed = rms_norm(&x, &layer.mlp_norm, config.norm_eps);
            let gate = project(&normed, &layer.gate_proj, hidden_size);
            let activated = swiglu(&gate, &project(&normed, &layer.up_proj, hidden_size));
            add(&mut x, &project(&activated, &layer.down_proj, intermediate_size));
        }
        self.position += 1;
        project(&rms_norm(&x, norm, config.norm_eps), head, hidden_size)
    }
}
