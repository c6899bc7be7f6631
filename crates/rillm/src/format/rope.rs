//! The fields of the rotary embedding in the header.

use super::FormatError;
use super::bytes::{put, u32_at};
use super::header::finite;

const AT_ROPE_THETA: usize = 52;
pub(super) const AT_ROPE_SCALING: usize = 56;
const AT_ROPE_FACTOR: usize = 60;
const AT_ROPE_LOW: usize = 64;
const AT_ROPE_HIGH: usize = 68;
const AT_ROPE_ORIGINAL: usize = 72;

/// The scaling of the rotary embedding's frequencies. For information only: the frequencies in the
/// [`SectionKind::Rope`](super::SectionKind::Rope) table are already scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// No scaling.
    None,
    /// Every frequency is divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3.1's scaling: low frequencies are divided by `factor`, high ones are unchanged, and those between are
    /// blended.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f32,
        /// `low_freq_factor` of the checkpoint's configuration.
        low_freq_factor: f32,
        /// `high_freq_factor` of the checkpoint's configuration.
        high_freq_factor: f32,
        /// `original_max_position_embeddings` of the checkpoint's configuration.
        original_context: u32,
    },
    /// Each frequency is divided by its own number, which the header does not store.
    Divisors,
}

/// The parameters of the rotary embedding in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of wavelengths.
    pub theta: f32,
    /// The scaling of the frequencies.
    pub scaling: RopeScaling,
}

impl Rope {
    /// Reads the fields of a header.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let factor = finite("rope factor", bytes, AT_ROPE_FACTOR)?;
        Ok(Self {
            theta: finite("rope theta", bytes, AT_ROPE_THETA)?,
            scaling: match u32_at(bytes, AT_ROPE_SCALING) {
                0 => RopeScaling::None,
                1 => RopeScaling::Linear { factor },
                2 => RopeScaling::Llama3 {
                    factor,
                    low_freq_factor: finite("rope low_freq_factor", bytes, AT_ROPE_LOW)?,
                    high_freq_factor: finite("rope high_freq_factor", bytes, AT_ROPE_HIGH)?,
                    original_context: u32_at(bytes, AT_ROPE_ORIGINAL),
                },
                3 => RopeScaling::Divisors,
                value => {
                    return Err(FormatError::Unknown { field: "rope scaling", value });
                }
            },
        })
    }

    /// The inverse of [`parse`](Self::parse).
    pub(super) fn emit(&self, bytes: &mut [u8]) {
        let (scaling, factor, low, high, original) = match self.scaling {
            RopeScaling::None => (0, 0.0, 0.0, 0.0, 0),
            RopeScaling::Linear { factor } => (1, factor, 0.0, 0.0, 0),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                (2, factor, low_freq_factor, high_freq_factor, original_context)
            }
            RopeScaling::Divisors => (3, 0.0, 0.0, 0.0, 0),
        };
        let fields = [
            (AT_ROPE_THETA, self.theta.to_bits()),
            (AT_ROPE_SCALING, scaling),
            (AT_ROPE_FACTOR, factor.to_bits()),
            (AT_ROPE_LOW, low.to_bits()),
            (AT_ROPE_HIGH, high.to_bits()),
            (AT_ROPE_ORIGINAL, original),
        ];
        for (at, value) in fields {
            put(bytes, at, &value.to_le_bytes());
        }
    }
}
