//! Rows of int4: nibbles that choose among sixteen levels, with a scale for each group.

use rillm::format::{INT4_LEVELS, Quantisation};

use super::{INT4_S_MAX, NotFinite, check_finite, scale_exponent, to_f32};

/// Between two levels, from where on the upper one is nearer.
const THRESHOLDS: [f32; 15] = between(0.5, 0.5);
/// From each level to the next one.
const STEPS: [f32; 15] = between(-1.0, 1.0);

/// The shares of the scale that clips nothing between which scales are tried. A few of a group's largest values may be
/// worth clipping.
const SHARES: [f64; 2] = [0.6, 1.15];
/// About the most scales of a sign that are tried for a group, before the neighbours of the best one.
const SCALES_TRIED: usize = 40;

/// Quantises a row to int4 with a scale for each group of `group` values, and returns its exponent *e*. `out` is the row
/// of [the file format]: for each group two values a byte and the scale; the exponent, zeros up to a multiple of four bytes.
///
/// A group's scale is the one with the least `Σ importance · (value - restored)²` of those tried, and a value becomes
/// the nearest level. The levels are not symmetric, so that scales of both signs are tried. *e* is the smallest exponent for
/// which ±127 holds 1.15 times a scale of each group with which nothing is clipped. A group of zeros has the scale 0, and a
/// row of zeros the exponent -128.
///
/// `importance` has a number for each column, not negative: the mean square of the inputs that the column is multiplied
/// by, for example. Without it, columns are equal. `group` is a power of two, 16 to 512.
///
/// # Errors
/// [`NotFinite`] names the first value that is.
///
/// # Panics
/// Unless `out` has the length of the row, and `importance` as many numbers as `values`.
///
/// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
pub fn quantise_int4(values: &[f32], importance: Option<&[f32]>, group: u32, out: &mut [u8]) -> Result<i8, NotFinite> {
    check_finite(values)?;
    let equal;
    let importance = match importance {
        Some(importance) => importance,
        None => {
            equal = vec![1.0; values.len()];
            &equal
        }
    };
    let row = Int4Row::nearest(values, importance, group as usize);
    row.emit(out);
    Ok(row.exponent)
}

/// The float32 values of an int4 row, `level · s · 2^e`, rounded to nearest where float32 has fewer bits (below 2^-126).
///
/// # Panics
/// Unless `row` has the length of a row of as many values as `out` has.
pub fn dequantise_int4(row: &[u8], group: u32, out: &mut [f32]) {
    assert_eq!(row.len(), row_len(out.len(), group as usize), "bytes of a row");
    let exponent = row[out.len().div_ceil(2) + out.len().div_ceil(group as usize)];
    let unit = libm::scalbn(1.0, (exponent as i8).into());
    let mut rest = row;
    for out in out.chunks_mut(group as usize) {
        let (nibbles, scale_and_rest) = rest.split_at(out.len().div_ceil(2));
        let step = f64::from(scale_and_rest[0] as i8) * unit;
        for (column, value) in out.iter_mut().enumerate() {
            let nibble = nibbles[column / 2] >> (4 * (column % 2)) & 15;
            *value = to_f32(f64::from(INT4_LEVELS[usize::from(nibble)]) * step);
        }
        rest = &scale_and_rest[1..];
    }
}

/// A row's nibbles one by one, its scales and its exponent.
#[derive(Clone, Debug)]
pub(crate) struct Int4Row {
    /// Values that share a scale.
    pub group: usize,
    /// One for each column, 0 to 15.
    pub nibbles: Vec<u8>,
    /// One for each group, -127 to 127.
    pub scales: Vec<i8>,
    /// The exponent of all scales.
    pub exponent: i8,
}

impl Int4Row {
    /// Scales chosen by `importance`, and the nearest levels. The values are finite.
    pub fn nearest(values: &[f32], importance: &[f32], group: usize) -> Self {
        let mut row = Self::zeros(values, group);
        for (index, (values, importance)) in values.chunks(group).zip(importance.chunks(group)).enumerate() {
            let in_units = row.in_units(values);
            let scale = best_scale(&in_units, importance);
            row.scales[index] = scale;
            for (nibble, &x) in row.nibbles[index * group..].iter_mut().zip(&in_units) {
                *nibble = nearest(if scale == 0 { 0.0 } else { x / f32::from(scale) });
            }
        }
        row
    }

    /// A row of zeros with the exponent for `values`.
    pub fn zeros(values: &[f32], group: usize) -> Self {
        // Of a group's two signs the one that needs less.
        let needed = values.chunks(group).map(needed_scales).map(|[positive, negative]| positive.min(-negative));
        let exponent = scale_exponent(SHARES[1] * f64::from(needed.fold(0.0, f32::max)), INT4_S_MAX);
        Self { group, nibbles: vec![0; values.len()], scales: vec![0; values.len().div_ceil(group)], exponent }
    }

    /// Values divided by `2^exponent`.
    pub fn in_units(&self, values: &[f32]) -> Vec<f32> {
        let unit = libm::scalbn(1.0, self.exponent.into());
        values.iter().map(|&value| (f64::from(value) / unit) as f32).collect()
    }

    /// The float32 values.
    pub fn restore(&self, out: &mut [f32]) {
        let unit = libm::scalbn(1.0, self.exponent.into());
        for (column, (value, &nibble)) in out.iter_mut().zip(&self.nibbles).enumerate() {
            let step = f64::from(self.scales[column / self.group]) * unit;
            *value = to_f32(f64::from(INT4_LEVELS[usize::from(nibble)]) * step);
        }
    }

    /// The row of the file.
    pub fn emit(&self, out: &mut [u8]) {
        assert_eq!(out.len(), row_len(self.nibbles.len(), self.group), "bytes of a row");
        out.fill(0);
        let mut rest = out;
        for (nibbles, &scale) in self.nibbles.chunks(self.group).zip(&self.scales) {
            let (bytes, scale_and_rest) = rest.split_at_mut(nibbles.len().div_ceil(2));
            for (column, &nibble) in nibbles.iter().enumerate() {
                bytes[column / 2] |= nibble << (4 * (column % 2));
            }
            scale_and_rest[0] = scale as u8;
            rest = &mut scale_and_rest[1..];
        }
        rest[0] = self.exponent as u8;
    }
}

/// The level nearest to `x`, as a nibble; of two equally near ones the upper.
pub(crate) fn nearest(x: f32) -> u8 {
    THRESHOLDS.iter().map(|&threshold| u8::from(x >= threshold)).sum()
}

/// The level itself, for vectors: the compiler turns it into comparisons without branches.
pub(crate) fn nearest_level(x: f32) -> f32 {
    let mut level = f32::from(INT4_LEVELS[0]);
    for (threshold, step) in THRESHOLDS.iter().zip(&STEPS) {
        level += if x >= *threshold { *step } else { 0.0 };
    }
    level
}

/// The scale with the least `Σ importance · (x - restored)²` of those tried; of equal ones the smallest, and rather a positive
/// one.
pub(crate) fn best_scale(x: &[f32], importance: &[f32]) -> i8 {
    let [positive, negative] = needed_scales(x);
    if positive == 0.0 {
        return 0;
    }
    let (error, scale) = best_of_sign(x, importance, positive);
    let (other_error, other) = best_of_sign(x, importance, negative);
    if other_error < error { other } else { scale }
}

/// The best scale with the sign of `needed`, and its error.
fn best_of_sign(x: &[f32], importance: &[f32], needed: f32) -> (f32, i8) {
    let bound = |share: f64| (share * f64::from(needed.abs())).clamp(1.0, INT4_S_MAX);
    let (least, greatest) = (bound(SHARES[0]) as usize, bound(SHARES[1]).ceil() as usize);
    let stride = (greatest - least).div_ceil(SCALES_TRIED).max(1);
    let mut best = (f32::INFINITY, 0);
    let mut try_scale = |scale: usize| {
        let error = squared_error(x, importance, needed.signum() * scale as f32);
        if error < best.0 || error == best.0 && scale < best.1 {
            best = (error, scale);
        }
        best.1
    };
    let mut coarse = 0;
    for scale in (least..=greatest).step_by(stride) {
        coarse = try_scale(scale);
    }
    for scale in (coarse + 1).saturating_sub(stride).max(1)..(coarse + stride).min(128) {
        try_scale(scale);
    }
    let (error, scale) = best;
    (error, if needed < 0.0 { -(scale as i8) } else { scale as i8 })
}

/// `Σ importance · (x - level · s)²` for the nearest levels, in eight partial sums that the compiler keeps in vector
/// registers.
fn squared_error(x: &[f32], importance: &[f32], s: f32) -> f32 {
    let inverse = 1.0 / s;
    let error = |x: f32, importance: f32| {
        let off = x - nearest_level(x * inverse) * s;
        importance * off * off
    };
    let ((x, x_rest), (importance, importance_rest)) = (x.as_chunks::<8>(), importance.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, importance) in x.iter().zip(importance) {
        for lane in 0..8 {
            sums[lane] += error(x[lane], importance[lane]);
        }
    }
    let rest: f32 = x_rest.iter().zip(importance_rest).map(|(&x, &importance)| error(x, importance)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The positive and the negative scale of the least magnitude that clip nothing.
pub(crate) fn needed_scales(values: &[f32]) -> [f32; 2] {
    let (least, greatest) = (f32::from(INT4_LEVELS[0]), f32::from(INT4_LEVELS[15]));
    let (mut min, mut max) = (0.0f32, 0.0f32);
    for &value in values {
        (min, max) = (min.min(value), max.max(value));
    }
    [(min / least).max(max / greatest), (max / least).min(min / greatest)]
}

fn row_len(values: usize, group: usize) -> usize {
    Quantisation::Int4 { group: group as u32 }.row_len(values as u32)
}

/// `lower · level + upper · next level` for each level but the last.
const fn between(lower: f32, upper: f32) -> [f32; 15] {
    let mut out = [0.0; 15];
    let mut k = 0;
    while k < 15 {
        out[k] = lower * INT4_LEVELS[k] as f32 + upper * INT4_LEVELS[k + 1] as f32;
        k += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use proptest::prelude::*;

    fn int4_row(values: &[f32], group: u32) -> (Vec<u8>, i8) {
        let mut row = vec![0xaa; row_len(values.len(), group as usize)];
        let e = quantise_int4(values, None, group, &mut row).expect("finite values");
        (row, e)
    }

    fn int4_round_trip(values: &[f32], group: u32) -> Vec<f32> {
        let mut restored = vec![f32::NAN; values.len()];
        dequantise_int4(&int4_row(values, group).0, group, &mut restored);
        restored
    }

    #[test]
    fn a_row_is_laid_out_as_specified() {
        // Groups of 16, 16 and 1. The largest scale is 1, with room for 1.15 in a byte: 64 · 2^-6.
        let mut values = [0.0; 33];
        values[..3].copy_from_slice(&[-127.0, 113.0, 25.0]);
        values[3..16].fill(1.0);
        values[16..32].fill(-49.0 / 4.0);
        values[17] = 113.0 / 4.0;
        values[32] = 127.0 / 2.0;
        let (row, e) = int4_row(&values, 16);
        assert_eq!((e, row.len()), (-6, 24));
        // The first value of a byte is in its low half.
        assert_eq!(row[..3], [0xf0, 0x8a, 0x88]);
        assert_eq!(row[8], 64);
        assert_eq!(row[9..11], [0xf4, 0x44]);
        assert_eq!(row[17], 16);
        // A positive value of the first level.
        assert_eq!(row[18..], [0, -32i8 as u8, -6i8 as u8, 0, 0, 0]);
    }

    #[test]
    fn zeros_stay_zeros() {
        assert_eq!(int4_round_trip(&[0.0; 20], 16), [0.0; 20]);
        assert_eq!(int4_row(&[0.0; 20], 16).1, i8::MIN);
    }

    #[test]
    fn extremes_are_held() {
        for value in [f32::MAX, 1.0, 1e-33, -f32::MAX] {
            let restored = int4_round_trip(&[value, 0.0], 16)[0];
            let error = (f64::from(restored) - f64::from(value)).abs();
            assert!(error <= f64::from(value).abs() / 64.0, "{value:e}: {restored:e}");
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let error = quantise_int4(&[0.0, f32::NEG_INFINITY], None, 16, &mut [0; 4]);
        assert_eq!(error, Err(NotFinite { column: 1, value: f32::NEG_INFINITY }));
    }

    #[test]
    fn important_columns_are_nearer() {
        let values: Vec<f32> = (0..32).map(|i| (i as f32 * 0.7).sin()).collect();
        let error = |importance: &[f32], column: usize| {
            let mut row = vec![0; row_len(32, 32)];
            quantise_int4(&values, Some(importance), 32, &mut row).expect("finite values");
            let mut restored = [0.0; 32];
            dequantise_int4(&row, 32, &mut restored);
            (values[column] - restored[column]).abs()
        };
        for column in 0..32 {
            let mut importance = [1.0; 32];
            let before = error(&importance, column);
            importance[column] = 1e6;
            assert!(error(&importance, column) <= before, "column {column}");
        }
    }

    proptest! {
        #[test]
        fn every_value_has_its_nearest_level(values in rows(), log2_group in 4u32..10) {
            let group = 1usize << log2_group;
            let (row, e) = int4_row(&values, group as u32);
            let restored = int4_round_trip(&values, group as u32);
            let scales: Vec<i8> = (0..values.len())
                .step_by(group)
                .map(|first| row[first / 2 + first / group + group.min(values.len() - first).div_ceil(2)] as i8)
                .collect();
            for (column, (&value, &restored)) in values.iter().zip(&restored).enumerate() {
                let step = f64::from(scales[column / group]) * 2f64.powi(e.into());
                let error = (f64::from(value) - f64::from(restored)).abs();
                for level in INT4_LEVELS {
                    let other = (f64::from(value) - f64::from(level) * step).abs();
                    // A value in the middle, up to float32's rounding, may take either.
                    prop_assert!(error <= other + step.abs() * 1e-4, "{value} became {restored}, {level} is nearer");
                }
            }
        }

        #[test]
        fn hardly_another_scale_is_better(values in prop::collection::vec(-1f32..1.0, 32)) {
            let x = Int4Row::zeros(&values, 32).in_units(&values);
            let found = squared_error(&x, &[1.0; 32], best_scale(&x, &[1.0; 32]).into());
            let of_sign = |needed: f32| {
                let [least, greatest] = SHARES.map(|share| (f64::from(needed.abs()) * share).ceil() as usize);
                let error = |scale| squared_error(&x, &[1.0; 32], needed.signum() * scale as f32);
                (least..greatest).map(error).fold(f32::INFINITY, f32::min)
            };
            let least = needed_scales(&x).map(of_sign).into_iter().fold(f32::INFINITY, f32::min);
            // Every third scale or so is tried, and the neighbours of the best.
            prop_assert!(found <= 1.2 * least, "{found} and {least}");
        }
    }
}
