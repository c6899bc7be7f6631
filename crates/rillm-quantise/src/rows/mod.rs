//! Quantises float32 rows to the bytes, as in [the file format], and back.
//!
//! [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md

pub(crate) mod int4;
mod int8;

pub use int4::{dequantise_int4, quantise_int4};
pub use int8::{dequantise_int8, quantise_int8};

use rillm::format::Quantisation;

/// The largest scale of a group in int8.
const INT8_S_MAX: f64 = 255.0;
/// The largest magnitude of a scale in int4, which has a sign.
pub(crate) const INT4_S_MAX: f64 = 127.0;
/// Bits of a norm's mantissa without the sign.
const FIXED32_BITS: i32 = 24;

/// A value that a row cannot hold: not a number, or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// Its column.
    pub column: usize,
    /// The value.
    pub value: f32,
}

/// Quantises a row as `quantisation` says, and returns its exponent: see [`quantise_int8`], [`quantise_int4`] and
/// [`quantise_fixed32`].
///
/// # Errors
/// [`NotFinite`] names the first value that is.
///
/// # Panics
/// Unless `out` has [`Quantisation::row_len`] bytes.
pub fn quantise_row(quantisation: Quantisation, values: &[f32], out: &mut [u8]) -> Result<i8, NotFinite> {
    match quantisation {
        Quantisation::Fixed32 => quantise_fixed32(values, out),
        Quantisation::Int8 { group } => quantise_int8(values, group, out),
        Quantisation::Int4 { group } => quantise_int4(values, None, group, out),
    }
}

/// The float32 values of a row. `exponent` is the tensor header's; a matrix's row has its own exponent and ignores it.
///
/// # Panics
/// Unless `row` has [`Quantisation::row_len`] bytes for as many values as `out` has.
pub fn dequantise_row(quantisation: Quantisation, exponent: i8, row: &[u8], out: &mut [f32]) {
    match quantisation {
        Quantisation::Fixed32 => dequantise_fixed32(row, exponent, out),
        Quantisation::Int8 { group } => dequantise_int8(row, group, out),
        Quantisation::Int4 { group } => dequantise_int4(row, group, out),
    }
}

/// Multiplies the scale of each group of a matrix's row by its factor, and returns the row's exponent, which is chosen
/// anew: the smallest for which a byte holds the largest scale. Scales are rounded to nearest; the values' own bits stay.
///
/// # Panics
/// If the quantisation is a vector's. Unless `row` has [`Quantisation::row_len`] bytes for `cols` values, and `factors` a
/// finite number for each group, not negative.
pub fn rescale_row(quantisation: Quantisation, cols: usize, row: &mut [u8], factors: &[f32]) -> i8 {
    assert_eq!(row.len(), quantisation.row_len(cols as u32), "bytes of a row");
    let (group, is_int4, s_max) = match quantisation {
        Quantisation::Int8 { group } => (group, false, INT8_S_MAX),
        Quantisation::Int4 { group } => (group, true, INT4_S_MAX),
        Quantisation::Fixed32 => panic!("a vector has no scales"),
    };
    let ends = (0..cols).step_by(group as usize).map(|start| cols.min(start + group as usize));
    let place = |(index, end): (usize, usize)| index + if is_int4 { end.div_ceil(2) } else { cols };
    let places: Vec<usize> = ends.enumerate().map(place).collect();
    assert_eq!(factors.len(), places.len(), "a factor for each group");
    let exponent_at = places[places.len() - 1] + 1;
    let unit = libm::scalbn(1.0, (row[exponent_at] as i8).into());
    let byte = |place: usize| if is_int4 { f64::from(row[place] as i8) } else { f64::from(row[place]) };
    let scale = |(&place, &factor): (&usize, &f32)| byte(place) * unit * f64::from(factor);
    let scales: Vec<f64> = places.iter().zip(factors).map(scale).collect();
    let exponent = scale_exponent(scales.iter().fold(0.0, |max: f64, scale| max.max(scale.abs())), s_max);
    let unit = libm::scalbn(1.0, exponent.into());
    for (place, scale) in places.into_iter().zip(scales) {
        let scale = (scale / unit).round();
        row[place] = if is_int4 { scale as i8 as u8 } else { scale as u8 };
    }
    row[exponent_at] = exponent as u8;
    exponent
}

/// The smallest exponent, at least -128, with `scale <= s_max · 2^e`. `s_max` is just below a power of two.
fn scale_exponent(scale: f64, s_max: f64) -> i8 {
    let e = clamp_exponent(power_above(scale) - power_above(s_max));
    if scale <= s_max * libm::scalbn(1.0, e.into()) { e } else { e + 1 }
}

/// Quantises a norm's weights to 32-bit mantissas with one exponent, which it returns: the smallest, at least -128, for
/// which every mantissa's magnitude is below 2^24. The largest weight is exact, the others are off by at most half a
/// step. `out` has 4 bytes a value.
///
/// # Errors
/// [`NotFinite`] names the first value that is.
///
/// # Panics
/// Unless `out` has 4 bytes a value.
pub fn quantise_fixed32(values: &[f32], out: &mut [u8]) -> Result<i8, NotFinite> {
    assert_eq!(out.len(), 4 * values.len(), "bytes of a row");
    check_finite(values)?;
    let exponent = clamp_exponent(power_above(max_magnitude(values)) - FIXED32_BITS);
    let unit = libm::scalbn(1.0, exponent.into());
    for (out, &value) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *out = ((f64::from(value) / unit).round() as i32).to_le_bytes();
    }
    Ok(exponent)
}

/// The float32 values of a norm's row, `m · 2^exponent`; exact where `m` came from [`quantise_fixed32`].
///
/// # Panics
/// Unless `row` has 4 bytes a value.
pub fn dequantise_fixed32(row: &[u8], exponent: i8, out: &mut [f32]) {
    assert_eq!(row.len(), 4 * out.len(), "bytes of a row");
    let unit = libm::scalbn(1.0, exponent.into());
    for (value, &mantissa) in out.iter_mut().zip(row.as_chunks().0) {
        *value = to_f32(f64::from(i32::from_le_bytes(mantissa)) * unit);
    }
}

/// The power of a signal and of its quantisation error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    signal: f64,
    error: f64,
}

impl Noise {
    /// The noise of values and their quantised form.
    pub fn between(values: &[f32], restored: &[f32]) -> Self {
        values.iter().zip(restored).fold(Self::default(), |sum, (&value, &restored)| {
            let (value, restored) = (f64::from(value), f64::from(restored));
            sum.plus(Self { signal: value * value, error: (value - restored) * (value - restored) })
        })
    }

    /// The power of both.
    pub fn plus(self, other: Self) -> Self {
        Self { signal: self.signal + other.signal, error: self.error + other.error }
    }

    /// Signal-to-noise ratio in decibels: `10 log10(Σ v² / Σ (v - v')²)`. Infinite where nothing was lost.
    pub fn snr_db(self) -> f64 {
        if self.error == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.error).log10() }
    }
}

/// The smallest *p* with `magnitude < 2^p`; of zero, less than of any float32.
fn power_above(magnitude: f64) -> i32 {
    if magnitude == 0.0 { 2 * f32::MIN_EXP } else { libm::frexp(magnitude).1 }
}

/// Float32's largest magnitude is below 2^128, so that no exponent is near the upper end.
fn clamp_exponent(exponent: i32) -> i8 {
    exponent.clamp(i8::MIN.into(), i8::MAX.into()) as i8
}

fn max_magnitude(values: &[f32]) -> f64 {
    f64::from(values.iter().fold(0.0, |max: f32, value| max.max(value.abs())))
}

fn check_finite(values: &[f32]) -> Result<(), NotFinite> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => Err(NotFinite { column, value: values[column] }),
    }
}

/// Half a step above float32's largest value is still that value.
fn to_f32(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_stay_zeros() {
        let mut row = [1; 12];
        quantise_fixed32(&[0.0; 3], &mut row).expect("finite values");
        assert_eq!(row, [0; 12]);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let error = quantise_fixed32(&[f32::NAN], &mut [0; 4]).map_err(|error| error.column);
        assert_eq!(error, Err(0));
    }

    #[test]
    fn snr_of_a_known_error() {
        let noise = Noise::between(&[1.0, 1.0], &[1.1, 0.9]);
        assert!((noise.snr_db() - 20.0).abs() < 1e-4);
        assert_eq!(Noise::between(&[1.0], &[1.0]).snr_db(), f64::INFINITY);
    }

    /// Rows whose groups differ in scale, from denormal to huge.
    pub(super) fn rows() -> impl Strategy<Value = Vec<f32>> {
        let value = (-1.0f32..1.0, -12i32..12).prop_map(|(v, e)| v * 2f32.powi(e));
        (prop::collection::vec(value, 1..200), -100i32..110)
            .prop_map(|(row, e)| row.iter().map(|v| v * 2f32.powi(e)).collect())
    }

    #[test]
    fn rescaling_changes_scales_and_nothing_else() {
        let values: Vec<f32> =
            (0..70).map(|i| ((i * 37 % 71) as f32 - 35.0) * if i < 32 { 1.0 } else { 0.1 }).collect();
        for quantisation in [Quantisation::Int8 { group: 32 }, Quantisation::Int4 { group: 32 }] {
            let mut row = vec![0; quantisation.row_len(70)];
            quantise_row(quantisation, &values, &mut row).expect("finite values");
            let restore = |row: &[u8]| {
                let mut restored = vec![0.0; 70];
                dequantise_row(quantisation, 0, row, &mut restored);
                restored
            };
            let before = restore(&row);
            // Powers of two change the exponent only.
            let mut doubled = row.clone();
            let exponent = rescale_row(quantisation, 70, &mut doubled, &[2.0; 3]);
            assert_eq!(restore(&doubled), before.iter().map(|value| 2.0 * value).collect::<Vec<_>>());
            assert_eq!(rescale_row(quantisation, 70, &mut doubled, &[0.5; 3]), exponent - 1);
            assert_eq!(doubled, row);
            // The largest scale, of the first group, vanishes, and the others gain bits.
            rescale_row(quantisation, 70, &mut row, &[0.0, 1.1, 0.9]);
            for (column, (&found, &before)) in restore(&row).iter().zip(&before).enumerate() {
                let factor = [0.0, 1.1, 0.9][column / 32];
                assert!((found - factor * before).abs() <= 0.01 * before.abs(), "{found} for {factor} times {before}");
            }
        }
    }

    proptest! {
        #[test]
        fn fixed32_is_off_by_at_most_half_a_step(values in rows()) {
            let mut row = vec![0; 4 * values.len()];
            let exponent = quantise_fixed32(&values, &mut row).expect("finite values");
            let mut restored = vec![0.0; values.len()];
            dequantise_fixed32(&row, exponent, &mut restored);
            for (value, restored) in values.iter().zip(restored) {
                let error = (f64::from(*value) - f64::from(restored)).abs();
                prop_assert!(error <= 0.5 * 2f64.powi(exponent.into()));
            }
            for mantissa in row.as_chunks().0 {
                prop_assert!(i32::from_le_bytes(*mantissa).unsigned_abs() < 1 << 24);
            }
        }
    }
}
