//! The generic kernel of int8 rows, which defines the result, for every processor.
//!
//! A group's sum fits 32 bits: at most 512 products of at most 127 · 32,767 (128 · 32,767 in a damaged file). A row's
//! fits 48 bits: see [`excess`](crate::vector::excess). Both are exact, so that no order of summation changes a bit.

use super::Rows;
use crate::COMPUTER;

/// Columns multiplied in parallel: one vector register, which the compiler fills from one row, or few enough for a microcontroller's registers.
const BLOCK: usize = if COMPUTER { 16 } else { 8 };

/// The default number of weights that share a scale. Only this length has the fast loop.
pub const GROUP: usize = 32;

/// See [`Rows::dot`].
pub fn dot_rows(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let (x, sums) = (&x[..rows.cols], &mut sums[..rows.len()]);
    if COMPUTER { by_ones(rows, 0, x, sums) } else { by_fours(rows, x, sums) }
}

/// Multiplies four rows at a time, so that each value of `x` is loaded once for all four. The group length is known at
/// compile time.
fn by_fours(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let whole = rows.whole_cols(GROUP);
    let in_fours = if whole == 0 { 0 } else { sums.len() / 4 * 4 };
    let (fours, rest) = sums.split_at_mut(in_fours);
    whole_groups(rows, x[..whole].as_chunks().0, fours.as_chunks_mut().0);
    if whole < rows.cols {
        rows.add_last_group(whole, x, fours);
    }
    by_ones(rows, in_fours, x, rest);
}

/// Adds the contribution of the groups `x` to four rows at a time.
fn whole_groups(rows: &Rows<'_>, x: &[[i16; GROUP]], fours: &mut [[i64; 4]]) {
    for (index, sums) in fours.iter_mut().enumerate() {
        let [a, b, c, d] = core::array::from_fn(|row| {
            let (q, scales) = rows.row(4 * index + row).split_at(rows.cols);
            bytemuck::cast_slice(q).as_chunks().0.iter().zip(scales)
        });
        *sums = [0; 4];
        for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
            let products = dot_four([a.0, b.0, c.0, d.0], x);
            for ((sum, product), scale) in sums.iter_mut().zip(products).zip([a.1, b.1, c.1, d.1]) {
                *sum += i64::from(product) * i64::from(*scale);
            }
        }
    }
}

/// Multiplies one row at a time, from column `first` on.
fn by_ones(rows: &Rows<'_>, first: usize, x: &[i16], sums: &mut [i64]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        let groups = x.chunks(rows.group).zip(groups(rows, first + row));
        *sum = groups.map(|(x, (q, &scale))| i64::from(dot(q, x)) * i64::from(scale)).sum();
    }
}

/// The groups of a row, each with its scale.
fn groups<'a>(rows: &Rows<'a>, row: usize) -> impl Iterator<Item = (&'a [i8], &'a u8)> {
    let (q, scales) = rows.row(row).split_at(rows.cols);
    bytemuck::cast_slice(q).chunks(rows.group).zip(scales)
}

fn dot_four([a, b, c, d]: [&[i8; GROUP]; 4], x: &[i16; GROUP]) -> [i32; 4] {
    let mut sums = [0; 4];
    let blocks = x.as_chunks::<BLOCK>().0.iter();
    let [a, b, c, d] = [a, b, c, d].map(|q| q.as_chunks::<BLOCK>().0);
    for ((((x, a), b), c), d) in blocks.zip(a).zip(b).zip(c).zip(d) {
        let x: [i32; BLOCK] = x.map(i32::from);
        for (sum, q) in sums.iter_mut().zip([a, b, c, d]) {
            for i in 0..BLOCK {
                *sum += i32::from(q[i]) * x[i];
            }
        }
    }
    sums
}

/// `Σ q · x` of at most 512 elements, `x` not −32,768: 512 · 128 · 32,767 is below 2^31.
#[cfg_attr(target_arch = "x86_64", inline(always))]
pub fn dot(q: &[i8], x: &[i16]) -> i32 {
    // The compiler unrolls blocks of a fixed length and vectorises them where possible.
    let (q_blocks, q_rest) = q.as_chunks::<BLOCK>();
    let (x_blocks, x_rest) = x.as_chunks::<BLOCK>();
    let mut sum = 0;
    for (q, x) in q_blocks.iter().zip(x_blocks) {
        sum += (0..BLOCK).map(|i| i32::from(q[i]) * i32::from(x[i])).sum::<i32>();
    }
    sum + q_rest.iter().zip(x_rest).map(|(&q, &x)| i32::from(q) * i32::from(x)).sum::<i32>()
}

#[cfg(test)]
mod tests {
    use super::super::Bits;
    use super::*;
    use crate::format::Quantisation;
    use proptest::prelude::*;
    use std::vec::Vec;

    const NOISE: usize = 11 * 404 + 2 * 200;

    /// `Σ q · scale · x` by the definition, from the row as numbers.
    fn exact(matrix: &Rows<'_>, row: usize, x: &[i16]) -> i64 {
        matrix.products(row).zip(x).map(|(product, &x)| i64::from(product) * i64::from(x)).sum()
    }

    proptest! {
        #[test]
        fn rows_are_multiplied_exactly(
            rows in 0usize..11, cols in 1usize..200, group_log2 in 0u32..10, four: bool, extreme: bool,
            noise in prop::collection::vec(any::<u8>(), NOISE),
        ) {
            let group = 1 << group_log2;
            let quantisation =
                if four && group > 1 { Quantisation::Int4 { group } } else { Quantisation::Int8 { group } };
            let (bytes, x) = noise.split_at(rows * quantisation.row_len(cols as u32));
            let x: Vec<i16> = x.as_chunks().0.iter().map(|&x| i16::from_le_bytes(x).max(-32767)).take(cols).collect();
            let bytes: Vec<u8> = if extreme { std::vec![0x80; bytes.len()] } else { bytes.to_vec() };
            let matrix = Rows::new(&bytes, quantisation, cols).unwrap();
            let mut sums = std::vec![7; rows];
            matrix.dot_generic(&x, &mut sums);
            for (row, &sum) in sums.iter().enumerate() {
                prop_assert_eq!(sum, exact(&matrix, row, &x));
            }
            if matrix.bits == Bits::Eight {
                let [mut ones, mut fours] = core::array::from_fn(|_| std::vec![7; rows]);
                by_ones(&matrix, 0, &x, &mut ones);
                by_fours(&matrix, &x, &mut fours);
                prop_assert_eq!((&sums, &sums), (&ones, &fours));
            }
        }
    }

    #[test]
    fn weights_are_read_as_the_format_has_them() {
        let int8 = Quantisation::Int8 { group: 2 };
        let row = Rows::new(&[3, 0xfe, 100, 10, 20, 0xf0, 0, 0], int8, 3).unwrap();
        assert!(row.products(0).eq([30, -20, 2000]));
        assert_eq!(row.exponent(0), -16);
        // Two groups: 4 values and their scale, 1 value and its scale, which is negative.
        let int4 = Quantisation::Int4 { group: 4 };
        let row = Rows::new(&[0xf0, 0x89, 10, 0x07, 0xec, 0x05, 0, 0], int4, 5).unwrap();
        assert!(row.products(0).eq([-1270, 1130, 130, 10, 200]));
        assert_eq!(row.exponent(0), 5);
    }

    #[test]
    fn what_are_no_rows_is_refused() {
        let int8 = |group| Quantisation::Int8 { group };
        assert!(Rows::new(&[0; 16], int8(2), 4).is_some());
        assert!(Rows::new(&[0; 15], int8(2), 4).is_none());
        assert!(Rows::new(&[0; 16], int8(0), 4).is_none());
        assert!(Rows::new(&[0; 16], Quantisation::Fixed32, 4).is_none());
        assert!(Rows::new(&[0; 16], Quantisation::Int4 { group: 3 }, 4).is_none());
        assert!(Rows::new(&[], int8(513), 599).is_none());
    }
}
