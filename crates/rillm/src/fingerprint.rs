//! A checksum of logits, to compare the results of two machines.

use core::num::NonZeroU8;

use crate::format::Crc32;
use crate::logits::Logit;

/// Bytes of a logit.
const LEN: usize = 12;
/// Bytes that a checksum on a computer takes in one step.
const STEP: usize = 16;

/// A CRC-32 over logits, in order: token, mantissa and exponent, 32 bits each, little-endian.
///
/// [`Session::next_observed`](crate::Session::next_observed) provides the logits.
#[derive(Clone)]
pub struct Fingerprint {
    /// Of the bytes in whole steps.
    crc: Crc32,
    /// The bytes after them, at the start.
    rest: [u8; STEP - 4],
    /// How many bytes more a whole step has: 4, 8, 12 or 16.
    missing: NonZeroU8,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

impl Fingerprint {
    /// Creates the fingerprint of no logits.
    pub fn new() -> Self {
        const ALL: NonZeroU8 = NonZeroU8::new(STEP as u8).unwrap();
        Self { crc: Crc32::new(), rest: [0; STEP - 4], missing: ALL }
    }

    /// The number of bytes in no whole step.
    fn rest_len(&self) -> usize {
        STEP - usize::from(self.missing.get())
    }

    /// Adds a logit.
    pub fn add(&mut self, Logit { token, mantissa, exponent }: Logit) {
        let (mut bytes, len) = ([0; 2 * STEP - 4], self.rest_len());
        bytes[..STEP - 4].copy_from_slice(&self.rest);
        for (place, part) in [token.to_le_bytes(), mantissa.to_le_bytes(), exponent.to_le_bytes()].iter().enumerate() {
            bytes[len + 4 * place..][..4].copy_from_slice(part);
        }
        let whole = (len + LEN) / STEP * STEP;
        self.crc.update(&bytes[..whole]);
        self.rest.copy_from_slice(&bytes[whole..][..STEP - 4]);
        let missing = STEP - (len + LEN - whole);
        self.missing = NonZeroU8::new(missing as u8).unwrap_or(self.missing);
    }

    /// The CRC-32 of the logits so far.
    pub fn value(&self) -> u32 {
        let mut crc = self.crc;
        crc.update(&self.rest[..self.rest_len()]);
        crc.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_crc_of_the_bytes() {
        let (mut fingerprint, mut bytes) = (Fingerprint::new(), std::vec::Vec::new());
        for number in 0..40 {
            assert_eq!(fingerprint.value(), crate::format::crc32(&bytes), "{number} logits");
            let (token, mantissa, exponent) = (u32::MAX - number, i32::MIN + 7 * number as i32, -30 + number as i32);
            fingerprint.add(Logit { token, mantissa, exponent });
            for part in [token as i32, mantissa, exponent] {
                bytes.extend(part.to_le_bytes());
            }
        }
    }
}
