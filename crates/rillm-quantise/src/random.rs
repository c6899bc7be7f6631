//! Random numbers that are the same on every machine.

/// Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014). Good enough for test data, and for
/// sampling where the same seed must give the same text.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64(
    /// The state, which may be any seed.
    pub u64,
);

impl SplitMix64 {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0 … 1, 1 excluded.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    /// Approximately normal with mean 0 and variance 1: the sum of twelve uniform numbers less six. No logarithm is
    /// used, so every machine gets the same bits.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = SplitMix64(1);
        let n = 10_000;
        let numbers: Vec<f32> = (0..n).map(|_| random.normal()).collect();
        let mean = numbers.iter().sum::<f32>() / n as f32;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n as f32;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
