//! The rotary embedding's angles (Su et al., "RoFormer", 2021), with the scalings of Llama checkpoints.

use std::f64::consts::TAU;

use rillm::format::{Rope, RopeScaling};

/// The angle in radians between one position and the next for each of the `head_dim / 2` pairs of a head's dimensions:
/// `theta^(-2i / head_dim)` for pair *i*, scaled.
///
/// `linear` divides every angle by its factor. `llama3` is that of Llama 3.1, as in `_compute_llama3_parameters` of
/// transformers' `modeling_rope_utils.py`: with wavelength `2π / angle` in positions, wavelengths shorter than
/// `original_context / high_freq_factor` are kept, those longer than `original_context / low_freq_factor` are multiplied
/// by `factor`, and between the two the angle is interpolated linearly in `original_context / wavelength`.
///
/// `divisors` are those of [`RopeScaling::Divisors`], one for each pair; without it, none.
///
/// The power is computed in software, so that every machine gets the same bits.
pub fn frequencies(rope: &Rope, divisors: &[f32], head_dim: u32) -> Vec<f64> {
    (0..head_dim / 2)
        .map(|pair| {
            let exponent = -2.0 * f64::from(pair) / f64::from(head_dim);
            let divisor = divisors.get(pair as usize).map_or(1.0, |&divisor| f64::from(divisor));
            scale(rope.scaling, libm::pow(f64::from(rope.theta), exponent)) / divisor
        })
        .collect()
}

fn scale(scaling: RopeScaling, frequency: f64) -> f64 {
    match scaling {
        RopeScaling::None | RopeScaling::Divisors => frequency,
        RopeScaling::Linear { factor } => frequency / f64::from(factor),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let [factor, low, high] = [factor, low_freq_factor, high_freq_factor].map(f64::from);
            // Turns in the original context.
            let turns = f64::from(original_context) * frequency / TAU;
            // 0 where the angle is divided by the factor, 1 where it is kept.
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - kept) * frequency / factor + kept * frequency
        }
    }
}

/// The file's `rope` section: for each pair the angle from one position to the next in turns, as unsigned 0.64 fixed
/// point, rounded down (error below 2^-53 turns, most of it float64's).
pub fn table(rope: &Rope, divisors: &[f32], head_dim: u32) -> Vec<u64> {
    frequencies(rope, divisors, head_dim)
        .into_iter()
        // Theta and the factors are at least 1 and divisors 0.5: an angle is at most 1 / π turns and does not saturate.
        .map(|frequency| (frequency / TAU * 18_446_744_073_709_551_616.0) as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(theta: f32, scaling: RopeScaling) -> Rope {
        Rope { theta, scaling }
    }

    #[test]
    fn unscaled_angles_are_a_geometric_series() {
        let angles = frequencies(&rope(10_000.0, RopeScaling::None), &[], 8);
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (angle, expected) in angles.iter().zip(expected) {
            assert!((angle / expected - 1.0).abs() < 1e-15, "{angle}");
        }
    }

    #[test]
    fn first_table_entry_is_one_radian() {
        let table = table(&rope(10_000.0, RopeScaling::None), &[], 8);
        // 2^64 / 2π
        assert!(table[0].abs_diff(2_935_890_503_282_001_226) < 1 << 11);
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn linear_scaling_divides() {
        let scaled = frequencies(&rope(10_000.0, RopeScaling::Linear { factor: 4.0 }), &[], 96);
        let plain = frequencies(&rope(10_000.0, RopeScaling::None), &[], 96);
        for (scaled, plain) in scaled.iter().zip(plain) {
            assert_eq!(*scaled, plain / 4.0);
        }
    }

    #[test]
    fn llama3_scaling_keeps_short_wavelengths_and_stretches_long_ones() {
        // Llama 3.2 1B.
        let scaling =
            RopeScaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192 };
        let scaled = frequencies(&rope(500_000.0, scaling), &[], 64);
        let plain = frequencies(&rope(500_000.0, RopeScaling::None), &[], 64);
        let mut blended = 0;
        for (scaled, plain) in scaled.iter().zip(plain) {
            let wavelength = TAU / plain;
            if wavelength < 2048.0 {
                assert_eq!(*scaled, plain);
            } else if wavelength > 8192.0 {
                assert_eq!(*scaled, plain / 32.0);
            } else {
                assert!(*scaled < plain && *scaled > plain / 32.0);
                blended += 1;
            }
        }
        assert!(blended > 0);
    }
}
