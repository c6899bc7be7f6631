//! The header of a sentencepiece tokenizer, which merges characters.

use super::{FIELDS, NONE, TABLES_AT, TableHeader, optional_token};
use crate::format::FormatError;

const FLAG_ESCAPED_MARKS: u32 = 2;

/// The rule for the space before a text without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PrefixSpace {
    /// No space is added.
    Never = 0,
    /// At the start and after every added token that is not `normalized`, whatever follows; the search for `normalized`
    /// added tokens comes afterwards. The `Prepend` normalizer.
    Prepend = 1,
    /// At the start and after every added token, if no space follows. The `always` of the `Metaspace` pre-tokenizer.
    Always = 2,
    /// At the start, if no space follows. The `first` of the `Metaspace` pre-tokenizer.
    First = 3,
}

/// The rule that splits text into words before any merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WordStart {
    /// No split at spaces: pieces may contain a space.
    Nowhere = 0,
    /// A split at each space that follows another character. No piece spans such a place, so the split does not change
    /// the tokens.
    SpaceRun = 1,
    /// A split at every space, as in the model's own tokenizer.
    Space = 2,
}

/// The header of byte-pair encoding over characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentencePieceHeader {
    /// The token of [`SPACE_MARK`](super::SPACE_MARK).
    pub space: Option<u32>,
    /// The rule for the space before a text.
    pub prefix: PrefixSpace,
    /// The rule that splits text into words.
    pub word_start: WordStart,
    /// Whether the second pass sees U+2581 in place of spaces. The tokens' texts then contain U+2581, too.
    pub escaped_marks: bool,
    /// The table of characters.
    pub chars: TableHeader,
    /// The table of merges.
    pub pairs: TableHeader,
}

impl SentencePieceHeader {
    pub(super) fn parse(flags: u32, fields: [u32; FIELDS], vocab_size: u32) -> Result<Self, FormatError> {
        let unknown = |field, value| FormatError::Unknown { field, value };
        if flags & !FLAG_ESCAPED_MARKS != 0 {
            return Err(unknown("tokenizer flags", flags));
        }
        let header = Self {
            space: optional_token("token of a space", fields[0], vocab_size)?,
            prefix: match fields[1] {
                0 => PrefixSpace::Never,
                1 => PrefixSpace::Prepend,
                2 => PrefixSpace::Always,
                3 => PrefixSpace::First,
                value => return Err(unknown("tokenizer's prefix space", value)),
            },
            word_start: match fields[2] {
                0 => WordStart::Nowhere,
                1 => WordStart::SpaceRun,
                2 => WordStart::Space,
                value => return Err(unknown("tokenizer's word start", value)),
            },
            escaped_marks: flags & FLAG_ESCAPED_MARKS != 0,
            chars: TableHeader::parse(["buckets of characters", "probes of characters"], [fields[3], fields[4]])?,
            pairs: TableHeader::parse(["buckets of merges", "probes of merges"], [fields[5], fields[6]])?,
        };
        if header.prefix == PrefixSpace::Prepend && !header.escaped_marks {
            let field = "escaped marks of a tokenizer that prepends a space";
            return Err(FormatError::Inconsistent { field, value: 0, expected: 1 });
        }
        Ok(header)
    }

    pub(super) fn emit(&self) -> (u32, [u32; FIELDS]) {
        let flags = if self.escaped_marks { FLAG_ESCAPED_MARKS } else { 0 };
        let (chars, pairs) = (self.chars, self.pairs);
        let (space, prefix, word_start) = (self.space.unwrap_or(NONE), self.prefix as u32, self.word_start as u32);
        (flags, [space, prefix, word_start, chars.buckets, chars.probes, pairs.buckets, pairs.probes])
    }

    /// Offset of the merges' buckets in the section, in bytes. The characters' buckets start at [`TABLES_AT`].
    pub fn pairs_at(&self) -> u64 {
        TABLES_AT + self.chars.byte_len()
    }

    pub(super) fn tables_end(&self) -> u64 {
        self.pairs_at() + self.pairs.byte_len()
    }
}
