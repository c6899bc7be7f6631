//! Weights a nanosecond of every kernel that this processor can run, the best of many short runs, by the length of a row:
//! `cargo run --release -p rillm --example kernels`.

use std::hint::black_box;
use std::time::Instant;

use rillm::format::Quantisation;
use rillm::kernels::{Kernel, Multiply, Rows, Vectors};

/// Rows of one call: those of a small model.
const ROWS: usize = 128;
/// Bytes of the matrix: more than a first-level cache, less than a second-level one.
const MATRIX: usize = 128 * 1024;
const RUNS: usize = 100;

/// Vectors of a batch.
const BATCH: usize = 32;

fn main() {
    println!(
        "{:10} {:8} {:>6} {:>11} {:>7} {:>20}",
        "kernel", "weights", "in row", "weights/ns", "GB/s", "products/ns, batch"
    );
    for quantisation in [Quantisation::Int8 { group: 32 }, Quantisation::Int4 { group: 32 }] {
        for cols in [64, 172, 192, 576, 1536] {
            for kernel in Kernel::all() {
                let matrix = Matrix::new(quantisation, cols);
                let (weights, bytes) = ((matrix.rows() * cols) as f64, matrix.bytes.len() as f64);
                let (one, batch) = (matrix.nanoseconds(kernel, 1), matrix.nanoseconds(kernel, BATCH));
                let weights_name = quantisation.to_string();
                println!(
                    "{:10} {weights_name:8} {cols:6} {:11.2} {:7.1} {:20.2}",
                    kernel.name,
                    weights / one,
                    bytes / one,
                    weights * BATCH as f64 / batch,
                );
            }
        }
    }
}

/// Rows of any bytes.
struct Matrix {
    quantisation: Quantisation,
    cols: usize,
    bytes: Vec<u8>,
}

impl Matrix {
    /// About [`MATRIX`] bytes in whole strips.
    fn new(quantisation: Quantisation, cols: usize) -> Self {
        let strip_len = ROWS * quantisation.row_len(cols as u32);
        let len = (MATRIX / strip_len).max(1) * strip_len;
        Self { quantisation, cols, bytes: (0..len).map(|at| (at * 7 + at / 13) as u8).collect() }
    }

    fn rows(&self) -> usize {
        self.bytes.len() / self.quantisation.row_len(self.cols as u32)
    }

    /// Multiplies all rows by a batch of `len` vectors. The best of many runs.
    fn nanoseconds(&self, kernel: &Kernel, len: usize) -> f64 {
        // As in nearly all vectors no value is so large that kernels `avx512` and `avx-vnni` leave them to `avx2`.
        let x: Vec<i16> =
            (0..self.cols * len).map(|at| (at as i16).wrapping_mul(7919).clamp(-32_639, 32_639)).collect();
        let mut sums = vec![0; ROWS * len];
        let run = |_| {
            let start = Instant::now();
            for strip in self.bytes.chunks(self.bytes.len() / self.rows() * ROWS) {
                let rows = Rows::new(strip, self.quantisation, self.cols).expect("whole rows of a matrix");
                let x = black_box(&x);
                match len {
                    1 => kernel.dot(&rows, x, &mut sums),
                    _ => kernel.dot_batch(&rows, Vectors::new(x, self.cols, len), &mut sums),
                }
                black_box(&sums);
            }
            start.elapsed().as_nanos() as f64
        };
        (0..RUNS).map(run).fold(f64::MAX, f64::min)
    }
}
