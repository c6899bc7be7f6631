//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face's Llama.

use crate::fixed::{self, mul_high_signed};

/// The rotation of a pass.
pub(crate) struct Rotation<'a> {
    /// The file's table: for each pair of dimensions, the angle per position, in turns as 0.64 fixed point.
    frequencies: &'a [[u8; 8]],
    /// For each pair of dimensions, sine and cosine at `position` with 31 fraction bits, in which 1 is the largest number.
    sin_cos: &'a mut [[i32; 2]],
    /// The last position, which is the next layer's, too, unless there are several tokens.
    position: Option<usize>,
}

impl<'a> Rotation<'a> {
    /// A rotation by the file's table, with room for as many sines and cosines.
    pub fn new(frequencies: &'a [[u8; 8]], sin_cos: &'a mut [[i32; 2]]) -> Self {
        Self { frequencies, sin_cos, position: None }
    }

    /// Rotates every head of `vector` to `position`. Values below 2^30 stay below 2^30.5.
    pub fn rotate(&mut self, vector: &mut [i32], position: usize) {
        if self.position != Some(position) {
            self.set(position);
        }
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

    /// Computes the sines and cosines. An angle is exact modulo a turn.
    fn set(&mut self, position: usize) {
        self.position = Some(position);
        for (sin_cos, frequency) in self.sin_cos.iter_mut().zip(self.frequencies) {
            let turns = u64::from_le_bytes(*frequency).wrapping_mul(position as u64);
            let (sin, cos) = fixed::sin_cos((turns >> 32) as u32);
            *sin_cos = [sin, cos].map(|x| x.saturating_mul(2));
        }
    }
}
