//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face's Llama.

use crate::fixed::{self, mul_high_signed};

/// The file's table: for each pair of dimensions, the angle per position, in turns as 0.64 fixed point. Then for each pair, sine
/// and cosine at a position with 31 fraction bits, in which 1 is the largest number: they are the same in all layers.
pub(crate) struct Rotation<'a>(pub &'a mut [[u8; 8]]);

impl Rotation<'_> {
    /// Computes the sines and cosines at `position`. An angle is exact modulo a turn.
    pub fn set(&mut self, position: usize) {
        let (frequencies, sin_cos) = self.0.split_at_mut(self.0.len() / 2);
        let sin_cos: &mut [[i32; 2]] = bytemuck::cast_slice_mut(sin_cos);
        for (sin_cos, frequency) in sin_cos.iter_mut().zip(frequencies) {
            let turns = u64::from_le_bytes(*frequency).wrapping_mul(position as u64);
            let (sin, cos) = fixed::sin_cos((turns >> 32) as u32);
            *sin_cos = [sin, cos].map(|x| x.saturating_mul(2));
        }
    }

    /// Rotates every head of `vector` to the position that was set. Values below 2^30 stay below 2^30.5.
    pub fn rotate(&self, vector: &mut [i32]) {
        let half = self.0.len() / 2;
        let sin_cos: &[[i32; 2]] = bytemuck::cast_slice(&self.0[half..]);
        for head in vector.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), &[sin, cos]) in first.iter_mut().zip(second).zip(sin_cos) {
                (*a, *b) = (
                    (mul_high_signed(*a, cos) - mul_high_signed(*b, sin)) << 1,
                    (mul_high_signed(*b, cos) + mul_high_signed(*a, sin)) << 1,
                );
            }
        }
    }
}
