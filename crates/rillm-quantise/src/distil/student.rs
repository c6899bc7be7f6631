//! The model that is distilled: its weights, and what may change of them.

use std::collections::HashMap;

use rayon::prelude::*;
use rillm::format::{Quantisation, TensorKind};

use super::adam::Parameters;
use super::head::{Head, divergence_back};
use crate::batch::{Batch, LayerTrace};
use crate::matmul::dot;
use crate::model::{QuantisedModel, QuantisedTensor};
use crate::rows::{quantise_fixed32, rescale_row};
use crate::weights::Weights;

/// The parameters of each trained tensor: of a matrix row after row.
pub(super) type ParametersOf = HashMap<(TensorKind, u32), Vec<f32>>;

/// Rows of a matrix whose groups one task treats.
const TASK_ROWS: usize = 16;

/// A quantised model in float32, whose scales, norms and biases can be trained.
///
/// A matrix has a parameter for each group, the logarithm of the factor of the group's scale. A norm or bias has one for
/// each value: what is added to it, in units of the root of the tensor's mean square. So one rate fits all of them.
pub(super) struct Student<'a> {
    pub weights: &'a mut Weights,
    tensors: HashMap<(TensorKind, u32), Trained>,
}

/// The trained part of a tensor.
struct Trained {
    parameters: Parameters,
    /// What the parameters of the last update were.
    applied: Vec<f32>,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    /// Scales of groups of `group` values in rows of `cols`.
    Scales { cols: usize, group: usize },
    /// Values, in units of `unit`.
    Values { unit: f32 },
}

impl<'a> Student<'a> {
    /// A student with these weights, the float32 values of `model`. The embedding table stays as it is: most tokens occur
    /// too rarely to train their rows.
    pub fn new(weights: &'a mut Weights, model: &QuantisedModel) -> Self {
        let tensors =
            model.iter().filter(|((kind, _), _)| *kind != TensorKind::Embedding).map(|(&(kind, layer), tensor)| {
                let (rows, cols) = weights.config.shape(kind);
                let part = match tensor.quantisation {
                    Quantisation::Fixed32 => Part::Values { unit: root_mean_square(weights.tensor(kind, layer)) },
                    Quantisation::Int8 { group } | Quantisation::Int4 { group } => {
                        Part::Scales { cols, group: group as usize }
                    }
                };
                let len = match part {
                    Part::Values { .. } => cols,
                    Part::Scales { group, .. } => rows * cols.div_ceil(group),
                };
                ((kind, layer), Trained { parameters: Parameters::zeros(len), applied: vec![0.0; len], part })
            });
        Self { tensors: tensors.collect(), weights }
    }

    /// Adds to the gradients those of the mean `KL(float ‖ student)` over `positions`, of which `tokens` are some, and
    /// returns the sum of their divergences. `float_inputs` are those of the float model's head.
    pub fn add_gradients(
        &mut self,
        batch: &Batch,
        tokens: &[u32],
        (float_inputs, float_head): (&[f32], &[f32]),
        positions: usize,
    ) -> f64 {
        let Self { weights, tensors } = self;
        let hidden_size = weights.config.hidden_size as usize;
        let share = 1.0 / positions as f32;
        let mut add = |kind, layer, weights: &[f32], gradient: &[f32]| {
            tensors.get_mut(&(kind, layer)).expect("a tensor of the model").add_gradient(weights, gradient, share);
        };

        let mut x = batch.embed(weights, tokens);
        let traces: Vec<LayerTrace> = weights.layers.iter().map(|layer| batch.trace_layer(layer, &mut x)).collect();
        let inputs = batch.head_input(weights, &x);
        let float = Head { inputs: float_inputs, weights: float_head, hidden_size };
        let student = Head { inputs: &inputs, weights: &weights.head, hidden_size };
        let mut head_gradient = |gradient: &[f32]| add(TensorKind::Head, 0, &weights.head, gradient);
        let (divergence, d_inputs) = divergence_back(float, student, &mut head_gradient);
        let (mut dx, d_norm) = batch.head_input_back(weights, &x, &d_inputs);
        add(TensorKind::FinalNorm, 0, &weights.norm, &d_norm);
        for ((index, layer), trace) in weights.layers.iter().enumerate().zip(&traces).rev() {
            let mut gradient = |kind, gradient: &[f32]| {
                add(kind, index as u32, weights.tensor(kind, index as u32), gradient);
            };
            dx = batch.layer_back(layer, trace, dx, &mut gradient);
        }
        divergence
    }

    /// A step against the gradients.
    pub fn step(&mut self, rate: f32) {
        for (&(kind, layer), trained) in &mut self.tensors {
            trained.parameters.step(rate);
            trained.apply(self.weights.tensor_mut(kind, layer));
        }
    }

    /// The parameters of every trained tensor.
    pub fn parameters(&self) -> ParametersOf {
        self.tensors.iter().map(|(&key, trained)| (key, trained.parameters.values.clone())).collect()
    }

    /// Starts anew from these parameters.
    pub fn restart(&mut self, parameters: &ParametersOf) {
        for (key, parameters) in parameters {
            let trained = self.tensors.get_mut(key).expect("a trained tensor");
            trained.parameters = Parameters::at(parameters);
            trained.apply(self.weights.tensor_mut(key.0, key.1));
        }
    }

    #[cfg(test)]
    pub fn gradients(&self) -> ParametersOf {
        self.tensors.iter().map(|(&key, trained)| (key, trained.parameters.gradient.clone())).collect()
    }

    /// Puts parameters into `model`, of which the student was made, rounded as the file holds them, and into the weights.
    pub fn keep(&mut self, parameters: &ParametersOf, model: &mut QuantisedModel) {
        for (key, parameters) in parameters {
            let (tensor, trained) = (model.get_mut(key).expect("a tensor of the model"), &self.tensors[key]);
            trained.part.put(parameters, tensor);
            let (_, cols) = self.weights.config.shape(key.0);
            tensor.restore(cols, self.weights.tensor_mut(key.0, key.1));
        }
    }
}

impl Trained {
    fn add_gradient(&mut self, weights: &[f32], gradient: &[f32], share: f32) {
        let sums = &mut self.parameters.gradient;
        match self.part {
            // The derivative of a weight by the logarithm of its scale is the weight.
            Part::Scales { cols, group } => {
                let groups = cols.div_ceil(group);
                let rows = weights.par_chunks_exact(cols).zip(gradient.par_chunks_exact(cols));
                sums.par_chunks_exact_mut(groups).zip(rows).with_min_len(TASK_ROWS).for_each(|(sums, (w, d))| {
                    for ((sum, w), d) in sums.iter_mut().zip(w.chunks(group)).zip(d.chunks(group)) {
                        *sum += share * dot(w, d);
                    }
                });
            }
            Part::Values { unit } => {
                for (sum, d) in sums.iter_mut().zip(gradient) {
                    *sum += share * unit * d;
                }
            }
        }
    }

    /// Changes the weights by what the parameters have changed since the last time.
    fn apply(&mut self, weights: &mut [f32]) {
        let parameters = &self.parameters.values;
        match self.part {
            Part::Scales { cols, group } => {
                let groups = cols.div_ceil(group);
                let changes = parameters.par_chunks_exact(groups).zip(self.applied.par_chunks_exact(groups));
                weights.par_chunks_exact_mut(cols).zip(changes).with_min_len(TASK_ROWS).for_each(
                    |(row, (to, from))| {
                        for ((weights, to), from) in row.chunks_mut(group).zip(to).zip(from) {
                            let factor = libm::expf(to - from);
                            weights.iter_mut().for_each(|weight| *weight *= factor);
                        }
                    },
                );
            }
            Part::Values { unit } => {
                for ((weight, to), from) in weights.iter_mut().zip(parameters).zip(&self.applied) {
                    *weight += unit * (to - from);
                }
            }
        }
        self.applied.copy_from_slice(parameters);
    }
}

impl Part {
    fn put(self, parameters: &[f32], tensor: &mut QuantisedTensor) {
        match self {
            Self::Scales { cols, group } => {
                let row_len = tensor.quantisation.row_len(cols as u32);
                let rows = tensor.rows.par_chunks_exact_mut(row_len);
                let exponents = rows.zip(parameters.par_chunks_exact(cols.div_ceil(group))).map(|(row, parameters)| {
                    let factors: Vec<f32> = parameters.iter().map(|&parameter| libm::expf(parameter)).collect();
                    rescale_row(tensor.quantisation, cols, row, &factors)
                });
                tensor.exponent = exponents.max().unwrap_or(0);
            }
            Self::Values { unit } => {
                let mut values = vec![0.0; parameters.len()];
                tensor.restore(parameters.len(), &mut values);
                for (value, parameter) in values.iter_mut().zip(parameters) {
                    *value += unit * parameter;
                }
                tensor.exponent = quantise_fixed32(&values, &mut tensor.rows).expect("finite values");
            }
        }
    }
}

fn root_mean_square(values: &[f32]) -> f32 {
    (dot(values, values) / values.len() as f32).sqrt()
}
