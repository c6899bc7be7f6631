//! Hash tables with one sector for each bucket: their sizes, entries and hash function.

use crate::format::{FormatError, in_range, u32_at};
use crate::source::SECTOR_LEN;

use super::NONE;

/// Maximum number of buckets that a lookup reads.
pub const MAX_PROBES: u32 = 64;
/// Maximum number of buckets of a table.
pub const MAX_BUCKETS: u32 = 1 << 20;

/// The size of a hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHeader {
    /// Number of buckets, a sector each: 1 to 2^20.
    pub buckets: u32,
    /// Number of consecutive buckets, from an entry's own bucket on, that may hold the entry: 1 to 64.
    pub probes: u32,
}

impl TableHeader {
    /// The first bucket of the search for `hash`.
    pub fn bucket(self, hash: u32) -> u32 {
        ((u64::from(hash) * u64::from(self.buckets)) >> 32) as u32
    }

    /// Length of the buckets in bytes.
    pub fn byte_len(self) -> u64 {
        u64::from(self.buckets) * SECTOR_LEN as u64
    }

    /// Checks the two numbers of a table. `names` are the names of the fields, for errors.
    pub(super) fn parse(names: [&'static str; 2], [buckets, probes]: [u32; 2]) -> Result<Self, FormatError> {
        in_range(names[0], buckets.into(), 1, MAX_BUCKETS.into())?;
        in_range(names[1], probes.into(), 1, MAX_PROBES.into())?;
        Ok(Self { buckets, probes })
    }
}

/// An entry of a hash table. Entries fill a bucket from its front; the rest of the bucket is FF.
pub trait Entry: Copy {
    /// Length of an entry in bytes.
    const LEN: usize;
    /// Maximum number of entries in a bucket.
    const PER_BUCKET: usize = SECTOR_LEN / Self::LEN;

    /// Reads an entry. `None` marks the end of a bucket that is not full.
    fn parse(bytes: &[u8]) -> Option<Self>;
}

/// A character with its own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CharEntry {
    /// The character.
    pub code_point: u32,
    /// Whether the character starts a word: merged pieces contain it only at their start.
    pub opens: bool,
    /// Whether the character ends a word: merged pieces contain it only at their end.
    pub closes: bool,
    /// The character's token.
    pub id: u32,
}

impl CharEntry {
    /// Length of an entry in bytes.
    pub const LEN: usize = 8;

    /// The hash of a character's neighbourhood. The characters of one script are in one bucket, which a word then reads
    /// only once.
    pub fn hash(code_point: u32) -> u32 {
        hash(code_point >> 5, 0)
    }

    /// The inverse of `parse`.
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

/// A merge of two tokens into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairEntry {
    /// The left token, below 2^20.
    pub left: u32,
    /// The right token, below 2^20.
    pub right: u32,
    /// The priority of the merge: the lowest rank comes first. Below 2^24 − 1.
    pub rank: u32,
    /// The resulting token.
    pub merged: u32,
}

impl PairEntry {
    /// Length of an entry in bytes.
    pub const LEN: usize = 12;

    /// The hash of a pair of tokens.
    pub fn hash(left: u32, right: u32) -> u32 {
        hash(left, right)
    }

    /// The inverse of `parse`.
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

/// A rule of normalization form C, for a character or for two adjacent characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalizerEntry {
    /// A character with a decomposition or a non-zero combining class.
    Char {
        /// The character.
        code_point: u32,
        /// The character's canonical combining class.
        class: u8,
        /// The one or two characters of the canonical decomposition, which may decompose further; 0 for none.
        parts: [u32; 2],
    },
    /// Two characters with a composition.
    Pair {
        /// The first character, a starter.
        first: u32,
        /// The second character.
        second: u32,
        /// The composed character.
        composed: u32,
    },
}

impl NormalizerEntry {
    /// Length of an entry in bytes.
    pub const LEN: usize = 12;
    const CHAR: u32 = 1 << 31;
    const CODE_POINT: u32 = 0x1f_ffff;

    /// The hash of a character. Neighbouring characters are in one bucket.
    pub fn char_hash(code_point: u32) -> u32 {
        hash(code_point >> 4, NONE)
    }

    /// The hash of two characters. The pairs of a mark with neighbouring characters are in one bucket.
    pub fn pair_hash(first: u32, second: u32) -> u32 {
        hash(first >> 4, second)
    }

    /// The hash of this entry.
    pub fn hash(&self) -> u32 {
        match *self {
            Self::Char { code_point, .. } => Self::char_hash(code_point),
            Self::Pair { first, second, .. } => Self::pair_hash(first, second),
        }
    }

    /// The inverse of `parse`.
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

/// Hashes the numbers of a key to 32 bits. Arithmetic modulo 2^32.
pub(super) fn hash(first: u32, second: u32) -> u32 {
    let mut bits = first.wrapping_mul(0x9e37_79b1) ^ second.wrapping_mul(0x7feb_352d);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846c_a68b);
    bits ^ bits >> 16
}
