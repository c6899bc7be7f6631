//! Hash tables whose buckets are sectors: their sizes, their entries, and the hash that finds them.

use crate::format::{FormatError, in_range, u32_at};
use crate::source::SECTOR_LEN;

use super::NONE;

/// Buckets that a lookup reads at most.
pub const MAX_PROBES: u32 = 64;
/// The largest number of buckets of a table.
pub const MAX_BUCKETS: u32 = 1 << 20;

/// The size of a hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHeader {
    /// Its buckets, a sector each: 1 to 2^20.
    pub buckets: u32,
    /// How many of them, from an entry's own on, may hold it: 1 to 64.
    pub probes: u32,
}

impl TableHeader {
    /// The bucket where the search for `hash` starts.
    pub fn bucket(self, hash: u32) -> u32 {
        ((u64::from(hash) * u64::from(self.buckets)) >> 32) as u32
    }

    /// Bytes of its buckets.
    pub fn byte_len(self) -> u64 {
        u64::from(self.buckets) * SECTOR_LEN as u64
    }

    /// Checks the two numbers of a table, of which the fields' names say what they are.
    pub(super) fn parse(names: [&'static str; 2], [buckets, probes]: [u32; 2]) -> Result<Self, FormatError> {
        in_range(names[0], buckets.into(), 1, MAX_BUCKETS.into())?;
        in_range(names[1], probes.into(), 1, MAX_PROBES.into())?;
        Ok(Self { buckets, probes })
    }
}

/// An entry of a hash table. A bucket is filled from its front; the rest of it is FF.
pub trait Entry: Copy {
    /// Bytes of an entry.
    const LEN: usize;
    /// Entries of a bucket.
    const PER_BUCKET: usize = SECTOR_LEN / Self::LEN;

    /// Reads an entry. `None` is the end of a bucket that is not full.
    fn parse(bytes: &[u8]) -> Option<Self>;
}

/// A character that has a token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CharEntry {
    /// The character.
    pub code_point: u32,
    /// No merged piece has the character at any place but its first: a word starts here.
    pub opens: bool,
    /// No merged piece has the character at any place but its last: a word ends here.
    pub closes: bool,
    /// The character's token.
    pub id: u32,
}

impl CharEntry {
    /// Bytes of an entry.
    pub const LEN: usize = 8;

    /// The hash of a character's neighbourhood. Characters of one script lie in one bucket, which a word then reads once.
    pub fn hash(code_point: u32) -> u32 {
        hash(code_point >> 5, 0)
    }

    /// The bytes that are read back.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let first = self.code_point | u32::from(self.opens) << 30 | u32::from(self.closes) << 31;
        (u64::from(first) | u64::from(self.id) << 32).to_le_bytes()
    }
}

impl Entry for CharEntry {
    const LEN: usize = Self::LEN;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let first = u32_at(bytes, 0);
        (first != NONE).then(|| Self {
            code_point: first & 0x3fff_ffff,
            opens: first & 1 << 30 != 0,
            closes: first & 1 << 31 != 0,
            id: u32_at(bytes, 4),
        })
    }
}

/// A merge: two tokens that become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairEntry {
    /// The left token, below 2^20.
    pub left: u32,
    /// The right token, below 2^20.
    pub right: u32,
    /// When it is done: the lowest rank first. Below 2^24 − 1.
    pub rank: u32,
    /// The token that the two become.
    pub merged: u32,
}

impl PairEntry {
    /// Bytes of an entry.
    pub const LEN: usize = 12;

    /// The hash of a pair of tokens.
    pub fn hash(left: u32, right: u32) -> u32 {
        hash(left, right)
    }

    /// The bytes that are read back.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.left | (self.rank & 0xfff) << 20, self.right | (self.rank >> 12) << 20, self.merged];
        for (slot, word) in bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Entry for PairEntry {
    const LEN: usize = Self::LEN;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let words = [u32_at(bytes, 0), u32_at(bytes, 4), u32_at(bytes, 8)];
        (words != [NONE; 3]).then_some(Self {
            left: words[0] & 0xf_ffff,
            right: words[1] & 0xf_ffff,
            rank: words[0] >> 20 | (words[1] >> 20) << 12,
            merged: words[2],
        })
    }
}

/// What normalization form C does with a character, or with two that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalizerEntry {
    /// A character that decomposes, or whose combining class is not 0.
    Char {
        /// The character.
        code_point: u32,
        /// Its canonical combining class.
        class: u8,
        /// The one or two characters of its canonical decomposition, which may decompose further; 0 where there is none.
        parts: [u32; 2],
    },
    /// Two characters that compose.
    Pair {
        /// The first, a starter.
        first: u32,
        /// The second.
        second: u32,
        /// What they make up.
        composed: u32,
    },
}

impl NormalizerEntry {
    /// Bytes of an entry.
    pub const LEN: usize = 12;
    const CHAR: u32 = 1 << 31;
    const CODE_POINT: u32 = 0x1f_ffff;

    /// The hash of a character, such that neighbours lie in one bucket.
    pub fn char_hash(code_point: u32) -> u32 {
        hash(code_point >> 4, NONE)
    }

    /// The hash of two characters, such that the pairs of a mark and neighbours lie in one bucket.
    pub fn pair_hash(first: u32, second: u32) -> u32 {
        hash(first >> 4, second)
    }

    /// The entry's own hash.
    pub fn hash(&self) -> u32 {
        match *self {
            Self::Char { code_point, .. } => Self::char_hash(code_point),
            Self::Pair { first, second, .. } => Self::pair_hash(first, second),
        }
    }

    /// The bytes that are read back.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let words = match *self {
            Self::Char { code_point, class, parts } => {
                [Self::CHAR | u32::from(class) << 21 | code_point, parts[0], parts[1]]
            }
            Self::Pair { first, second, composed } => [first, second, composed],
        };
        let mut bytes = [0; Self::LEN];
        for (slot, word) in bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Entry for NormalizerEntry {
    const LEN: usize = Self::LEN;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let words = [u32_at(bytes, 0), u32_at(bytes, 4), u32_at(bytes, 8)];
        (words != [NONE; 3]).then(|| match words[0] & Self::CHAR {
            0 => Self::Pair { first: words[0], second: words[1], composed: words[2] },
            _ => Self::Char {
                code_point: words[0] & Self::CODE_POINT,
                class: (words[0] >> 21) as u8,
                parts: [words[1], words[2]],
            },
        })
    }
}

/// Spreads the numbers of a key over 32 bits. Arithmetic modulo 2^32.
pub(super) fn hash(first: u32, second: u32) -> u32 {
    let mut bits = first.wrapping_mul(0x9e37_79b1) ^ second.wrapping_mul(0x7feb_352d);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846c_a68b);
    bits ^ bits >> 16
}
