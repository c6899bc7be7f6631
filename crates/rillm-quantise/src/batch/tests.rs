//! The batched model against the model that reads like the paper, and gradients against differences.

use rillm::format::{AttentionExtras, Rope, RopeScaling, TensorKind};

use super::*;
use crate::random::SplitMix64;
use crate::reference::Reference;

fn config(attention: AttentionExtras) -> LlamaConfig {
    LlamaConfig {
        hidden_size: 24,
        intermediate_size: 40,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        vocab_size: 50,
        context_length: 64,
        attention,
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: false,
        bos: None,
        eos: vec![],
    }
}

fn variants() -> [AttentionExtras; 2] {
    [AttentionExtras::default(), AttentionExtras { qkv_bias: true, o_bias: true, qk_norm: true }]
}

fn random_weights(config: &LlamaConfig) -> Weights {
    let mut random = SplitMix64(1);
    Weights::new(config, |kind, _| {
        let (rows, cols) = config.shape(kind);
        let scale = if kind.is_bias() { 0.5 } else { 1.5 / (cols as f32).sqrt() };
        let value = |_| if kind.is_norm() { 0.5 + random.uniform() } else { scale * random.normal() };
        (0..rows * cols).map(value).collect()
    })
}

fn texts(config: &LlamaConfig) -> Vec<Vec<u32>> {
    let mut random = SplitMix64(2);
    let mut text = |length| (0..length).map(|_| (random.next_u64() % u64::from(config.vocab_size)) as u32).collect();
    vec![text(9), text(1), text(20)]
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
    }
}

#[test]
fn logits_are_the_references() {
    for attention in variants() {
        let config = config(attention);
        let weights = random_weights(&config);
        let texts = texts(&config);
        let batch = Batch::new(&config, texts.iter().map(Vec::len).collect());
        let logits = project(&batch.run(&weights, &texts.concat()), &weights.head, config.hidden_size as usize);
        let mut reference = Reference::new(weights);
        let mut logits = logits.chunks_exact(config.vocab_size as usize);
        for text in &texts {
            for (position, &token) in text.iter().enumerate() {
                let expected = reference.forward(token, position);
                assert_close(logits.next().expect("a row for each token"), expected, 1e-4);
            }
        }
    }
}

#[test]
fn a_decoder_gives_the_logits_of_the_batch() {
    for attention in variants() {
        let config = config(attention);
        let weights = random_weights(&config);
        let texts = [texts(&config).remove(2), texts(&config).remove(2).into_iter().rev().collect()];
        let mut reference = [Reference::new(weights.clone()), Reference::new(weights.clone())];
        let mut decoder = BatchDecoder::new(&weights, texts.len());
        for position in 0..texts[0].len() {
            let tokens: Vec<u32> = texts.iter().map(|text| text[position]).collect();
            let logits = decoder.step(&tokens);
            let logits = logits.chunks_exact(config.vocab_size as usize);
            for ((logits, reference), &token) in logits.zip(&mut reference).zip(&tokens) {
                assert_close(logits, reference.forward(token, position), 1e-4);
            }
        }
    }
}

/// Σ c · x over the residual stream after the last layer and its norm, with random `c`.
struct Loss {
    batch: Batch,
    tokens: Vec<u32>,
    factors: Vec<f32>,
}

impl Loss {
    fn new(config: &LlamaConfig) -> Self {
        let texts = texts(config);
        let batch = Batch::new(config, texts.iter().map(Vec::len).collect());
        let mut random = SplitMix64(3);
        let factors = (0..batch.tokens() * config.hidden_size as usize).map(|_| random.normal()).collect();
        Self { batch, tokens: texts.concat(), factors }
    }

    fn value(&self, weights: &Weights) -> f64 {
        let outputs = self.batch.run(weights, &self.tokens);
        outputs.iter().zip(&self.factors).map(|(x, c)| f64::from(*x) * f64::from(*c)).sum()
    }

    fn gradients(&self, weights: &Weights) -> Vec<(TensorKind, u32, Vec<f32>)> {
        let mut x = self.batch.embed(weights, &self.tokens);
        let traces: Vec<LayerTrace> =
            weights.layers.iter().map(|layer| self.batch.trace_layer(layer, &mut x)).collect();
        let (mut dx, d_norm) = self.batch.head_input_back(weights, &x, &self.factors);
        let mut gradients = vec![(TensorKind::FinalNorm, 0, d_norm)];
        for ((index, layer), trace) in weights.layers.iter().enumerate().zip(&traces).rev() {
            let mut keep = |kind, d: &[f32]| gradients.push((kind, index as u32, d.to_vec()));
            dx = self.batch.layer_back(layer, trace, dx, &mut keep);
        }
        gradients
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for attention in variants() {
        let config = config(attention);
        let mut weights = random_weights(&config);
        let loss = Loss::new(&config);
        let gradients = loss.gradients(&weights);
        let differentiated = gradients.len();
        // All but the embedding table and the head.
        assert_eq!(differentiated, config.tensors().count() - 2);
        for (kind, layer, gradient) in gradients {
            // Along a few random directions, each over the whole tensor.
            let mut random = SplitMix64(4);
            for _ in 0..4 {
                let direction: Vec<f32> = gradient.iter().map(|_| random.normal()).collect();
                let original = weights.tensor(kind, layer).to_vec();
                let step = 1e-2 / (original.len() as f32).sqrt();
                let mut at = |step: f32| {
                    let tensor = weights.tensor_mut(kind, layer);
                    for ((value, original), direction) in tensor.iter_mut().zip(&original).zip(&direction) {
                        *value = original + step * direction;
                    }
                    loss.value(&weights)
                };
                let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
                at(0.0);
                let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                let size = gradient.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
                assert!((slope - expected).abs() < 0.01 * size, "{kind} {layer}: {slope} for {expected}, of {size}");
            }
        }
    }
}
