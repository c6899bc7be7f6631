//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face's Llama.

use crate::fixed::{self, mul_high_signed};

/// The file's table: for each pair of dimensions, the angle per position, in turns as 0.64 fixed point.
#[derive(Clone, Copy)]
pub(crate) struct Frequencies<'a>(pub &'a [[u8; 8]]);

/// The rotation to a position: for each pair of dimensions, the sine and cosine with 31 fraction bits, in which 1 is the
/// largest number. All layers of a token use it.
pub(crate) struct Rotation<'a> {
    pub sin_cos: &'a mut [[i32; 2]],
    /// The position, once one has been set.
    pub position: Option<usize>,
}

impl Rotation<'_> {
    /// Sets the rotation to that of `position`. The angle is exact modulo a turn.
    pub fn set(&mut self, frequencies: Frequencies<'_>, position: usize) {
        if self.position == Some(position) {
            return;
        }
        self.position = Some(position);
        for (sin_cos, frequency) in self.sin_cos.iter_mut().zip(frequencies.0) {
            let turns = u64::from_le_bytes(*frequency).wrapping_mul(position as u64);
            let (sin, cos) = fixed::sin_cos((turns >> 32) as u32);
            *sin_cos = [sin, cos].map(|x| x.saturating_mul(2));
        }
    }

    /// Rotates every head of `vector`. Values below 2^30 stay below 2^30.5.
    pub fn rotate(&self, vector: &mut [i32]) {
        let half = self.sin_cos.len();
        for head in vector.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), &[sin, cos]) in first.iter_mut().zip(second).zip(&*self.sin_cos) {
                (*a, *b) = (
                    (mul_high_signed(*a, cos) - mul_high_signed(*b, sin)) << 1,
                    (mul_high_signed(*b, cos) + mul_high_signed(*a, sin)) << 1,
                );
            }
        }
    }
}
