//! The tokenizer section's bytes: the header's sector, the entries of the tables, and the hash that finds them.
//!
//! The engine reads and the converter writes through this module, and `docs/format.md` says the same in words.

use crate::format::{FormatError, in_range, u32_at};
use crate::source::SECTOR_LEN;

/// The only kind of tokenizer of version 1: byte-pair encoding over characters, with byte tokens for what has no piece.
const KIND_BPE: u32 = 1;
const NONE: u32 = u32::MAX;

/// U+2581, which stands for a space in the vocabulary's pieces.
pub const SPACE_MARK: char = '\u{2581}';
/// Tokens have numbers below this.
pub const MAX_TOKENS: u32 = 1 << 20;
/// Merges have ranks below this.
pub const MAX_RANKS: u32 = (1 << 24) - 1;
/// Buckets that a lookup reads at most.
pub const MAX_PROBES: u32 = 64;
/// The largest number of buckets of a table.
pub const MAX_BUCKETS: u32 = 1 << 20;
/// Bytes of a [`TokenizerHeader`].
pub const HEADER_LEN: usize = 128;
/// Where the table of byte tokens starts in the section: 256 numbers of 4 bytes.
pub const BYTES_AT: u64 = SECTOR_LEN as u64;
/// Where the buckets start in the section.
pub const TABLES_AT: u64 = BYTES_AT + 4 * 256;
/// Bytes before the text of an added token.
pub const ADDED_HEAD_LEN: usize = 6;

const FLAG_STRIP_SPACE: u32 = 1;
const FLAG_ESCAPED_MARKS: u32 = 2;

/// Where a space is put before text that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PrefixSpace {
    /// Nowhere.
    Never = 0,
    /// At the start and after every added token that is not `normalized`, whatever follows; `normalized` added tokens
    /// are looked for after that. The `Prepend` normalizer.
    Prepend = 1,
    /// At the start and after every added token, where no space follows. The `Metaspace` pre-tokenizer's `always`.
    Always = 2,
    /// At the start, where no space follows. The `Metaspace` pre-tokenizer's `first`.
    First = 3,
}

/// Where text is cut into words before any merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WordStart {
    /// At no space: pieces may have one inside.
    Nowhere = 0,
    /// At a space after something else. No piece goes across, so that nothing changes by it.
    SpaceRun = 1,
    /// At every space, because the model's tokenizer does so.
    Space = 2,
}

/// Which of the two passes looks for an added token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedPass {
    /// The first, in the text as it was given.
    Raw,
    /// The second, in what the first left between its finds.
    Normalized,
}

/// The start of the section; the rest of its first sector is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerHeader {
    /// Tokens in the vocabulary, the file's: 1 to 2^20.
    pub vocab_size: u32,
    /// The token put before every text.
    pub bos: Option<u32>,
    /// The token of [`SPACE_MARK`].
    pub space: Option<u32>,
    /// Where a space is put before text.
    pub prefix: PrefixSpace,
    /// Where words start.
    pub word_start: WordStart,
    /// Decoded text loses the space that it starts with.
    pub strip_space: bool,
    /// The second pass sees U+2581 in place of spaces (the tokens' texts have it, too).
    pub escaped_marks: bool,
    /// The characters' table.
    pub chars: TableHeader,
    /// The merges' table.
    pub pairs: TableHeader,
    /// Added tokens.
    pub added_count: u32,
    /// Their bytes.
    pub added_len: u32,
    /// Bytes that texts of the first pass start with, one bit each: byte *b* is bit *b* mod 8 of number *b* / 8.
    pub raw_starts: [u8; 32],
    /// The same for the second pass, after the U+2581 that the texts start with where `escaped_marks`; the space's bit
    /// then stands for texts of nothing else.
    pub normalized_starts: [u8; 32],
}

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
}

impl TokenizerHeader {
    /// Checks and reads the start of the section.
    ///
    /// # Errors
    /// [`FormatError`] names the first field that is not as version 1 has it.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, FormatError> {
        let field = |index: usize| u32_at(bytes, 4 * index);
        let unknown = |field, value| FormatError::Unknown { field, value };
        if field(0) != KIND_BPE {
            return Err(unknown("tokenizer kind", field(0)));
        }
        let flags = field(1);
        if flags & !(FLAG_STRIP_SPACE | FLAG_ESCAPED_MARKS) != 0 {
            return Err(unknown("tokenizer flags", flags));
        }
        let vocab_size = in_range("vocabulary of the tokenizer section", field(2).into(), 1, MAX_TOKENS.into())? as u32;
        let token = |name, value| match value {
            NONE => Ok(None),
            id => token(name, id, vocab_size).map(Some),
        };
        let table = |buckets_name, probes_name, index| {
            in_range(buckets_name, field(index).into(), 1, u64::from(MAX_BUCKETS))?;
            in_range(probes_name, field(index + 1).into(), 1, MAX_PROBES.into())?;
            Ok(TableHeader { buckets: field(index), probes: field(index + 1) })
        };
        let mut header = Self {
            vocab_size,
            bos: token("tokenizer's start-of-text token", field(3))?,
            space: token("token of a space", field(4))?,
            prefix: match field(5) {
                0 => PrefixSpace::Never,
                1 => PrefixSpace::Prepend,
                2 => PrefixSpace::Always,
                3 => PrefixSpace::First,
                value => return Err(unknown("tokenizer's prefix space", value)),
            },
            word_start: match field(6) {
                0 => WordStart::Nowhere,
                1 => WordStart::SpaceRun,
                2 => WordStart::Space,
                value => return Err(unknown("tokenizer's word start", value)),
            },
            strip_space: flags & FLAG_STRIP_SPACE != 0,
            escaped_marks: flags & FLAG_ESCAPED_MARKS != 0,
            chars: table("buckets of characters", "probes of characters", 7)?,
            pairs: table("buckets of merges", "probes of merges", 9)?,
            added_count: in_range("number of added tokens", field(11).into(), 0, vocab_size.into())? as u32,
            added_len: in_range("length of added tokens", field(12).into(), 0, 1 << 28)? as u32,
            raw_starts: [0; 32],
            normalized_starts: [0; 32],
        };
        if header.prefix == PrefixSpace::Prepend && !header.escaped_marks {
            let field = "escaped marks of a tokenizer that prepends a space";
            return Err(FormatError::Inconsistent { field, value: 0, expected: 1 });
        }
        header.raw_starts.copy_from_slice(&bytes[64..96]);
        header.normalized_starts.copy_from_slice(&bytes[96..128]);
        Ok(header)
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let flags = u32::from(self.strip_space) * FLAG_STRIP_SPACE + u32::from(self.escaped_marks) * FLAG_ESCAPED_MARKS;
        let fields = [
            KIND_BPE,
            flags,
            self.vocab_size,
            self.bos.unwrap_or(NONE),
            self.space.unwrap_or(NONE),
            self.prefix as u32,
            self.word_start as u32,
            self.chars.buckets,
            self.chars.probes,
            self.pairs.buckets,
            self.pairs.probes,
            self.added_count,
            self.added_len,
        ];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes[64..96].copy_from_slice(&self.raw_starts);
        bytes[96..128].copy_from_slice(&self.normalized_starts);
        bytes
    }

    /// Where the merges' buckets start in the section; the characters' start at [`TABLES_AT`].
    pub fn pairs_at(&self) -> u64 {
        TABLES_AT + u64::from(self.chars.buckets) * SECTOR_LEN as u64
    }

    /// Where the added tokens start in the section.
    pub fn added_at(&self) -> u64 {
        self.pairs_at() + u64::from(self.pairs.buckets) * SECTOR_LEN as u64
    }

    /// Bytes of the section.
    pub fn byte_len(&self) -> u64 {
        self.added_at() + u64::from(self.added_len)
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

/// What stands before an added token's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedHead {
    /// The token.
    pub id: u32,
    /// The pass that looks for it.
    pub pass: AddedPass,
    /// Bytes of the text that it is found by: 1 to 255.
    pub len: u8,
}

impl AddedHead {
    /// Checks and reads an added token's head.
    ///
    /// # Errors
    /// [`FormatError`]: no such pass, an empty text, a token outside the vocabulary.
    pub fn parse(bytes: &[u8; ADDED_HEAD_LEN], vocab_size: u32) -> Result<Self, FormatError> {
        Ok(Self {
            id: token("added token", u32_at(bytes, 0), vocab_size)?,
            pass: match bytes[4] {
                0 => AddedPass::Raw,
                1 => AddedPass::Normalized,
                value => {
                    return Err(FormatError::Unknown { field: "pass of an added token", value: value.into() });
                }
            },
            len: in_range("length of an added token", bytes[5].into(), 1, 255)? as u8,
        })
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; ADDED_HEAD_LEN] {
        let [a, b, c, d] = self.id.to_le_bytes();
        [a, b, c, d, self.pass as u8, self.len]
    }
}

/// Spreads the numbers of a key over 32 bits. Arithmetic modulo 2^32.
fn hash(first: u32, second: u32) -> u32 {
    let mut bits = first.wrapping_mul(0x9e37_79b1) ^ second.wrapping_mul(0x7feb_352d);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846c_a68b);
    bits ^ bits >> 16
}

/// `id` if the vocabulary has it.
pub(super) fn token(field: &'static str, id: u32, vocab_size: u32) -> Result<u32, FormatError> {
    in_range(field, id.into(), 0, u64::from(vocab_size) - 1).map(|id| id as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_what_emit_wrote() {
        let header = TokenizerHeader {
            vocab_size: 32_000,
            bos: Some(1),
            space: Some(29_871),
            prefix: PrefixSpace::First,
            word_start: WordStart::SpaceRun,
            strip_space: true,
            escaped_marks: false,
            chars: TableHeader { buckets: 67, probes: 2 },
            pairs: TableHeader { buckets: 1945, probes: 64 },
            added_count: 3,
            added_len: 31,
            raw_starts: [1; 32],
            normalized_starts: [2; 32],
        };
        assert_eq!(TokenizerHeader::parse(&header.emit()), Ok(header));
        let other_kind = TokenizerHeader::parse(&[2; HEADER_LEN]);
        assert!(matches!(other_kind, Err(FormatError::Unknown { field: "tokenizer kind", .. })));

        let c = CharEntry { code_point: 0x10_ffff, opens: true, closes: false, id: MAX_TOKENS - 1 };
        assert_eq!(CharEntry::parse(&c.emit()), Some(c));
        let pair = PairEntry { left: MAX_TOKENS - 1, right: 7, rank: MAX_RANKS - 1, merged: MAX_TOKENS - 1 };
        assert_eq!(PairEntry::parse(&pair.emit()), Some(pair));
        assert_eq!(PairEntry::parse(&[0xff; PairEntry::LEN]), None);
    }
}
