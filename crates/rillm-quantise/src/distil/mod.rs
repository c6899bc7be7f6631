//! Distillation: scales, norms and biases of a quantised model are trained towards the float model's predictions.
//!
//! The loss is the mean `KL(float ‖ quantised)` over texts, its gradients those of [`Batch`], the steps Adam's. The levels of
//! the weights stay as they are, so that the file keeps its size. A part of the texts is held out, and the best parameters
//! on it are kept: the result is never worse there than the start.

mod adam;
mod head;
mod student;

use std::ops::ControlFlow;

use rillm::format::TensorKind;

use self::head::{Head, divergence};
use self::student::Student;
use crate::batch::Batch;
use crate::config::LlamaConfig;
use crate::model::QuantisedModel;
use crate::random::SplitMix64;
use crate::weights::Weights;

/// Tokens that run through a model together: their activations of all layers are in memory.
const PASS_TOKENS: usize = 512;
/// Longer texts are cut into pieces of at most as many tokens, each from the first position.
const PIECE: usize = 256;
/// One text of so many is held out, up to a number of tokens.
const HELD_OUT: usize = 8;
const HELD_OUT_TOKENS: usize = 2048;
/// Times that the held-out texts are looked at.
const EVALUATIONS: u32 = 8;
/// By what the rate is multiplied when they are no better than before; the training then goes on from what was best. A model
/// that has little to gain needs a slow rate: at a fast one, the noise of the gradients costs more than it gains.
const SLOWER: f32 = 0.25;
/// The share of the steps in which the rate grows to its full size.
const WARM_UP: f32 = 0.1;

/// How long and how fast to train.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Adam's steps.
    pub steps: u32,
    /// Tokens of a step.
    pub tokens: usize,
    /// The largest step of a parameter. It is about the relative change of a scale in one step.
    pub rate: f32,
}

impl Schedule {
    /// A schedule for a model with these dimensions: 240 steps for small ones, and for large ones as many as take about ten
    /// minutes on two cores.
    pub fn for_model(config: &LlamaConfig) -> Self {
        /// Multiplications of all steps together.
        const WORK: u64 = 12_000_000_000_000;
        const TOKENS: usize = 512;
        let size = |kind| {
            let (rows, cols) = config.shape(kind);
            rows * cols
        };
        let weights: usize =
            config.tensors().filter(|&(kind, _)| kind != TensorKind::Embedding).map(|(kind, _)| size(kind)).sum();
        // A weight is multiplied by a token's values forwards, backwards, and for its gradient.
        let steps = WORK / (3 * weights as u64 * TOKENS as u64);
        Self { steps: steps.clamp(24, 240) as u32, tokens: TOKENS, rate: 5e-3 }
    }
}

/// How far distillation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps that are done.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// The mean divergence of the best parameters so far on the held-out texts, in nats.
    pub divergence: f64,
}

/// What distillation has gained: the mean divergence on the held-out texts, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Before.
    pub before: f64,
    /// Afterwards, with scales and norms as the file holds them.
    pub after: f64,
}

/// A piece of a text, and the inputs of the float model's head over it.
struct Piece {
    tokens: Vec<u32>,
    float_inputs: Vec<f32>,
}

/// Distils `model`, whose float32 values are `weights`: both change.
///
/// `progress` is told after each step, and may end the training: what was found until then is kept. The same input gives the
/// same bytes.
///
/// # Panics
/// If there are fewer than two texts, an empty one, or one with a token outside the vocabulary.
pub fn distil(
    float: &Weights,
    weights: &mut Weights,
    model: &mut QuantisedModel,
    texts: &[Vec<u32>],
    schedule: Schedule,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Gain {
    assert!(texts.len() >= 2, "one text to train with, one to judge by");
    let mut student = Student::new(weights, model);
    let (training, held_out) = split(float, texts);
    let before = mean_divergence(float, student.weights, &held_out);
    let mut best = (before, student.parameters());
    let mut slowed = 1.0;
    let mut order = Order { random: SplitMix64(1), left: vec![], pieces: training.len() };
    for step in 1..=schedule.steps {
        let mut chosen = vec![];
        let mut tokens = 0;
        while tokens < schedule.tokens {
            let piece = &training[order.next()];
            tokens += piece.tokens.len();
            chosen.push(piece);
        }
        for pass in passes(chosen) {
            let batch = batch_of(float, &pass);
            let (ids, float_inputs) = joined(&pass);
            student.add_gradients(&batch, &ids, (&float_inputs, &float.head), tokens);
        }
        student.step(slowed * rate(schedule, step));
        if step % schedule.steps.div_ceil(EVALUATIONS) == 0 || step == schedule.steps {
            let divergence = mean_divergence(float, student.weights, &held_out);
            if divergence < best.0 {
                best = (divergence, student.parameters());
            } else {
                student.restart(&best.1);
                slowed *= SLOWER;
            }
        }
        if progress(Progress { step, steps: schedule.steps, divergence: best.0 }).is_break() {
            break;
        }
    }
    let mut distilled = model.clone();
    student.keep(&best.1, &mut distilled);
    let after = mean_divergence(float, student.weights, &held_out);
    if after < before {
        *model = distilled;
        return Gain { before, after };
    }
    for (&(kind, layer), tensor) in &*model {
        let (_, cols) = weights.config.shape(kind);
        tensor.restore(cols, weights.tensor_mut(kind, layer));
    }
    Gain { before, after: before }
}

/// A linear rise, then half a cosine down to zero (Loshchilov & Hutter, 2017).
fn rate(schedule: Schedule, step: u32) -> f32 {
    let done = step as f32 / schedule.steps as f32;
    if done < WARM_UP {
        return schedule.rate * done / WARM_UP;
    }
    let falling = f64::from((done - WARM_UP) / (1.0 - WARM_UP));
    schedule.rate * (0.5 + 0.5 * libm::cos(std::f64::consts::PI * falling)) as f32
}

/// The pieces to train with, and those to judge by.
fn split(float: &Weights, texts: &[Vec<u32>]) -> (Vec<Piece>, Vec<Piece>) {
    let (mut training, mut held_out) = (vec![], vec![]);
    let mut tokens = 0;
    for (index, text) in texts.iter().enumerate() {
        let hold = index % HELD_OUT == 0 && tokens < HELD_OUT_TOKENS;
        let pieces = text.chunks(PIECE).map(|tokens| Piece { tokens: tokens.to_vec(), float_inputs: vec![] });
        if hold {
            tokens += text.len();
            held_out.extend(pieces);
        } else {
            training.extend(pieces);
        }
    }
    for piece in training.iter_mut().chain(&mut held_out) {
        let batch = Batch::new(&float.config, vec![piece.tokens.len()]);
        piece.float_inputs = batch.run(float, &piece.tokens);
    }
    (training, held_out)
}

fn mean_divergence(float: &Weights, student: &Weights, pieces: &[Piece]) -> f64 {
    let hidden_size = float.config.hidden_size as usize;
    let mut sum = 0.0;
    for pass in passes(pieces.iter().collect()) {
        let (tokens, float_inputs) = joined(&pass);
        let inputs = batch_of(float, &pass).run(student, &tokens);
        let float = Head { inputs: &float_inputs, weights: &float.head, hidden_size };
        sum += divergence(float, Head { inputs: &inputs, weights: &student.head, hidden_size });
    }
    sum / pieces.iter().map(|piece| piece.tokens.len()).sum::<usize>() as f64
}

/// Pieces that run together.
fn passes(pieces: Vec<&Piece>) -> Vec<Vec<&Piece>> {
    let mut passes: Vec<Vec<&Piece>> = vec![];
    let mut room = 0;
    for piece in pieces {
        match passes.last_mut() {
            Some(pass) if piece.tokens.len() <= room => pass.push(piece),
            _ => {
                passes.push(vec![piece]);
                room = PASS_TOKENS;
            }
        }
        room -= piece.tokens.len();
    }
    passes
}

fn batch_of(float: &Weights, pass: &[&Piece]) -> Batch {
    Batch::new(&float.config, pass.iter().map(|piece| piece.tokens.len()).collect())
}

fn joined(pass: &[&Piece]) -> (Vec<u32>, Vec<f32>) {
    let tokens = pass.iter().flat_map(|piece| &piece.tokens).copied().collect();
    (tokens, pass.iter().flat_map(|piece| &piece.float_inputs).copied().collect())
}

/// All pieces in a random order, then all in another one.
struct Order {
    random: SplitMix64,
    left: Vec<usize>,
    pieces: usize,
}

impl Order {
    fn next(&mut self) -> usize {
        if self.left.is_empty() {
            self.left = (0..self.pieces).collect();
        }
        let at = self.random.next_u64() % self.left.len() as u64;
        self.left.swap_remove(at as usize)
    }
}

#[cfg(test)]
mod tests;
