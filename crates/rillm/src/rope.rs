//! Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face's Llama.

use crate::fixed::{round_shift, sin_cos};

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
            let (sin, cos) = sin_cos((turns >> 32) as u32);
            let (sin, cos) = (i64::from(sin), i64::from(cos));
            for head in vector.chunks_exact_mut(2 * half) {
                let (a, b) = (i64::from(head[pair]), i64::from(head[pair + half]));
                head[pair] = round_shift(a * cos - b * sin, 30) as i32;
                head[pair + half] = round_shift(b * cos + a * sin, 30) as i32;
            }
        }
    }
}
