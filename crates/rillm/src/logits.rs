//! Logits: of one token, and of consecutive ones.

use crate::COMPUTER;

/// The logit of a token: `mantissa · 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logit {
    /// The token's number in the vocabulary.
    pub token: u32,
    /// The mantissa, within ±2^30.
    pub mantissa: i32,
    /// The exponent, the same for all logits of a position.
    pub exponent: i32,
}

/// Logits of consecutive tokens.
#[derive(Clone, Copy)]
pub(crate) struct Logits<'a> {
    /// The first token.
    pub first: u32,
    pub mantissas: &'a [i32],
    pub exponent: i32,
}

impl<'a> Logits<'a> {
    /// One logit.
    pub fn one(logit: &'a Logit) -> Self {
        Self { first: logit.token, mantissas: core::slice::from_ref(&logit.mantissa), exponent: logit.exponent }
    }

    /// The first `len` logits, and those that follow.
    pub fn split_at(&self, len: usize) -> (Self, Self) {
        let (first, second) = self.mantissas.split_at(len);
        (Self { mantissas: first, ..*self }, Self { first: self.first + len as u32, mantissas: second, ..*self })
    }

    /// The first logit, and those that follow.
    pub fn split_first(&self) -> Option<(Logit, Self)> {
        let (&mantissa, mantissas) = self.mantissas.split_first()?;
        let logit = Logit { token: self.first, mantissa, exponent: self.exponent };
        Some((logit, Self { first: self.first + 1, mantissas, ..*self }))
    }

    pub fn iter(&self) -> impl Iterator<Item = Logit> {
        let exponent = self.exponent;
        (self.first..).zip(self.mantissas).map(move |(token, &mantissa)| Logit { token, mantissa, exponent })
    }
}

/// A number of logits before the first one that does not pass: of whole blocks, which vectors compare without branches. On a
/// microcontroller, which has no vectors, none are compared.
#[inline(always)]
pub(crate) fn leading(mantissas: &[i32], passes: impl Fn(i32) -> bool) -> usize {
    const BLOCK: usize = 32;
    if !COMPUTER {
        return 0;
    }
    let all_pass = |block: &&[i32; BLOCK]| block.iter().fold(true, |all, &mantissa| all & passes(mantissa));
    mantissas.as_chunks::<BLOCK>().0.iter().take_while(all_pass).count() * BLOCK
}
