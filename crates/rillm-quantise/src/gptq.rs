//! GPTQ (Frantar et al., 2022, arXiv 2210.17323): a matrix is quantised column by column, and what a column's rounding does
//! to the outputs is made up for by the columns after it.
//!
//! With `e = w - q` the error of a row's weights and `H` the mean of `x · xᵀ` over the inputs `x` of the matrix, the mean squared
//! error of the row's output is `e H eᵀ`. With the factors `H = R Rᵀ`, R an upper triangle, it is `|e R|²`, and element *k* of
//! `e R` depends on columns up to *k* only:
//!
//! `(e R)_k = R_kk · (w_k + Σ_{i<k} e_i · R_ik / R_kk - q_k)`
//!
//! So column *k* takes the level nearest to its *target* `w_k + Σ e_i R_ik / R_kk`, front to back. This is GPTQ without the
//! inverse of H: its update is the same number. A group's scale is the one of sixteen of each sign that leaves the least of the
//! sum when the whole group is quantised with it.
//!
//! The inputs are those of the quantised model, `x'`, and the outputs that are wanted are the float model's, `W x`. Before all that
//! W becomes the matrix that is nearest to them, `W + W C H⁻¹` with the mean `C` of `(x - x') x'ᵀ`: it makes up for the errors
//! of the tensors before it (GPTAQ, Li et al., 2025, arXiv 2504.02692, has the same aim).
//!
//! Then columns are taken up again in turn, against all others (coordinate descent, as in QuantEase, arXiv 2309.01885): each
//! group's scale and each nibble that lowers `e H eᵀ` when it is changed alone.

use std::ops::Range;

use rayon::prelude::*;
use rillm::format::INT4_LEVELS;

use crate::matmul::outer;
use crate::rows::INT4_S_MAX;
use crate::rows::int4::{Int4Row, nearest, nearest_level, needed_scales};

/// The share of the mean diagonal that is added to the diagonal of H, as in the paper: inputs that the calibration text lacks
/// are not free.
const DAMPING: f64 = 0.01;
/// Scales that are tried for a group at a time, one in each lane of the arithmetic: the first half positive, the second
/// negative.
const LANES: usize = 32;
/// The shares of the scale that clips nothing between which they lie.
const SHARES: [f32; 2] = [0.66, 1.11];
/// Rows that are quantised together, so that a panel of R is used for all of them.
const TASK_ROWS: usize = 16;

/// What the inputs of a matrix say about its errors: `H` and its factor.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    cols: usize,
    group: usize,
    /// H with damping, `[cols, cols]`.
    hessian: Vec<f32>,
    /// C, `[cols, cols]`.
    drift: Vec<f32>,
    /// R in the upper triangle, `[cols, cols]`; below it are other numbers.
    root: Vec<f64>,
    /// `R_kk`, `[cols]`.
    diagonal: Vec<f32>,
    /// `R_ik / R_kk`: for each group a panel `[columns up to the group's end, group]`; zero where `i >= k`.
    panels: Vec<Vec<f32>>,
}

impl Sensitivity {
    /// From the inputs of a matrix in the float model, `wanted`, and in the quantised one, `found`, each `[tokens, cols]`.
    /// `group` is the number of values that share a scale.
    ///
    /// # Panics
    /// Unless both have as many whole rows of finite values.
    pub fn of(wanted: &[f32], found: &[f32], cols: usize, group: usize) -> Self {
        assert_eq!(wanted.len(), found.len(), "inputs of a matrix");
        let difference: Vec<f32> = wanted.iter().zip(found).map(|(wanted, found)| wanted - found).collect();
        Self::new(outer(found, found, cols, cols), outer(&difference, found, cols, cols), cols, group)
    }

    /// From sums, instead of means, H and C: a factor of both changes nothing.
    fn new(mut hessian: Vec<f32>, drift: Vec<f32>, cols: usize, group: usize) -> Self {
        let trace: f64 = (0..cols).map(|k| f64::from(hessian[k * cols + k])).sum();
        // Inputs that are all zero leave a matrix that maps nothing: any diagonal will do.
        let damping = if trace > 0.0 { DAMPING * trace / cols as f64 } else { 1.0 };
        for k in 0..cols {
            hessian[k * cols + k] += damping as f32;
        }
        let root = factor(&hessian, cols);
        let diagonal: Vec<f64> = (0..cols).map(|k| root[k * cols + k]).collect();
        let panels = (0..cols).step_by(group).map(|first| {
            let end = cols.min(first + group);
            let mut panel = vec![0.0; end * group];
            for (i, row) in panel.chunks_exact_mut(group).enumerate() {
                for k in first.max(i + 1)..end {
                    row[k - first] = (root[i * cols + k] / diagonal[k]) as f32;
                }
            }
            panel
        });
        let panels: Vec<_> = panels.collect();
        let diagonal = diagonal.iter().map(|&r| r as f32).collect();
        Self { cols, group, hessian, drift, root, diagonal, panels }
    }

    /// Quantises a matrix, `[rows, cols]` of finite values, to int4, with `passes` of coordinate descent.
    pub(crate) fn quantise(&self, weights: &[f32], passes: usize) -> Vec<Int4Row> {
        let tasks = weights.par_chunks(TASK_ROWS * self.cols).map(|weights| {
            let weights = self.corrected(weights);
            let mut rows: Vec<Row> = weights.chunks_exact(self.cols).map(|row| Row::new(row, self.group)).collect();
            for group in 0..self.panels.len() {
                rows.iter_mut().for_each(|row| row.quantise_group(self, group));
            }
            if passes > 0 {
                self.gradients(&mut rows);
            }
            for row in &mut rows {
                for _ in 0..passes {
                    (0..self.panels.len()).for_each(|group| row.improve_group(self, group));
                }
            }
            rows.into_iter().map(|row| row.found).collect()
        });
        tasks.collect::<Vec<Vec<Int4Row>>>().concat()
    }

    /// `W + W C H⁻¹` for some rows of W.
    fn corrected(&self, weights: &[f32]) -> Vec<f32> {
        let cols = self.cols;
        let mut product = vec![0.0; weights.len()];
        for (k, drift) in self.drift.chunks_exact(cols).enumerate() {
            for (product, weights) in product.chunks_exact_mut(cols).zip(weights.chunks_exact(cols)) {
                add_scaled(product, weights[k], drift);
            }
        }
        // Each row z H = W C of the equation is R (Rᵀ zᵀ) = (W C)ᵀ: from the last column to the first, and back.
        let mut z: Vec<f64> = product.into_iter().map(f64::from).collect();
        for k in (0..cols).rev() {
            let (diagonal, after) = self.root[k * cols + k..(k + 1) * cols].split_first().expect("the diagonal");
            for z in z.chunks_exact_mut(cols) {
                z[k] = (z[k] - dot(after, &z[k + 1..])) / diagonal;
            }
        }
        for k in 0..cols {
            let (diagonal, after) = self.root[k * cols + k..(k + 1) * cols].split_first().expect("the diagonal");
            for z in z.chunks_exact_mut(cols) {
                let (done, rest) = z.split_at_mut(k + 1);
                done[k] /= diagonal;
                rest.iter_mut().zip(after).for_each(|(rest, after)| *rest -= done[k] * after);
            }
        }
        weights.iter().zip(z).map(|(&weight, z)| (f64::from(weight) + z) as f32).collect()
    }

    /// Sets the rows' gradients, `e H`.
    fn gradients(&self, rows: &mut [Row]) {
        for (column, hessian) in self.hessian.chunks_exact(self.cols).enumerate() {
            for row in rows.iter_mut() {
                add_scaled(&mut row.gradient, row.errors[column], hessian);
            }
        }
    }
}

/// A row while it is quantised, in units of its exponent.
struct Row {
    weights: Vec<f32>,
    found: Int4Row,
    /// `e = w - q`; zero where a column is not quantised yet.
    errors: Vec<f32>,
    /// `e H`, once all columns are quantised.
    gradient: Vec<f32>,
}

impl Row {
    fn new(weights: &[f32], group: usize) -> Self {
        let found = Int4Row::zeros(weights, group);
        let zeros = vec![0.0; weights.len()];
        Self { weights: found.in_units(weights), found, errors: zeros.clone(), gradient: zeros }
    }

    /// The columns of a group.
    fn columns(&self, group: usize) -> Range<usize> {
        let first = group * self.found.group;
        first..self.weights.len().min(first + self.found.group)
    }

    /// Quantises a group, of which those before it are.
    fn quantise_group(&mut self, sensitivity: &Sensitivity, group: usize) {
        let columns = self.columns(group);
        let panel = sensitivity.panels[group].chunks_exact(sensitivity.group);
        let mut targets = vec![0.0; sensitivity.group];
        for (&error, feedback) in self.errors[..columns.start].iter().zip(panel) {
            add_scaled(&mut targets, error, feedback);
        }
        targets.truncate(columns.len());
        let weights = &self.weights[columns.clone()];
        targets.iter_mut().zip(weights).for_each(|(target, weight)| *target += weight);

        let needed = needed_scales(&targets);
        if needed[0] == 0.0 {
            self.errors[columns.clone()].copy_from_slice(&self.weights[columns]);
            return;
        }
        let scales: [f32; LANES] = std::array::from_fn(|lane| {
            const OF_A_SIGN: usize = LANES / 2;
            let share = SHARES[0] + (SHARES[1] - SHARES[0]) * (lane % OF_A_SIGN) as f32 / (OF_A_SIGN - 1) as f32;
            with_sign(needed[lane / OF_A_SIGN] * share, needed[lane / OF_A_SIGN])
        });
        let diagonal = &sensitivity.diagonal[columns.clone()];
        let feedback = &sensitivity.panels[group][columns.start * sensitivity.group..];
        let (losses, levels) = with_scales(weights, &targets, diagonal, feedback, sensitivity.group, &scales);
        let best = (1..LANES).fold(0, |best, lane| if losses[lane] < losses[best] { lane } else { best });

        self.found.scales[group] = scales[best] as i8;
        for ((column, levels), weight) in columns.zip(levels).zip(weights) {
            self.found.nibbles[column] = nearest(levels[best]);
            self.errors[column] = weight - levels[best] * scales[best];
        }
    }

    /// Changes a group's scale, and then its nibbles one by one, where that lowers `e H eᵀ`.
    fn improve_group(&mut self, sensitivity: &Sensitivity, group: usize) {
        let cols = sensitivity.cols;
        let hessian = |column: usize| &sensitivity.hessian[column * cols..][..cols];
        let columns = self.columns(group);
        let level = |nibble: u8| f32::from(INT4_LEVELS[usize::from(nibble)]);

        // With the levels l fixed, a scale that is d larger makes it e H eᵀ - 2 d · (l · gradient) + d² · l H lᵀ.
        let levels: Vec<f32> = self.found.nibbles[columns.clone()].iter().map(|&nibble| level(nibble)).collect();
        let slope: f32 = levels.iter().zip(&self.gradient[columns.clone()]).map(|(level, slope)| level * slope).sum();
        let row_sums = columns.clone().zip(&levels).map(|(column, level)| {
            level * hessian(column)[columns.clone()].iter().zip(&levels).map(|(h, level)| h * level).sum::<f32>()
        });
        let curvature: f32 = row_sums.sum();
        let old = f32::from(self.found.scales[group]);
        if old == 0.0 {
            return;
        }
        let new = with_sign(old + slope / curvature, old);
        if new != old {
            self.found.scales[group] = new as i8;
            for (column, level) in columns.clone().zip(&levels) {
                self.change(column, level * (new - old), hessian(column));
            }
        }
        for column in columns {
            let old = level(self.found.nibbles[column]);
            let nibble = nearest(old + self.gradient[column] / hessian(column)[column] / new);
            if level(nibble) != old {
                self.found.nibbles[column] = nibble;
                self.change(column, (level(nibble) - old) * new, hessian(column));
            }
        }
    }

    /// A column's restored value becomes `change` larger.
    fn change(&mut self, column: usize, change: f32, hessian: &[f32]) {
        self.errors[column] -= change;
        add_scaled(&mut self.gradient, -change, hessian);
    }
}

/// `scale` as a byte holds it, without changing the sign of `sign`, and not zero.
fn with_sign(scale: f32, sign: f32) -> f32 {
    let limit = INT4_S_MAX as f32;
    if sign < 0.0 { scale.round().clamp(-limit, -1.0) } else { scale.round().clamp(1.0, limit) }
}

/// Quantises a group with each of several scales. Returns for each of them the group's part of `|e R|²`, and for each column
/// its levels.
///
/// `weights`, `targets` and `diagonal` have a number for each column, `feedback` a row of `stride` numbers.
fn with_scales<const LANES: usize>(
    weights: &[f32],
    targets: &[f32],
    diagonal: &[f32],
    feedback: &[f32],
    stride: usize,
    scales: &[f32; LANES],
) -> ([f32; LANES], Vec<[f32; LANES]>) {
    let inverses = scales.map(|scale| 1.0 / scale);
    let mut targets: Vec<[f32; LANES]> = targets.iter().map(|&target| [target; LANES]).collect();
    let mut losses = [0.0; LANES];
    for column in 0..weights.len() {
        let mut errors = [0.0; LANES];
        let (done, rest) = targets.split_at_mut(column + 1);
        let target = &mut done[column];
        for lane in 0..LANES {
            let level = nearest_level(target[lane] * inverses[lane]);
            let off = (target[lane] - level * scales[lane]) * diagonal[column];
            losses[lane] += off * off;
            errors[lane] = weights[column] - level * scales[lane];
            target[lane] = level;
        }
        for (target, &feedback) in rest.iter_mut().zip(&feedback[column * stride + column + 1..]) {
            for lane in 0..LANES {
                target[lane] += errors[lane] * feedback;
            }
        }
    }
    (losses, targets)
}

/// `sum += factor · x`
fn add_scaled(sum: &mut [f32], factor: f32, x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += factor * x;
    }
}

/// The upper triangle R with `H = R Rᵀ`, `[cols, cols]`, from H, which is symmetric and positive definite.
fn factor(hessian: &[f32], cols: usize) -> Vec<f64> {
    /// The fewest multiplications for which another core is used.
    const TASK: usize = 1 << 15;
    let mut root: Vec<f64> = hessian.iter().map(|&h| f64::from(h)).collect();
    // Column by column from the last: R_ik = (H_ik - Σ_{j>k} R_ij R_kj) / R_kk.
    for k in (0..cols).rev() {
        let (above, from_k) = root.split_at_mut(k * cols);
        let row = &mut from_k[..cols];
        let (row, after) = row.split_at_mut(k + 1);
        let diagonal = (row[k] - dot(after, after)).sqrt();
        row[k] = diagonal;
        let min_len = TASK.div_ceil(cols - k);
        above.par_chunks_exact_mut(cols).with_min_len(min_len).for_each(|row| {
            row[k] = (row[k] - dot(&row[k + 1..], after)) / diagonal;
        });
    }
    root
}

/// The scalar product, in eight partial sums that the compiler keeps in vector registers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    const COLS: usize = 80;
    const GROUP: usize = 32;

    fn random(seed: u64, len: usize) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        (0..len).map(|_| random.normal()).collect()
    }

    /// With inputs that quantisation leaves as they are.
    fn sensitivity(hessian: Vec<f32>) -> Sensitivity {
        Sensitivity::new(hessian, vec![0.0; COLS * COLS], COLS, GROUP)
    }

    /// `Σ x xᵀ` of inputs in which neighbours resemble each other and some columns are larger.
    fn hessian() -> Vec<f32> {
        let noise = random(1, 400 * COLS);
        let mut hessian = vec![0.0; COLS * COLS];
        for noise in noise.chunks_exact(COLS) {
            let x: Vec<f32> = (0..COLS)
                .map(|k| (noise[k] + noise[(k + 1) % COLS]) * if k % 7 == 0 { 5.0 } else { 1.0 } + noise[0])
                .collect();
            for (row, &a) in hessian.chunks_exact_mut(COLS).zip(&x) {
                add_scaled(row, a, &x);
            }
        }
        hessian
    }

    /// `Σ e H eᵀ` over the rows.
    fn loss(weights: &[f32], found: &[Int4Row], hessian: &[f32]) -> f64 {
        let mut loss = 0.0;
        for (weights, found) in weights.chunks_exact(COLS).zip(found) {
            let mut restored = vec![0.0; COLS];
            found.restore(&mut restored);
            let errors: Vec<f64> = weights.iter().zip(&restored).map(|(w, q)| f64::from(w - q)).collect();
            for (row, error) in hessian.chunks_exact(COLS).zip(&errors) {
                loss += error * row.iter().zip(&errors).map(|(&h, e)| f64::from(h) * e).sum::<f64>();
            }
        }
        loss
    }

    #[test]
    fn the_factor_is_a_root() {
        let hessian = sensitivity(hessian()).hessian;
        let root = factor(&hessian, COLS);
        for i in 0..COLS {
            for k in i..COLS {
                let product: f64 = (k..COLS).map(|j| root[i * COLS + j] * root[k * COLS + j]).sum();
                let expected = f64::from(hessian[i * COLS + k]);
                assert!((product - expected).abs() < 1e-3 * f64::from(hessian[0]), "{i} {k}: {product} {expected}");
            }
        }
    }

    #[test]
    fn a_corrected_matrix_is_nearer_to_the_wanted_outputs() {
        let (weights, wanted) = (random(6, 3 * COLS), random(7, 400 * COLS));
        let noise = random(8, wanted.len());
        // Quantisation has mixed neighbours and added noise.
        let found: Vec<f32> = (0..wanted.len())
            .map(|at| 0.9 * wanted[at] + 0.3 * wanted[at / COLS * COLS + (at + 1) % COLS] + 0.05 * noise[at])
            .collect();
        let distance = |matrix: &[f32]| -> f64 {
            let outputs = |matrix: &[f32], inputs: &[f32]| crate::matmul::project(inputs, matrix, COLS);
            let pairs = outputs(&weights, &wanted).into_iter().zip(outputs(matrix, &found));
            pairs.map(|(wanted, found)| f64::from(wanted - found).powi(2)).sum()
        };
        let corrected = Sensitivity::of(&wanted, &found, COLS, GROUP).corrected(&weights);
        assert!(distance(&corrected) < 0.1 * distance(&weights));
        assert_eq!(Sensitivity::of(&wanted, &wanted, COLS, GROUP).corrected(&weights), weights);
    }

    #[test]
    fn feedback_and_descent_each_lower_the_loss() {
        let (weights, hessian) = (random(2, 40 * COLS), hessian());
        let importance: Vec<f32> = (0..COLS).map(|k| hessian[k * COLS + k]).collect();
        let rows = weights.chunks_exact(COLS);
        let nearest: Vec<Int4Row> = rows.map(|row| Int4Row::nearest(row, &importance, GROUP)).collect();
        let sensitivity = sensitivity(hessian.clone());
        let nearest = loss(&weights, &nearest, &hessian);
        let [gptq, descended] = [0, 4].map(|passes| loss(&weights, &sensitivity.quantise(&weights, passes), &hessian));
        assert!(gptq < 0.7 * nearest, "{gptq} after {nearest}");
        assert!(descended < 0.9 * gptq, "{descended} after {gptq}");
    }

    #[test]
    fn the_loss_of_a_group_is_that_of_its_errors() {
        // The sum over the groups is |e R|².
        let (weights, sensitivity) = (random(3, COLS), sensitivity(hessian()));
        let found = sensitivity.quantise(&weights, 0);
        let mut row = Row::new(&weights, GROUP);
        let mut sum = 0.0;
        for group in 0..3 {
            row.quantise_group(&sensitivity, group);
            let columns = row.columns(group);
            let root = factor(&sensitivity.hessian, COLS);
            for k in columns {
                let element: f64 = (0..=k).map(|i| f64::from(row.errors[i]) * root[i * COLS + k]).sum();
                sum += element * element;
            }
        }
        assert_eq!(row.found.nibbles, found[0].nibbles);
        let unit = libm::scalbn(1.0, row.found.exponent.into());
        let expected = loss(&weights, &found, &sensitivity.hessian);
        assert!((sum * unit * unit / expected - 1.0).abs() < 1e-3, "{sum} {expected}");
    }

    #[test]
    fn inputs_of_zero_are_admitted() {
        let weights = random(4, 2 * COLS);
        let found = sensitivity(vec![0.0; COLS * COLS]).quantise(&weights, 2);
        assert_eq!(found.len(), 2);
        let zeros = sensitivity(hessian()).quantise(&[0.0; COLS], 2);
        assert_eq!((&zeros[0].scales[..], zeros[0].exponent), (&[0; 3][..], i8::MIN));
    }

    #[test]
    fn every_number_of_threads_has_the_same_bits() {
        let (weights, hessian) = (random(5, 70 * COLS), hessian());
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| sensitivity(hessian.clone()).quantise(&weights, 2))
        };
        for (one, three) in on(1).iter().zip(&on(3)) {
            assert_eq!((&one.nibbles, &one.scales), (&three.nibbles, &three.scales));
        }
    }
}
