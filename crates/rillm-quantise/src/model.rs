//! A whole model, quantised tensor by tensor with the inputs that each of them really has.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rayon::prelude::*;
use rillm::format::{Quantisation, TensorKind};

use crate::batch::Batch;
use crate::gptq::Sensitivity;
use crate::mix::Mix;
use crate::rows::{NotFinite, dequantise_row, quantise_row};
use crate::weights::Weights;

/// Passes of coordinate descent after GPTQ.
const PASSES: usize = 4;

/// A tensor as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantisedTensor {
    /// The storage of its values.
    pub quantisation: Quantisation,
    /// The tensor header's exponent: a vector's, or the largest of a matrix's rows.
    pub exponent: i8,
    /// Its rows, one after the other.
    pub rows: Vec<u8>,
}

impl QuantisedTensor {
    /// The float32 values of its rows, which have `cols` values.
    ///
    /// # Panics
    /// Unless `out` has as many values as the tensor.
    pub(crate) fn restore(&self, cols: usize, out: &mut [f32]) {
        let rows = self.rows.par_chunks_exact(self.quantisation.row_len(cols as u32));
        assert_eq!(rows.len() * cols, out.len(), "values of the tensor");
        out.par_chunks_exact_mut(cols).zip(rows).for_each(|(out, row)| {
            dequantise_row(self.quantisation, self.exponent, row, out);
        });
    }
}

/// A model's tensors by kind and layer.
pub type QuantisedModel = HashMap<(TensorKind, u32), QuantisedTensor>;

/// Why a model was not quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ModelError {
    /// A weight is infinite or not a number.
    NotFinite {
        /// The tensor.
        kind: TensorKind,
        /// Its layer; 0 for a tensor outside the layers.
        layer: u32,
        /// The weight's row.
        row: usize,
        /// The weight's column and value.
        found: NotFinite,
    },
    /// The caller's `progress` stopped it.
    Interrupted,
}

/// Progress of quantising a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The tensor that is done.
    pub kind: TensorKind,
    /// Its layer; 0 for a tensor outside the layers.
    pub layer: u32,
    /// Weights of all tensors that are done.
    pub weights_done: usize,
    /// Weights of all tensors.
    pub weights: usize,
}

/// The inputs of a matrix, `[tokens, cols]`.
struct Inputs {
    /// In the float32 model.
    wanted: Vec<f32>,
    /// What the quantised tensors before it leave of them.
    found: Vec<f32>,
}

struct Quantiser<'a, P> {
    mix: Mix,
    group: u32,
    done: QuantisedModel,
    weights: &'a mut Weights,
    progress: P,
    weights_done: usize,
}

/// Quantises a model as `mix` says, in groups of `group` values, and calibrates its int4 matrices with `texts`: GPTQ, tensor
/// after tensor, each with the inputs that the tensors before it leave it when they are quantised, towards its outputs in
/// the float32 model. `weights` become those of the file. The same input gives the same bytes.
///
/// The embedding table, which has no inputs, and int8 matrices take the nearest values. `progress` is called after every
/// tensor, and returns whether to go on.
///
/// Memory, apart from the weights in float32 and the result: the activations of all texts twice, a layer's weights, and one
/// matrix of as many columns and rows as the model's widest matrix has columns, seven times.
///
/// # Errors
/// [`ModelError`].
///
/// # Panics
/// If a text has a token that is not in the vocabulary.
pub fn quantise(
    weights: &mut Weights,
    mix: Mix,
    group: u32,
    texts: &[Vec<u32>],
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<QuantisedModel, ModelError> {
    let config = weights.config.clone();
    let mut quantiser = Quantiser { mix, group, done: QuantisedModel::new(), weights, progress, weights_done: 0 };
    let batch = Batch::new(&config, texts.iter().map(Vec::len).collect());
    let tokens = texts.concat();
    // The residual streams of both models.
    let mut wanted = batch.embed(quantiser.weights, &tokens);
    quantiser.nearest(TensorKind::Embedding, 0)?;
    let mut found = batch.embed(quantiser.weights, &tokens);
    for layer in 0..config.n_layers {
        use TensorKind::*;
        let float = quantiser.layer(layer).clone();
        for kind in [AttentionNorm, MlpNorm, KBias, VBias, QBias, OBias, KNorm, QNorm] {
            if config.tensors().any(|tensor| tensor == (kind, layer)) {
                quantiser.nearest(kind, layer)?;
            }
        }
        let inputs = Inputs {
            wanted: batch.attention_input(&float, &wanted),
            found: batch.attention_input(quantiser.layer(layer), &found),
        };
        quantiser.calibrated(&[KProj, VProj, QProj], layer, &inputs)?;
        let inputs = Inputs {
            wanted: batch.attended(&float, &inputs.wanted),
            found: batch.attended(quantiser.layer(layer), &inputs.found),
        };
        quantiser.calibrated(&[OProj], layer, &inputs)?;
        batch.add_attention(&float, &inputs.wanted, &mut wanted);
        batch.add_attention(quantiser.layer(layer), &inputs.found, &mut found);
        let inputs =
            Inputs { wanted: batch.mlp_input(&float, &wanted), found: batch.mlp_input(quantiser.layer(layer), &found) };
        quantiser.calibrated(&[GateProj, UpProj], layer, &inputs)?;
        let inputs = Inputs {
            wanted: batch.activated(&float, &inputs.wanted),
            found: batch.activated(quantiser.layer(layer), &inputs.found),
        };
        quantiser.calibrated(&[DownProj], layer, &inputs)?;
        batch.add_mlp(&float, &inputs.wanted, &mut wanted);
        batch.add_mlp(quantiser.layer(layer), &inputs.found, &mut found);
    }
    let wanted = batch.head_input(quantiser.weights, &wanted);
    quantiser.nearest(TensorKind::FinalNorm, 0)?;
    let inputs = Inputs { wanted, found: batch.head_input(quantiser.weights, &found) };
    quantiser.calibrated(&[TensorKind::Head], 0, &inputs)?;
    Ok(quantiser.done)
}

impl<P: FnMut(Progress) -> ControlFlow<()>> Quantiser<'_, P> {
    fn layer(&self, layer: u32) -> &crate::weights::Layer {
        &self.weights.layers[layer as usize]
    }

    /// Quantises matrices with the same inputs, with error feedback those of four bits.
    fn calibrated(&mut self, kinds: &[TensorKind], layer: u32, inputs: &Inputs) -> Result<(), ModelError> {
        let (_, cols) = self.weights.config.shape(kinds[0]);
        let mut sensitivity = None;
        for &kind in kinds {
            let quantisation = self.mix.quantisation(kind, self.group);
            let Quantisation::Int4 { group } = quantisation else {
                self.nearest(kind, layer)?;
                continue;
            };
            let sensitivity =
                sensitivity.get_or_insert_with(|| Sensitivity::of(&inputs.wanted, &inputs.found, cols, group as usize));
            let values = self.weights.tensor_mut(kind, layer);
            check_finite(kind, layer, values, cols)?;
            let found = sensitivity.quantise(values, PASSES);
            let row_len = quantisation.row_len(cols as u32);
            let mut rows = vec![0; found.len() * row_len];
            let each = rows.par_chunks_exact_mut(row_len).zip(values.par_chunks_exact_mut(cols)).zip(&found);
            each.for_each(|((row, values), found)| {
                found.emit(row);
                found.restore(values);
            });
            let exponent = found.iter().map(|row| row.exponent).max().unwrap_or(0);
            self.keep(kind, layer, QuantisedTensor { quantisation, exponent, rows })?;
        }
        Ok(())
    }

    /// Quantises a tensor to the nearest values.
    fn nearest(&mut self, kind: TensorKind, layer: u32) -> Result<(), ModelError> {
        let quantisation = self.mix.quantisation(kind, self.group);
        let (_, cols) = self.weights.config.shape(kind);
        let values = self.weights.tensor_mut(kind, layer);
        check_finite(kind, layer, values, cols)?;
        let row_len = quantisation.row_len(cols as u32);
        let mut rows = vec![0; values.len() / cols * row_len];
        let each = rows.par_chunks_exact_mut(row_len).zip(values.par_chunks_exact_mut(cols));
        let exponents = each.map(|(row, values)| {
            let exponent = quantise_row(quantisation, values, row).expect("finite values");
            dequantise_row(quantisation, exponent, row, values);
            exponent
        });
        let exponent = exponents.max().unwrap_or(0);
        self.keep(kind, layer, QuantisedTensor { quantisation, exponent, rows })
    }

    fn keep(&mut self, kind: TensorKind, layer: u32, tensor: QuantisedTensor) -> Result<(), ModelError> {
        let size = |kind| {
            let (rows, cols) = self.weights.config.shape(kind);
            rows * cols
        };
        self.weights_done += size(kind);
        let weights = self.weights.config.tensors().map(|(kind, _)| size(kind)).sum();
        self.done.insert((kind, layer), tensor);
        match (self.progress)(Progress { kind, layer, weights_done: self.weights_done, weights }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ModelError::Interrupted),
        }
    }
}

fn check_finite(kind: TensorKind, layer: u32, values: &[f32], cols: usize) -> Result<(), ModelError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let found = NotFinite { column: at % cols, value: values[at] };
            Err(ModelError::NotFinite { kind, layer, row: at / cols, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use rillm::format::{AttentionExtras, Rope, RopeScaling};

    use super::*;
    use crate::calibration::own_texts;
    use crate::config::LlamaConfig;
    use crate::evaluate::Agreement;
    use crate::matmul::project;
    use crate::mix::Bits;
    use crate::random::SplitMix64;

    /// A random model whose residual stream, and so each matrix's inputs, has a few large dimensions.
    fn random_weights() -> Weights {
        let config = LlamaConfig {
            hidden_size: 64,
            intermediate_size: 96,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            vocab_size: 80,
            context_length: 64,
            attention: AttentionExtras { qkv_bias: true, ..AttentionExtras::default() },
            rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
            rope_divisors: Vec::new(),
            norm_eps: 1e-5,
            tied_embeddings: false,
            bos: Some(1),
            eos: vec![2],
        };
        let mut random = SplitMix64(1);
        Weights::new(&config, |kind, _| {
            let (rows, cols) = config.shape(kind);
            let scale = 1.2 / (cols as f32).sqrt();
            let value = |at: usize| match kind {
                _ if kind.is_norm() => 0.5 + random.uniform(),
                TensorKind::Embedding if at % cols < 4 => 4.0 * random.normal(),
                TensorKind::Embedding => random.normal(),
                _ => scale * random.normal(),
            };
            (0..rows * cols).map(value).collect()
        })
    }

    fn go_on<T>(_: T) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn texts(weights: &Weights, seed: u64) -> Vec<Vec<u32>> {
        own_texts(weights, 0..40, 32, seed, go_on).continue_value().expect("texts")
    }

    /// The mean divergence from a model to another, on text of the first.
    fn divergence(expected: &Weights, found: &Weights) -> f64 {
        let texts = texts(expected, 9);
        let batch = Batch::new(&expected.config, texts.iter().map(Vec::len).collect());
        let (cols, vocab) = expected.config.shape(TensorKind::Head);
        let logits = |weights: &Weights| project(&batch.run(weights, &texts.concat()), &weights.head, vocab);
        let mut agreement = Agreement::default();
        let (expected, found) = (logits(expected), logits(found));
        expected.chunks_exact(cols).zip(found.chunks_exact(cols)).for_each(|(p, q)| agreement.add(p, q));
        agreement.mean_kl()
    }

    #[test]
    fn calibrated_rows_predict_better_than_the_nearest() {
        let weights = random_weights();
        let mut nearest = weights.clone();
        for (kind, layer) in weights.config.tensors().filter(|(kind, _)| !kind.is_vector()) {
            let quantisation = Mix::all(Bits::Four).quantisation(kind, 32);
            let (_, cols) = weights.config.shape(kind);
            let mut row = vec![0; quantisation.row_len(cols as u32)];
            for values in nearest.tensor_mut(kind, layer).chunks_exact_mut(cols) {
                quantise_row(quantisation, values, &mut row).expect("finite values");
                dequantise_row(quantisation, 0, &row, values);
            }
        }
        let mut calibrated = weights.clone();
        quantise(&mut calibrated, Mix::all(Bits::Four), 32, &texts(&weights, 1), go_on).expect("finite weights");
        let (nearest, calibrated) = (divergence(&weights, &nearest), divergence(&weights, &calibrated));
        assert!(calibrated < 0.85 * nearest, "{calibrated} after {nearest}");
    }

    #[test]
    fn the_rows_are_the_weights_and_of_the_widths_asked_for() {
        let mut weights = random_weights();
        let mix = Mix { head: Bits::Four, ..Mix::all(Bits::Eight) };
        let (mut last, texts) = (None, texts(&weights, 1));
        let quantised = quantise(&mut weights, mix, 32, &texts, |progress| {
            last = Some(progress);
            go_on(())
        });
        let quantised = quantised.expect("finite weights");
        let tensors: Vec<_> = weights.config.tensors().collect();
        assert_eq!(quantised.len(), tensors.len());
        assert!(last.is_some_and(|last| last.weights_done == last.weights));
        for (kind, layer) in tensors {
            let tensor = &quantised[&(kind, layer)];
            let is_int4 = matches!(tensor.quantisation, Quantisation::Int4 { group: 32 });
            assert_eq!(is_int4, kind == TensorKind::Head, "{kind}");
            let (_, cols) = weights.config.shape(kind);
            let rows = tensor.rows.chunks_exact(tensor.quantisation.row_len(cols as u32));
            let mut restored = vec![0.0; cols];
            for (row, values) in rows.zip(weights.tensor_mut(kind, layer).chunks_exact(cols)) {
                dequantise_row(tensor.quantisation, tensor.exponent, row, &mut restored);
                assert_eq!(restored, values, "{kind}");
            }
        }
    }

    #[test]
    fn what_cannot_be_quantised_and_who_breaks_off() {
        let weights = random_weights();
        let texts = texts(&weights, 1);
        let mut damaged = weights.clone();
        damaged.tensor_mut(TensorKind::UpProj, 1)[64 * 3 + 5] = f32::NAN;
        let error = quantise(&mut damaged, Mix::all(Bits::Four), 32, &texts, go_on).expect_err("a weight is damaged");
        let ModelError::NotFinite { kind, layer, row, found } = error else { panic!("{error:?}") };
        assert_eq!((kind, layer, row, found.column), (TensorKind::UpProj, 1, 3, 5));
        let error = quantise(&mut weights.clone(), Mix::all(Bits::Four), 32, &texts, |_| ControlFlow::Break(()));
        assert_eq!(error, Err(ModelError::Interrupted));
    }
}
