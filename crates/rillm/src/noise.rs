//! Gumbel noise, a function of seed, position and token.

use crate::fixed::{neg_log2, round_shift};

/// Gumbel noise for every token of a position.
pub struct Noise {
    key: [u32; 2],
}

impl Noise {
    /// The noise of a position.
    pub fn new(seed: u64, position: u64) -> Self {
        // SplitMix64 (Steele, Lea and Flood 2014) of the seed's `position`-th state.
        let mut z = seed.wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self { key: [z as u32, (z >> 32) as u32] }
    }

    /// A token's random number.
    pub fn uniform(&self, id: u32) -> u32 {
        mix(mix(id ^ self.key[0]).wrapping_add(self.key[1]))
    }
}

/// No noise exceeds this, the largest value of [`most_gumbel`].
pub const MOST_GUMBEL: i64 = 32 << 16;

/// An upper bound of [`gumbel`] without its logarithms.
pub fn most_gumbel(uniform: u32) -> i64 {
    // With d = 2^32 - uniform, the noise is below -log2(d / 2^32), since -log2(u) > 1 - u; and d ≥ 2^(31 - zeros).
    // To the bit: `neg_log2(x)` is at most (zeros of x + 1) · 2^26, and round((zeros + 1) · 2^26, 10) is the bound. Near
    // 1, `gumbel` is that of d less 34,653. Elsewhere its inner logarithm is -log2(u) · 2^26 > 1.4 · d / 2^6, less an
    // error of 8, which for d ≥ 2^20 is more than d / 2^6 and has at most 6 zeros more than d; `gumbel` subtracts 6.
    let zeros = (uniform | 1).wrapping_neg().leading_zeros();
    i64::from((zeros + 1) << 16)
}

/// `-log2(-log2(u))` of the fraction `u = uniform / 2^32`, 16 fraction bits: Gumbel noise in the base-2 logarithmic
/// domain.
pub fn gumbel(uniform: u32) -> i64 {
    // Odd, so that neither it nor its distance from 1 is zero.
    let uniform = uniform | 1;
    let distance = uniform.wrapping_neg();
    if distance < 1 << 20 {
        // Near 1, -log2(u) is (1 - u) · log2(e) but for a part in 2^13; log2(log2(e)) is 0.528766.
        return round_shift(neg_log2(distance).into(), 10) - 34_653;
    }
    // -log2(u) has 26 fraction bits; log2 of it as a fraction of 2^32 is log2(it) + 26 - 32.
    round_shift(neg_log2(neg_log2(uniform)).into(), 10) - (6 << 16)
}

/// A bijection of 32 bits in which every input bit changes about half of the output bits: MurmurHash3's finaliser
/// (Appleby).
fn mix(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gumbel_noise_is_near_float64_to_its_ends() {
        let exact = |uniform: u32| -(-(f64::from(uniform | 1) * 2f64.powi(-32)).log2()).log2();
        for zeros in 0..32 {
            for uniform in [u32::MAX >> zeros, !(u32::MAX >> 1 >> zeros), !(u32::MAX >> zeros), 0x9e37_79b9 >> zeros] {
                let got = gumbel(uniform) as f64 / 65_536.0;
                assert!((got - exact(uniform)).abs() < 2.5e-4, "{uniform:x}: {got} {}", exact(uniform));
            }
        }
    }

    proptest! {
        #[test]
        fn the_bound_is_above_the_noise(uniform: u32, ones in 0u32..=32) {
            for uniform in [uniform, uniform | !(u32::MAX.checked_shr(ones).unwrap_or(0)), uniform >> (ones % 32)] {
                prop_assert!(gumbel(uniform) <= most_gumbel(uniform));
                // In the upper half, the bound is at most 2 above.
                prop_assert!(uniform < 1 << 31 || gumbel(uniform) > most_gumbel(uniform) - (2 << 16));
                prop_assert!(most_gumbel(uniform) <= MOST_GUMBEL);
            }
        }
    }
}
