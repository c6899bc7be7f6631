//! A checksum of logits, to compare the results of two machines.

use crate::format::Crc32;
use crate::logits::Logit;

/// A CRC-32 over logits, in order: token, mantissa and exponent, 32 bits each, little-endian.
///
/// [`Session::next_observed`](crate::Session::next_observed) provides the logits.
#[derive(Clone, Default)]
pub struct Fingerprint(Crc32);

impl Fingerprint {
    /// Creates the fingerprint of no logits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a logit.
    pub fn add(&mut self, Logit { token, mantissa, exponent }: Logit) {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&token.to_le_bytes());
        bytes[4..8].copy_from_slice(&mantissa.to_le_bytes());
        bytes[8..].copy_from_slice(&exponent.to_le_bytes());
        self.0.update(&bytes);
    }

    /// The CRC-32 of the logits so far.
    pub fn value(&self) -> u32 {
        self.0.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_crc_of_the_bytes() {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add(Logit { token: 1, mantissa: -2, exponent: 3 });
        fingerprint.add(Logit { token: u32::MAX, mantissa: i32::MIN, exponent: -30 });
        let bytes: std::vec::Vec<u8> = [1, -2, 3, -1, i32::MIN, -30].into_iter().flat_map(i32::to_le_bytes).collect();
        assert_eq!(fingerprint.value(), crate::format::crc32(&bytes));
    }
}
