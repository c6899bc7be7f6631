//! The loss at the logits, and its gradient.

use rayon::prelude::*;

use crate::batch::softmax;
use crate::matmul::{outer, project, project_back};

/// Positions whose logits are in memory at a time: 100 MB for each of two models of 49,152 tokens.
const POSITIONS: usize = 512;

/// A model's head, and the inputs that it is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// `[positions, hidden_size]`
    pub inputs: &'a [f32],
    /// `[vocab_size, hidden_size]`
    pub weights: &'a [f32],
    pub hidden_size: usize,
}

impl Head<'_> {
    fn blocks(&self) -> impl Iterator<Item = (&[f32], Vec<f32>)> {
        let blocks = self.inputs.chunks(POSITIONS * self.hidden_size);
        blocks.map(|inputs| (inputs, project(inputs, self.weights, self.hidden_size)))
    }

    fn vocab_size(&self) -> usize {
        self.weights.len() / self.hidden_size
    }
}

/// The sum of `KL(float ‖ student)` over the positions, in nats.
pub(super) fn divergence(float: Head, student: Head) -> f64 {
    let blocks = float.blocks().zip(student.blocks());
    blocks.map(|((_, mut p), (_, mut q))| divergences(&mut p, &mut q, float.vocab_size()).iter().sum::<f64>()).sum()
}

/// [`divergence`] and the gradient of the student's inputs, `[positions, hidden_size]`. `head_gradient` receives that of
/// its head, `[vocab_size, hidden_size]`, of some positions at a time.
pub(super) fn divergence_back(float: Head, student: Head, head_gradient: &mut impl FnMut(&[f32])) -> (f64, Vec<f32>) {
    let (vocab_size, hidden_size) = (student.vocab_size(), student.hidden_size);
    let (mut sum, mut d_inputs) = (0.0, Vec::with_capacity(student.inputs.len()));
    for ((_, mut p), (inputs, mut q)) in float.blocks().zip(student.blocks()) {
        sum += divergences(&mut p, &mut q, vocab_size).iter().sum::<f64>();
        // The derivative by the student's logits is Q - P.
        q.par_iter_mut().with_min_len(1 << 14).zip(&p).for_each(|(q, p)| *q -= p);
        head_gradient(&outer(&q, inputs, vocab_size, hidden_size));
        d_inputs.extend(project_back(&q, student.weights, hidden_size));
    }
    (sum, d_inputs)
}

/// Turns logits into the probabilities P and Q, and gives `KL(P ‖ Q)` of each row.
fn divergences(p: &mut [f32], q: &mut [f32], vocab_size: usize) -> Vec<f64> {
    let rows = p.par_chunks_exact_mut(vocab_size).zip(q.par_chunks_exact_mut(vocab_size));
    rows.map(|(p, q)| {
        let differences: Vec<f32> = p.iter().zip(&*q).map(|(p, q)| p - q).collect();
        let (p_log_sum, q_log_sum) = (softmax(p), softmax(q));
        let mean: f64 = p.iter().zip(&differences).map(|(&p, &d)| f64::from(p) * f64::from(d)).sum();
        mean + (q_log_sum - p_log_sum)
    })
    .collect()
}
