//! Weights a nanosecond of every kernel that this processor can run, the best of many short runs, by the length of a row:
//! `cargo run --release -p rillm --example kernels`.

use std::hint::black_box;
use std::time::Instant;

use rillm::format::Quantisation;
use rillm::kernels::{Kernel, Rows};

/// Rows of one call, as in a session.
const ROWS: usize = 16;
/// Bytes of the matrix: more than a first-level cache, less than a second-level one.
const MATRIX: usize = 128 * 1024;
const RUNS: usize = 100;

fn main() {
    println!("{:10} {:8} {:>6} {:>11} {:>7}", "kernel", "weights", "in row", "weights/ns", "GB/s");
    for quantisation in [Quantisation::Int8 { group: 32 }, Quantisation::Int4 { group: 32 }] {
        for cols in [64, 172, 192, 576, 1536] {
            for kernel in Kernel::all() {
                let (weights, bytes) = speed(kernel, quantisation, cols);
                let weights_name = quantisation.to_string();
                println!("{:10} {weights_name:8} {cols:6} {weights:11.2} {bytes:7.1}", kernel.name);
            }
        }
    }
}

/// Weights and bytes a nanosecond.
fn speed(kernel: Kernel, quantisation: Quantisation, cols: usize) -> (f64, f64) {
    let strip_len = ROWS * quantisation.row_len(cols as u32);
    let strips = (MATRIX / strip_len).max(1);
    let bytes: Vec<u8> = (0..strips * strip_len).map(|at| (at * 7 + at / 13) as u8).collect();
    let x: Vec<i16> = (0..cols).map(|at| (at as i16).wrapping_mul(7919).max(-i16::MAX)).collect();
    let mut sums = [0; ROWS];
    let best = (0..RUNS).map(|_| {
        let start = Instant::now();
        for strip in bytes.chunks(strip_len) {
            let rows = Rows::new(strip, quantisation, cols).expect("whole rows of a matrix");
            (kernel.dot)(&rows, black_box(&x), &mut sums);
            black_box(&sums);
        }
        start.elapsed().as_nanos() as f64
    });
    let best = best.fold(f64::MAX, f64::min);
    ((strips * ROWS * cols) as f64 / best, bytes.len() as f64 / best)
}
