//! The header of a tokenizer that merges characters.

use super::{FIELDS, NONE, TABLES_AT, TableHeader, optional_token};
use crate::format::FormatError;

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

/// What the header says of byte-pair encoding over characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentencePieceHeader {
    /// The token of [`SPACE_MARK`](super::SPACE_MARK).
    pub space: Option<u32>,
    /// Where a space is put before text.
    pub prefix: PrefixSpace,
    /// Where words start.
    pub word_start: WordStart,
    /// The second pass sees U+2581 in place of spaces (the tokens' texts have it, too).
    pub escaped_marks: bool,
    /// The characters' table.
    pub chars: TableHeader,
    /// The merges' table.
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

    /// Where the merges' buckets start in the section; the characters' start at [`TABLES_AT`].
    pub fn pairs_at(&self) -> u64 {
        TABLES_AT + self.chars.byte_len()
    }

    pub(super) fn tables_end(&self) -> u64 {
        self.pairs_at() + self.pairs.byte_len()
    }
}
