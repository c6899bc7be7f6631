//! What a layer does apart from matrix products and attention, forwards and backwards, on matrices with a row for each
//! token. Formulas are those of [`reference`](crate::reference).

use std::ops::Range;

use rayon::prelude::*;

use crate::config::LlamaConfig;
use crate::matmul::dot;
use crate::rope;

/// Values of a task, so that small matrices are not cut up.
const TASK: usize = 1 << 14;

/// The rotary embedding's sines and cosines for a range of positions.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    head_dim: usize,
    /// `(sin, cos)`, `[positions, head_dim / 2]`.
    turns: Vec<(f32, f32)>,
}

impl Rotation {
    pub fn new(config: &LlamaConfig, positions: Range<usize>) -> Self {
        let frequencies = rope::frequencies(&config.rope, &config.rope_divisors, config.head_dim);
        let turns = positions
            .flat_map(|position| frequencies.iter().map(move |frequency| libm::sincos(frequency * position as f64)))
            .map(|(sin, cos)| (sin as f32, cos as f32))
            .collect();
        Self { head_dim: config.head_dim as usize, turns }
    }

    /// Rotates the pair `(i, i + head_dim / 2)` of every head. Each sequence starts at the first position of the range.
    pub fn apply(&self, heads: &mut [f32], lengths: &[usize]) {
        self.rotate(heads, lengths, 1.0);
    }

    /// The gradient before the rotation, of that after it: the rotation back.
    pub fn apply_back(&self, heads: &mut [f32], lengths: &[usize]) {
        self.rotate(heads, lengths, -1.0);
    }

    fn rotate(&self, heads: &mut [f32], lengths: &[usize], direction: f32) {
        let width = heads.len() / lengths.iter().sum::<usize>().max(1);
        let half = self.head_dim / 2;
        let mut rows = heads.chunks_exact_mut(width);
        for &length in lengths {
            for turns in self.turns.chunks_exact(half).take(length) {
                let row = rows.next().expect("a row for each token");
                for head in row.chunks_exact_mut(self.head_dim) {
                    let (first, second) = head.split_at_mut(half);
                    for ((a, b), &(sin, cos)) in first.iter_mut().zip(second).zip(turns) {
                        let sin = direction * sin;
                        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                    }
                }
            }
        }
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` for each row of `x`, which is as long as `weight`.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    rows(&mut y, weight.len()).zip(x.par_chunks_exact(weight.len())).for_each(|(y, x)| {
        let scale = inverse_root(x, eps);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = weight * (x * scale);
        }
    });
    y
}

/// The gradients of [`rms_norm`]'s input and weight, of that of its result.
///
/// With `s = 1 / sqrt(mean(x²) + eps)` and `g = weight · dy`: `dx = s · g - x · s³ · mean(g · x)`, and the weight's is
/// `Σ dy · x · s` over the rows.
pub(super) fn rms_norm_back(x: &[f32], weight: &[f32], eps: f32, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let n = weight.len();
    let mut dx = vec![0.0; x.len()];
    rows(&mut dx, n).zip(x.par_chunks_exact(n)).zip(dy.par_chunks_exact(n)).for_each(|((dx, x), dy)| {
        for ((dx, weight), dy) in dx.iter_mut().zip(weight).zip(dy) {
            *dx = weight * dy;
        }
        let scale = inverse_root(x, eps);
        let along = dot(dx, x) / n as f32 * (scale * scale * scale);
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = *dx * scale - x * along;
        }
    });
    let mut d_weight = vec![0.0; n];
    for (x, dy) in x.chunks_exact(n).zip(dy.chunks_exact(n)) {
        let scale = inverse_root(x, eps);
        for ((sum, x), dy) in d_weight.iter_mut().zip(x).zip(dy) {
            *sum += dy * (x * scale);
        }
    }
    (dx, d_weight)
}

fn inverse_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// `silu(gate) · up`, where `silu(x) = x / (1 + e^-x)`.
pub(super) fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = up.to_vec();
    y.par_iter_mut().with_min_len(TASK).zip(gate).for_each(|(y, &gate)| *y *= gate * sigmoid(gate));
    y
}

/// The gradients of [`swiglu`]'s gate and up, of that of its result.
///
/// With `σ = 1 / (1 + e^-gate)`: `dgate = dy · up · σ · (1 + gate · (1 - σ))`, `dup = dy · gate · σ`.
pub(super) fn swiglu_back(gate: &[f32], up: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut d_gate, mut d_up) = (vec![0.0; dy.len()], vec![0.0; dy.len()]);
    let outputs = d_gate.par_iter_mut().with_min_len(TASK).zip(&mut d_up);
    outputs.zip(gate).zip(up).zip(dy).for_each(|((((d_gate, d_up), &gate), up), dy)| {
        let sigmoid = sigmoid(gate);
        *d_gate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
        *d_up = dy * gate * sigmoid;
    });
    (d_gate, d_up)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Turns logits into probabilities, and returns the logarithm of the sum of their exponentials.
///
/// # Panics
/// If there are none.
pub fn softmax(x: &mut [f32]) -> f64 {
    let max = x.iter().copied().reduce(f32::max).expect("logits");
    x.iter_mut().for_each(|x| *x = exp(*x - max));
    let sum = sum(x);
    let scale = 1.0 / sum;
    x.iter_mut().for_each(|x| *x *= scale);
    f64::from(max) + libm::log(f64::from(sum))
}

/// The sum, in sixteen partial sums.
fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += chunk[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// `e^x` with a relative error below 2^-22, of `x` clamped to −87 … 88, in operations that every machine rounds alike
/// and that the compiler turns into vector instructions.
///
/// Cody & Waite's reduction, `x = n · ln 2 + r` with `|r| <= ln 2 / 2`, and the polynomial of Moshier's Cephes (`expf`).
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 · 2^23: adding it rounds to an integer, which is then in the sum's lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few bits, so that its product with `n` is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let polynomial = POLYNOMIAL.iter().fold(0.0, |sum, term| sum * r + term);
    // ROUND's own bits are shifted out.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    (polynomial * (r * r) + r + 1.0) * power
}

/// Adds `y` to `x`.
pub(super) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Adds a bias to every row of `x`.
pub(super) fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        add(row, bias);
    }
}

/// The sum of the rows, which have `cols` values: the gradient of a bias.
pub(super) fn sum_rows(x: &[f32], cols: usize) -> Vec<f32> {
    let mut sums = vec![0.0; cols];
    for row in x.chunks_exact(cols) {
        add(&mut sums, row);
    }
    sums
}

fn rows(values: &mut [f32], cols: usize) -> impl IndexedParallelIterator<Item = &mut [f32]> {
    values.par_chunks_exact_mut(cols).with_min_len(TASK.div_ceil(cols))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close() {
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0 + 0.000_37;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 1.0 / f64::from(1 << 22), "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37 && exp(1e30) > 1e38);
    }

    #[test]
    fn softmax_sums_to_one() {
        let mut x = [1000.0, 999.0, -1000.0];
        let log_sum = softmax(&mut x);
        assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(x[0] > x[1] && x[2] < 1e-30);
        assert!((log_sum - (1000.0 + (1.0 + (-1f64).exp()).ln())).abs() < 1e-6);
    }
}
