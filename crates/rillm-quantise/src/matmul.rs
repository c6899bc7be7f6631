//! Products of float32 matrices: blocked, on all cores, and the same bits on every machine.
//!
//! Every element of a product is a sum over the inner dimension in the same order: blocks of 256 terms, each summed
//! front to back, and then the blocks. Threads share out elements, never the terms of one, and no multiplication is fused
//! with an addition.

use rayon::prelude::*;

/// Terms that are summed before they are added to an element: a panel of the right factor then fits the first-level cache.
const DEPTH: usize = 256;
/// Rows of the product that one task computes: its panels of the left factor fit the second-level cache.
const TASK_ROWS: usize = 96;
/// Rows and columns of the product that are held in registers.
const TILE_ROWS: usize = 6;
const TILE_COLS: usize = 16;
/// Panels of the right factor that are packed by one task.
const PACKED_PANELS: usize = 64;

/// A matrix whose elements lie at regular distances.
#[derive(Clone, Copy, Debug)]
struct Strided<'a> {
    values: &'a [f32],
    row: usize,
    col: usize,
}

impl<'a> Strided<'a> {
    /// Row after row of `cols` values.
    fn new(values: &'a [f32], cols: usize) -> Self {
        Self { values, row: cols, col: 1 }
    }

    fn transposed(self) -> Self {
        Self { values: self.values, row: self.col, col: self.row }
    }
}

/// `x · Wᵀ`, `[n, rows]`: a projection's outputs, of inputs `x`, `[n, cols]`, and weights, `[rows, cols]`.
///
/// # Panics
/// Unless both are whole rows of `cols` values.
pub fn project(x: &[f32], weights: &[f32], cols: usize) -> Vec<f32> {
    let (n, rows) = (whole(x, cols), whole(weights, cols));
    product(n, rows, cols, Strided::new(x, cols), Strided::new(weights, cols).transposed())
}

/// `dy · W`, `[n, cols]`: the gradient of a projection's inputs, of that of its outputs, `[n, rows]`, and its weights,
/// `[rows, cols]`.
///
/// # Panics
/// Unless both are whole rows.
pub fn project_back(dy: &[f32], weights: &[f32], cols: usize) -> Vec<f32> {
    let rows = whole(weights, cols);
    product(whole(dy, rows), cols, rows, Strided::new(dy, rows), Strided::new(weights, cols))
}

/// `aᵀ · b`, `[a_cols, b_cols]`, of `[n, a_cols]` and `[n, b_cols]`: with a projection's gradient of outputs and its
/// inputs, the gradient of its weights; with inputs twice, the sum of their outer products.
///
/// # Panics
/// Unless both have `n` whole rows.
pub fn outer(a: &[f32], b: &[f32], a_cols: usize, b_cols: usize) -> Vec<f32> {
    let n = whole(a, a_cols);
    assert_eq!(n, whole(b, b_cols), "rows of both factors");
    product(a_cols, b_cols, n, Strided::new(a, a_cols).transposed(), Strided::new(b, b_cols))
}

fn whole(values: &[f32], cols: usize) -> usize {
    assert!(values.len().is_multiple_of(cols), "{} values in rows of {cols}", values.len());
    values.len() / cols
}

/// `a · b`, `[rows, cols]`, of `[rows, inner]` and `[inner, cols]`.
fn product(rows: usize, cols: usize, inner: usize, a: Strided, b: Strided) -> Vec<f32> {
    let mut c = vec![0.0; rows * cols];
    if c.is_empty() {
        return c;
    }
    // Rows are the columns of the left factor's panels.
    let panels = pack::<TILE_COLS>(b.transposed(), cols, inner);
    c.par_chunks_mut(TASK_ROWS * cols).enumerate().for_each(|(task, c)| {
        let first = task * TASK_ROWS;
        let part = Strided { values: &a.values[first * a.row..], ..a };
        multiply(&pack::<TILE_ROWS>(part, c.len() / cols, inner), &panels, c, cols, inner);
    });
    c
}

/// Panels of `WIDTH` rows of a matrix, each `[inner, WIDTH]`; a last one that is not full has zeros.
fn pack<const WIDTH: usize>(matrix: Strided, rows: usize, inner: usize) -> Vec<[f32; WIDTH]> {
    let mut panels = vec![[0.0; WIDTH]; rows.div_ceil(WIDTH) * inner];
    if panels.is_empty() {
        return panels;
    }
    panels.par_chunks_mut(inner).with_min_len(PACKED_PANELS).enumerate().for_each(|(panel, packed)| {
        let first = panel * WIDTH;
        let width = WIDTH.min(rows - first);
        if matrix.row == 1 {
            // Rows are next to each other.
            for (col, packed) in packed.iter_mut().enumerate() {
                packed[..width].copy_from_slice(&matrix.values[first + col * matrix.col..][..width]);
            }
        } else {
            let row = |row: usize| &matrix.values[(first + row.min(width - 1)) * matrix.row..][..inner];
            let rows: [&[f32]; WIDTH] = std::array::from_fn(row);
            for (col, packed) in packed.iter_mut().enumerate() {
                for (packed, row) in packed.iter_mut().zip(&rows[..width]) {
                    *packed = row[col];
                }
            }
        }
    });
    panels
}

/// Adds the product of packed panels to `c`, whose rows have `cols` values.
fn multiply(left: &[[f32; TILE_ROWS]], right: &[[f32; TILE_COLS]], c: &mut [f32], cols: usize, inner: usize) {
    for start in (0..inner).step_by(DEPTH) {
        let depth = start..inner.min(start + DEPTH);
        for (right, col) in right.chunks_exact(inner).zip((0..cols).step_by(TILE_COLS)) {
            let width = TILE_COLS.min(cols - col);
            for (left, rows) in left.chunks_exact(inner).zip(c.chunks_mut(TILE_ROWS * cols)) {
                let tile = tile(&left[depth.clone()], &right[depth.clone()]);
                for (row, tile) in rows.chunks_exact_mut(cols).zip(&tile) {
                    for (c, sum) in row[col..col + width].iter_mut().zip(tile) {
                        *c += sum;
                    }
                }
            }
        }
    }
}

/// A tile of the product, on vector registers of 256 bits where the machine has them.
fn tile(left: &[[f32; TILE_ROWS]], right: &[[f32; TILE_COLS]]) -> [[f32; TILE_COLS]; TILE_ROWS] {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx")]
        fn tile_avx(left: &[[f32; TILE_ROWS]], right: &[[f32; TILE_COLS]]) -> [[f32; TILE_COLS]; TILE_ROWS] {
            sum_tile(left, right)
        }
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX.
            return unsafe { tile_avx(left, right) };
        }
    }
    sum_tile(left, right)
}

/// The sums of a tile, front to back. The compiler keeps them in registers; it does not fuse multiplications with
/// additions, whatever the instruction set.
#[inline(always)]
fn sum_tile(left: &[[f32; TILE_ROWS]], right: &[[f32; TILE_COLS]]) -> [[f32; TILE_COLS]; TILE_ROWS] {
    let mut sums = [[0.0; TILE_COLS]; TILE_ROWS];
    for (left, right) in left.iter().zip(right) {
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum += left * right;
            }
        }
    }
    sums
}

/// The scalar product, in sixteen partial sums that the compiler keeps in vector registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn random(seed: u64, len: usize) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        (0..len).map(|_| random.normal()).collect()
    }

    /// `Σ a(i, k) · b(k, j)` in float64, and the sum of the terms' magnitudes.
    fn expected(inner: usize, term: impl Fn(usize) -> (f32, f32)) -> (f64, f64) {
        (0..inner).map(term).fold((0.0, 0.0), |(sum, magnitude), (a, b)| {
            let term = f64::from(a) * f64::from(b);
            (sum + term, magnitude + term.abs())
        })
    }

    #[test]
    fn dot_covers_the_rest() {
        let a: Vec<f32> = (0..35).map(|i| i as f32).collect();
        let expected: f32 = (0..35).map(|i| (i * i) as f32).sum();
        assert_eq!(dot(&a, &a), expected);
    }

    #[test]
    fn products_are_sums_of_products() {
        // Tiles, tasks and depths that are full, not full, and more than one.
        for (n, rows, cols) in [(1, 1, 1), (7, 17, 300), (100, 33, 257), (300, 48, 16), (5, 100, 64)] {
            let (x, w, dy) = (random(1, n * cols), random(2, rows * cols), random(3, n * rows));
            let (y, dx, dw) = (project(&x, &w, cols), project_back(&dy, &w, cols), outer(&dy, &x, rows, cols));
            assert_eq!((y.len(), dx.len(), dw.len()), (n * rows, n * cols, rows * cols));
            let close = |found: f32, (sum, magnitude): (f64, f64)| {
                assert!((f64::from(found) - sum).abs() <= 1e-5 * magnitude, "{found} for {sum}, {n} {rows} {cols}");
            };
            for (i, &y) in y.iter().enumerate() {
                close(y, expected(cols, |k| (x[i / rows * cols + k], w[i % rows * cols + k])));
            }
            for (i, &dx) in dx.iter().enumerate() {
                close(dx, expected(rows, |k| (dy[i / cols * rows + k], w[k * cols + i % cols])));
            }
            for (i, &dw) in dw.iter().enumerate() {
                close(dw, expected(n, |k| (dy[k * rows + i / cols], x[k * cols + i % cols])));
            }
        }
    }

    #[test]
    fn every_instruction_set_has_the_same_bits() {
        let (left, right) = (random(4, 200 * TILE_ROWS), random(5, 200 * TILE_COLS));
        let (left, right) = (left.as_chunks().0, right.as_chunks().0);
        assert_eq!(tile(left, right), sum_tile(left, right));
    }

    #[test]
    fn every_number_of_threads_has_the_same_bits() {
        let (x, w) = (random(6, 500 * 300), random(7, 70 * 300));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| project(&x, &w, 300))
        };
        assert_eq!(on(1), on(3));
    }
}
