//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face's Llama.

use crate::fixed::{mul_high_signed, sin_cos};

/// The file's table: for each pair of dimensions, the angle per position, in turns as 0.64 fixed point.
#[derive(Clone, Copy)]
pub(crate) struct Frequencies<'a>(pub &'a [[u8; 8]]);

impl Frequencies<'_> {
    /// Rotates every head of `vector` to `position`.
    ///
    /// The angle is exact modulo a turn. Values below 2^30 stay below 2^30.5.
    pub fn rotate(&self, vector: &mut [i32], position: u32) {
        let half = self.0.len();
        for (pair, frequency) in self.0.iter().enumerate() {
            let turns = u64::from_le_bytes(*frequency).wrapping_mul(position.into());
            // 31 fraction bits, in which 1 is the largest number.
            let (sin, cos) = sin_cos((turns >> 32) as u32);
            let [sin, cos] = [sin, cos].map(|x| x.saturating_mul(2));
            for head in vector.chunks_exact_mut(2 * half) {
                let (a, b) = (head[pair], head[pair + half]);
                head[pair] = (mul_high_signed(a, cos) - mul_high_signed(b, sin)) << 1;
                head[pair + half] = (mul_high_signed(b, cos) + mul_high_signed(a, sin)) << 1;
            }
        }
    }
}
