//! Every kernel of this processor gives the generic kernel's bits.

use super::{Kernel, Multiply, OutputScale, Rows, Vectors};
use crate::format::Quantisation;
use proptest::prelude::*;
use std::{vec, vec::Vec};

/// The largest value that kernels `avx512` and `avx-vnni` do not leave to `avx2`.
const LARGEST_OF_TWO_BYTES: i16 = 256 * 127 + 127;

/// Compares the kernels on `rows` rows of bytes `byte`, times values `x`.
fn compare(
    quantisation: Quantisation,
    (rows, cols): (usize, usize),
    mut byte: impl FnMut() -> u8,
    mut x: impl FnMut() -> i16,
) {
    let bytes: Vec<u8> = (0..rows * quantisation.row_len(cols as u32)).map(|_| byte()).collect();
    let x: Vec<i16> = (0..cols).map(|_| x().max(-i16::MAX)).collect();
    let matrix = Rows::new(&bytes, quantisation, cols).unwrap();
    let mut expected = vec![7; rows];
    matrix.dot_generic(&x, &mut expected);
    for kernel in Kernel::all() {
        let mut sums = vec![11; rows];
        kernel.dot(&matrix, &x, &mut sums);
        assert_eq!(sums, expected, "{} {quantisation} {rows}x{cols}", kernel.name);
    }
    compare_outputs(&matrix, &x);
    compare_batches(&matrix, &x);
}

/// Compares the kernels' outputs.
fn compare_outputs(matrix: &Rows<'_>, x: &[i16]) {
    for (largest, excess) in [(127, 17), (0, 0), (-9, 5)] {
        let scale = OutputScale { largest, excess };
        let mut expected = vec![7; matrix.len()];
        Kernel::GENERIC.outputs(matrix, x, scale, &mut expected);
        for kernel in Kernel::all() {
            let mut outputs = vec![11; matrix.len()];
            kernel.outputs(matrix, x, scale, &mut outputs);
            assert_eq!(outputs, expected, "{} {scale:?} {}", kernel.name, x.len());
        }
    }
}

/// Compares the kernels on batches of vectors, each of which is `x` shifted by one value more.
fn compare_batches(matrix: &Rows<'_>, x: &[i16]) {
    let stride = x.len() + 1;
    for len in [2, 3, 4, 33].into_iter().take(if x.len() < 100 { 4 } else { 2 }) {
        let values: Vec<i16> = x.iter().copied().cycle().take(stride * len).collect();
        let vectors = Vectors::new(&values, stride, len);
        let mut expected = vec![7; matrix.len() * len];
        for (token, sums) in expected.chunks_exact_mut(matrix.len().max(1)).enumerate() {
            matrix.dot_generic(vectors.get(token), sums);
        }
        for kernel in Kernel::all() {
            let mut sums = vec![11; matrix.len() * len];
            kernel.dot_batch(matrix, vectors, &mut sums);
            assert_eq!(sums, expected, "{} {} vectors of {}", kernel.name, len, x.len());
        }
    }
}

fn quantisations(group: u32) -> [Quantisation; 2] {
    [Quantisation::Int8 { group }, Quantisation::Int4 { group }]
}

#[test]
fn extreme_values_of_every_length_are_multiplied_exactly() {
    for cols in (1..=200).chain([511, 512, 513, 575, 576, 577, 1024, 1100]) {
        for quantisation in quantisations(32) {
            // Scales are bytes, too: 0x80, 0xff.
            for largest in [i16::MAX, LARGEST_OF_TWO_BYTES, LARGEST_OF_TWO_BYTES + 1] {
                for (byte, x) in
                    [(0x80, largest), (0x80, -i16::MAX), (0x7f, largest), (0xff, -i16::MAX), (0x00, largest)]
                {
                    compare(quantisation, (3 + cols % 5, cols), || byte, || x);
                }
                let mut alternating = [largest, -i16::MAX].into_iter().cycle();
                let mut bytes = [0x7f, 0x80, 0xff, 0x0f, 0xf0].into_iter().cycle();
                compare(quantisation, (7, cols), || bytes.next().unwrap(), || alternating.next().unwrap());
            }
            // The largest sum of a row of int4.
            let mut bytes = core::iter::repeat_n(0, 16).chain([0x80]).cycle();
            compare(quantisation, (7, cols), || bytes.next().unwrap(), || -i16::MAX);
        }
    }
}

proptest! {
    #[test]
    fn every_kernel_gives_the_same_bits(
        rows in 0usize..20, cols in 1usize..2200, group_log2 in prop::sample::select(vec![5, 5, 5, 4, 6, 9]),
        largest in prop::sample::select(vec![i16::MAX, LARGEST_OF_TWO_BYTES]), seed: u64,
    ) {
        for quantisation in quantisations(1 << group_log2) {
            let mut state = seed | 1;
            let mut noise = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as u16
            };
            let x: Vec<i16> = (0..cols).map(|_| (noise() as i16).min(largest)).collect();
            let mut x = x.into_iter();
            compare(quantisation, (rows, cols), || noise() as u8, || x.next().unwrap());
        }
    }
}
