//! Rows of int8: signed bytes with a scale for each group.

use rillm::format::Quantisation;

use super::{INT8_S_MAX, NotFinite, check_finite, max_magnitude, scale_exponent, to_f32};

/// The largest magnitude of an int8 value.
const Q_MAX: f64 = 127.0;
/// The number of scales that are tried for each group. Compared with the first scale alone, this lowers the KL
/// divergence of quantisation by 15 to 40 % at groups of 32 and 16; twice as many change it by a few per cent in either
/// direction.
const SCALES_TRIED: u8 = 16;

/// Quantises a row to int8 with a scale for each group of `group` values, and returns its exponent *e*. `out` is the row
/// of [the file format]: the values, a scale for each group, the exponent, zeros up to a multiple of four bytes.
///
/// *e* is the smallest exponent for which the largest group's scale fits a byte, so that this scale is 128 to 255. A
/// group's scale is the smallest that clips nothing or, of the 15 above, one that leaves less squared error: a slightly
/// larger step often fits a group's values better. Nothing is clipped, and a value is off by at most half a step of
/// `s · 2^e`. A row whose largest magnitude is below 2^-114 is held in steps of 2^-128: only there is precision lost. A
/// row of zeros has scales of zero and the exponent -128.
///
/// `group` is a power of two, 16 to 512.
///
/// # Errors
/// [`NotFinite`] names the first value that is.
///
/// # Panics
/// Unless `out` has [`Quantisation::row_len`] bytes.
///
/// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
pub fn quantise_int8(values: &[f32], group: u32, out: &mut [u8]) -> Result<i8, NotFinite> {
    let layout = RowLayout::new(values.len(), group);
    assert_eq!(out.len(), layout.len, "bytes of a row");
    check_finite(values)?;

    let (quantised, rest) = out.split_at_mut(values.len());
    let (scales, rest) = rest.split_at_mut(layout.groups);
    let e = scale_exponent(max_magnitude(values) / Q_MAX, INT8_S_MAX);
    let unit = libm::scalbn(1.0, e.into());
    let groups = values.chunks(group as usize);
    for ((values, quantised), scale) in groups.zip(quantised.chunks_mut(group as usize)).zip(scales) {
        *scale = group_scale(values, unit);
        // A group of zeros has the scale 0, and any step.
        let step = f64::from((*scale).max(1)) * unit;
        for (q, &value) in quantised.iter_mut().zip(values) {
            *q = (f64::from(value) / step).round() as i8 as u8;
        }
    }
    rest.fill(0);
    rest[0] = e as u8;
    Ok(e)
}

/// The scale, in units of `unit`, with the least squared error of those tried; the smallest of equal ones.
fn group_scale(values: &[f32], unit: f64) -> u8 {
    // At most INT8_S_MAX by the choice of the exponent.
    let least = (max_magnitude(values) / Q_MAX / unit).ceil() as u8;
    if least == 0 {
        return 0;
    }
    let in_units: Vec<f32> = values.iter().map(|&value| (f64::from(value) / unit) as f32).collect();
    let mut best = (f32::INFINITY, least);
    for scale in least..=least.saturating_add(SCALES_TRIED - 1) {
        let error = squared_error(&in_units, scale.into());
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

/// `Σ (x - s · round(x / s))²` for `|x| <= 127 · 255`, in sixteen partial sums that the compiler keeps in vector
/// registers.
fn squared_error(x: &[f32], s: f32) -> f32 {
    /// 1.5 · 2^23: adding it rounds to an integer. (`round` would be a call for each value.)
    const ROUND: f32 = 12_582_912.0;
    let error = |x: f32| {
        let off = x - ((x / s + ROUND) - ROUND) * s;
        off * off
    };
    let (chunks, rest) = x.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += error(chunk[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| error(x)).sum::<f32>()
}

/// The float32 values of an int8 row, `q · s · 2^e`, rounded to nearest where float32 has fewer bits (below 2^-126).
///
/// # Panics
/// Unless `row` has [`Quantisation::row_len`] bytes for as many values as `out` has.
pub fn dequantise_int8(row: &[u8], group: u32, out: &mut [f32]) {
    let layout = RowLayout::new(out.len(), group);
    assert_eq!(row.len(), layout.len, "bytes of a row");
    let (quantised, rest) = row.split_at(out.len());
    let (scales, rest) = rest.split_at(layout.groups);
    let unit = libm::scalbn(1.0, (rest[0] as i8).into());
    let groups = out.chunks_mut(group as usize);
    for ((out, quantised), &scale) in groups.zip(quantised.chunks(group as usize)).zip(scales) {
        let step = f64::from(scale) * unit;
        for (value, &q) in out.iter_mut().zip(quantised) {
            *value = to_f32(f64::from(q as i8) * step);
        }
    }
}

struct RowLayout {
    groups: usize,
    len: usize,
}

impl RowLayout {
    fn new(values: usize, group: u32) -> Self {
        Self { groups: values.div_ceil(group as usize), len: Quantisation::Int8 { group }.row_len(values as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use proptest::prelude::*;

    fn int8_row(values: &[f32], group: u32) -> (Vec<u8>, i8) {
        let mut row = vec![0xaa; Quantisation::Int8 { group }.row_len(values.len() as u32)];
        let e = quantise_int8(values, group, &mut row).expect("finite values");
        (row, e)
    }

    fn int8_round_trip(values: &[f32], group: u32) -> Vec<f32> {
        let mut restored = vec![f32::NAN; values.len()];
        dequantise_int8(&int8_row(values, group).0, group, &mut restored);
        restored
    }

    #[test]
    fn a_row_is_laid_out_as_specified() {
        // Groups of 16, 16 and 1; the largest scale is 1 = 128 · 2^-7, so e = -7.
        let mut values = [0.0; 33];
        (values[0], values[1]) = (127.0, -64.0);
        // Needs a scale of 1.28, and 2 leaves no error.
        (values[16], values[17]) = (-81.0 * 2.0 / 128.0, 3.0 * 2.0 / 128.0);
        let (row, e) = int8_row(&values, 16);
        assert_eq!(e, -7);
        assert_eq!(row.len(), 40);
        assert_eq!((row[0] as i8, row[1] as i8, row[2]), (127, -64, 0));
        assert_eq!((row[16] as i8, row[17] as i8), (-81, 3));
        assert_eq!(row[33..36], [128, 2, 0]);
        assert_eq!(row[36..], [-7i8 as u8, 0, 0, 0]);
    }

    #[test]
    fn zeros_stay_zeros() {
        assert_eq!(int8_round_trip(&[0.0; 20], 16), [0.0; 20]);
        assert_eq!(int8_row(&[0.0; 20], 16).1, i8::MIN);
    }

    #[test]
    fn extremes_are_held() {
        for value in [f32::MAX, 1.0, f32::MIN_POSITIVE, 1e-35, -f32::MAX] {
            let restored = int8_round_trip(&[value, 0.0], 16)[0];
            let error = (f64::from(restored) - f64::from(value)).abs();
            assert!(error <= f64::from(value).abs() / 128.0, "{value:e}: {restored:e}");
        }
        // Below 2^-129 half a step is more than the value.
        assert_eq!(int8_round_trip(&[f32::from_bits(1)], 16), [0.0]);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let error = quantise_int8(&[0.0, f32::INFINITY, f32::NAN], 16, &mut [0; 8]);
        assert_eq!(error, Err(NotFinite { column: 1, value: f32::INFINITY }));
    }

    proptest! {
        #[test]
        fn int8_is_off_by_at_most_half_a_step(values in rows(), log2_group in 4u32..10) {
            let group = 1 << log2_group;
            let (row, e) = int8_row(&values, group);
            let restored = int8_round_trip(&values, group);
            let scales = &row[values.len()..];
            let step = |column: usize| f64::from(scales[column / group as usize]) * 2f64.powi(e.into());
            for (column, (&value, &restored)) in values.iter().zip(&restored).enumerate() {
                let error = (f64::from(value) - f64::from(restored)).abs();
                prop_assert!(error <= 0.5 * step(column) * (1.0 + 1e-12), "{value} became {restored}");
            }
            for (q, s) in row[..values.len()].iter().zip(scales.iter().flat_map(|&s| vec![s; group as usize])) {
                prop_assert!((*q as i8) >= -127 && (s > 0 || *q == 0));
            }
            let largest = scales[..values.len().div_ceil(group as usize)].iter().max();
            prop_assert!(e == i8::MIN || largest >= Some(&128));
        }

        #[test]
        fn representable_rows_are_exact(
            groups in prop::collection::vec((1u8..=255, prop::collection::vec(-127i8..=127, 15)), 1..5),
            e in -100i32..100,
        ) {
            let values: Vec<f32> = groups
                .iter()
                // A group that uses its whole range says by itself what its scale is.
                .flat_map(|(s, q)| q.iter().chain([&127]).map(|&q| f32::from(q) * f32::from(*s)))
                .map(|v| v * 2f32.powi(e))
                .collect();
            prop_assert_eq!(int8_round_trip(&values, 16), values);
        }
    }
}
