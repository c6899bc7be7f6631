//! The model over whole sequences at once, with gradients.
//!
//! The same model as [`Reference`](crate::reference::Reference), a layer at a time and a matrix product at a time, so
//! that the inputs of every matrix are at hand and a layer's weights may change before the next layer runs. The result is
//! the same bits on every machine and for any number of threads: sums have a fixed order, and exponentials and sines are
//! computed in software.
//!
//! A matrix of activations is row-major with a row for each token, sequence after sequence.

mod attention;
mod backward;
mod decode;
mod operations;

use self::operations::{Rotation, add, add_bias, rms_norm, swiglu};
use crate::config::LlamaConfig;
use crate::matmul::project;
use crate::weights::{Layer, Linear, Weights};

pub use self::backward::LayerTrace;
pub use self::decode::BatchDecoder;
pub use self::operations::softmax;

/// Sequences that run through a model together, each from its first position.
#[derive(Clone, Debug)]
pub struct Batch {
    config: LlamaConfig,
    /// Tokens of each sequence.
    lengths: Vec<usize>,
    rotation: Rotation,
}

/// Queries, keys and values of a layer before and after what is done to them.
#[derive(Clone, Debug)]
struct Heads {
    /// Queries and keys before their norms, if the model has these: what a gradient needs.
    before_norms: Option<(Vec<f32>, Vec<f32>)>,
    /// Rotated, `[tokens, n_heads × head_dim]`.
    q: Vec<f32>,
    /// Rotated, `[tokens, n_kv_heads × head_dim]`.
    k: Vec<f32>,
    /// `[tokens, n_kv_heads × head_dim]`
    v: Vec<f32>,
}

impl Batch {
    /// A batch for a model with these dimensions, of sequences with these numbers of tokens.
    pub fn new(config: &LlamaConfig, lengths: Vec<usize>) -> Self {
        let positions = lengths.iter().copied().max().unwrap_or(0);
        Self { rotation: Rotation::new(config, 0..positions), config: config.clone(), lengths }
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The residual stream before the first layer, `[tokens, hidden_size]`: each token's row of the embedding table.
    ///
    /// # Panics
    /// Unless there are [`tokens`](Self::tokens) tokens, all in the vocabulary.
    pub fn embed(&self, weights: &Weights, tokens: &[u32]) -> Vec<f32> {
        assert_eq!(tokens.len(), self.tokens(), "tokens of the batch");
        embed(weights, tokens)
    }

    /// The inputs of `q_proj`, `k_proj` and `v_proj`, `[tokens, hidden_size]`, of the residual stream `x`.
    pub fn attention_input(&self, layer: &Layer, x: &[f32]) -> Vec<f32> {
        rms_norm(x, &layer.attention_norm, self.config.norm_eps)
    }

    /// The inputs of `o_proj`, `[tokens, n_heads × head_dim]`, of [`attention_input`](Self::attention_input)'s result.
    pub fn attended(&self, layer: &Layer, input: &[f32]) -> Vec<f32> {
        let heads = self.heads(layer, input);
        attention::attention(&self.config, &self.lengths, &heads.q, &heads.k, &heads.v)
    }

    /// Adds `o_proj`'s outputs to the residual stream `x`, of [`attended`](Self::attended)'s result.
    pub fn add_attention(&self, layer: &Layer, attended: &[f32], x: &mut [f32]) {
        add(x, &linear(&layer.o_proj, attended, q_dim(&self.config)));
    }

    /// The inputs of `gate_proj` and `up_proj`, `[tokens, hidden_size]`, of the residual stream `x` after attention.
    pub fn mlp_input(&self, layer: &Layer, x: &[f32]) -> Vec<f32> {
        rms_norm(x, &layer.mlp_norm, self.config.norm_eps)
    }

    /// The inputs of `down_proj`, `[tokens, intermediate_size]`, of [`mlp_input`](Self::mlp_input)'s result.
    pub fn activated(&self, layer: &Layer, input: &[f32]) -> Vec<f32> {
        let hidden_size = self.config.hidden_size as usize;
        let gate = project(input, &layer.gate_proj, hidden_size);
        swiglu(&gate, &project(input, &layer.up_proj, hidden_size))
    }

    /// Adds `down_proj`'s outputs to the residual stream `x`, of [`activated`](Self::activated)'s result.
    pub fn add_mlp(&self, layer: &Layer, activated: &[f32], x: &mut [f32]) {
        add(x, &project(activated, &layer.down_proj, self.config.intermediate_size as usize));
    }

    /// Takes the residual stream through a layer.
    pub fn layer(&self, layer: &Layer, x: &mut [f32]) {
        let attended = self.attended(layer, &self.attention_input(layer, x));
        self.add_attention(layer, &attended, x);
        let activated = self.activated(layer, &self.mlp_input(layer, x));
        self.add_mlp(layer, &activated, x);
    }

    /// The inputs of the head, `[tokens, hidden_size]`, of the residual stream `x` after the last layer.
    pub fn head_input(&self, weights: &Weights, x: &[f32]) -> Vec<f32> {
        rms_norm(x, &weights.norm, self.config.norm_eps)
    }

    /// The inputs of the head, `[tokens, hidden_size]`, of tokens: the whole model without the head, which is
    /// [`project`] of as many rows at a time as there is memory for logits.
    ///
    /// # Panics
    /// As [`embed`](Self::embed).
    pub fn run(&self, weights: &Weights, tokens: &[u32]) -> Vec<f32> {
        let mut x = self.embed(weights, tokens);
        for layer in &weights.layers {
            self.layer(layer, &mut x);
        }
        self.head_input(weights, &x)
    }

    fn heads(&self, layer: &Layer, input: &[f32]) -> Heads {
        let mut heads = projected_heads(layer, input, self.config.norm_eps);
        self.rotation.apply(&mut heads.q, &self.lengths);
        self.rotation.apply(&mut heads.k, &self.lengths);
        heads
    }
}

/// Queries, keys and values that are not rotated yet.
fn projected_heads(layer: &Layer, input: &[f32], eps: f32) -> Heads {
    let cols = layer.attention_norm.len();
    let [mut q, mut k, v] = [&layer.q_proj, &layer.k_proj, &layer.v_proj].map(|proj| linear(proj, input, cols));
    let mut before_norms = None;
    if let (Some(q_norm), Some(k_norm)) = (&layer.q_norm, &layer.k_norm) {
        let normed = (rms_norm(&q, q_norm, eps), rms_norm(&k, k_norm, eps));
        before_norms = Some((q, k));
        (q, k) = normed;
    }
    Heads { before_norms, q, k, v }
}

fn q_dim(config: &LlamaConfig) -> usize {
    (config.n_heads * config.head_dim) as usize
}

fn embed(weights: &Weights, tokens: &[u32]) -> Vec<f32> {
    let hidden_size = weights.config.hidden_size as usize;
    tokens
        .iter()
        .flat_map(|&token| &weights.embedding[token as usize * hidden_size..][..hidden_size])
        .copied()
        .collect()
}

/// `x · Wᵀ + b` for each row of `x`, of `cols` values.
fn linear(linear: &Linear, x: &[f32], cols: usize) -> Vec<f32> {
    let mut y = project(x, &linear.weights, cols);
    if let Some(bias) = &linear.bias {
        add_bias(&mut y, bias);
    }
    y
}

#[cfg(test)]
mod tests;
