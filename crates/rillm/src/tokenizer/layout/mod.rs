//! The layout of the tokenizer section: the header's sector, the entries of the tables, and their hash.
//!
//! The engine reads and the converter writes through this module. The format specification describes the layout.

mod byte_level;
mod entries;
mod sentencepiece;
pub mod wordpiece;

pub use byte_level::{ByteLevelHeader, MAX_WHOLE_NODES, NONE_BYTE, PreTokenizer};
pub use entries::{CharEntry, Entry, MAX_BUCKETS, MAX_PROBES, NormalizerEntry, PairEntry, TableHeader};
pub use sentencepiece::{PrefixSpace, SentencePieceHeader, WordStart};

use crate::format::{FormatError, in_range, u32_at};
use crate::source::SECTOR_LEN;
use wordpiece::WordPieceHeader;

const KIND_SENTENCE_PIECE: u32 = 1;
const KIND_BYTE_LEVEL: u32 = 2;
const KIND_WORD_PIECE: u32 = 3;
const NONE: u32 = u32::MAX;

/// U+2581, which stands for a space in the vocabulary's pieces.
pub const SPACE_MARK: char = '\u{2581}';
/// Upper bound of token numbers, exclusive.
pub const MAX_TOKENS: u32 = 1 << 20;
/// Upper bound of merge ranks, exclusive.
pub const MAX_RANKS: u32 = (1 << 24) - 1;
/// Bytes of a [`TokenizerHeader`].
pub const HEADER_LEN: usize = 128;
/// Offset of the table of byte tokens in a section of kinds 1 and 2, in bytes: 256 numbers of 4 bytes.
pub const BYTES_AT: u64 = SECTOR_LEN as u64;
/// Offset of the buckets in a section of kinds 1 and 2, in bytes.
pub const TABLES_AT: u64 = BYTES_AT + 4 * 256;
/// Bytes before the text of an added token.
pub const ADDED_HEAD_LEN: usize = 6;

/// Bit 0 of the flags: the first space of decoded text is removed. The other bits depend on the kind.
const FLAG_STRIP_SPACE: u32 = 1;
/// Bit 1 of an added token's pass.
const MARK: u8 = 2;
/// Number of header fields that depend on the kind.
const FIELDS: usize = 7;
/// Position of these fields, in numbers of 4 bytes.
const FIELDS_AT: usize = 4;

/// The pass that searches for an added token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedPass {
    /// The first pass, over the text as given.
    Raw,
    /// The second pass, over the text between the first pass's tokens.
    Normalized,
}

/// The algorithm of a tokenizer for the text between added tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Byte-pair encoding over characters, with byte tokens for characters without a piece: sentencepiece BPE.
    SentencePiece(SentencePieceHeader),
    /// Byte-pair encoding over the bytes of words: GPT-2's byte-level BPE.
    ByteLevel(ByteLevelHeader),
    /// The longest matching pieces of words: BERT's WordPiece.
    WordPiece(WordPieceHeader),
}

/// The header of the section; the rest of its sector is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerHeader {
    /// Number of tokens in the vocabulary, as in the file's header: 1 to 2^20.
    pub vocab_size: u32,
    /// The start-of-text token, if the tokenizer puts one before every text.
    pub bos: Option<u32>,
    /// Whether the first space of decoded text is removed.
    pub strip_space: bool,
    /// The algorithm, with its tables.
    pub kind: Kind,
    /// Number of added tokens.
    pub added_count: u32,
    /// Length of the added tokens in bytes.
    pub added_len: u32,
    /// The first bytes of the added tokens of the first pass, one bit each: byte *b* is bit *b* mod 8 of number *b* /
    /// 8.
    pub raw_starts: [u8; 32],
    /// The same for the second pass. If marks are escaped ([`SentencePieceHeader::escaped_marks`]), the bits stand for
    /// the bytes after the leading U+2581, and the space's bit stands for texts of U+2581 alone.
    pub normalized_starts: [u8; 32],
}

impl TokenizerHeader {
    /// Checks and reads the header.
    ///
    /// # Errors
    /// A [`FormatError`] that names the first invalid field.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, FormatError> {
        let field = |index: usize| u32_at(bytes, 4 * index);
        let flags = field(1) & !FLAG_STRIP_SPACE;
        let vocab_size = in_range("vocabulary of the tokenizer section", field(2).into(), 1, MAX_TOKENS.into())? as u32;
        let fields = core::array::from_fn(|index| field(FIELDS_AT + index));
        let mut header = Self {
            vocab_size,
            bos: optional_token("tokenizer's start-of-text token", field(3), vocab_size)?,
            strip_space: field(1) & FLAG_STRIP_SPACE != 0,
            kind: match field(0) {
                KIND_SENTENCE_PIECE => Kind::SentencePiece(SentencePieceHeader::parse(flags, fields, vocab_size)?),
                KIND_BYTE_LEVEL => Kind::ByteLevel(ByteLevelHeader::parse(flags, fields)?),
                KIND_WORD_PIECE => Kind::WordPiece(WordPieceHeader::parse(flags, fields, vocab_size)?),
                value => return Err(FormatError::Unknown { field: "tokenizer kind", value }),
            },
            added_count: in_range("number of added tokens", field(11).into(), 0, vocab_size.into())? as u32,
            added_len: in_range("length of added tokens", field(12).into(), 0, 1 << 28)? as u32,
            raw_starts: [0; 32],
            normalized_starts: [0; 32],
        };
        header.raw_starts.copy_from_slice(&bytes[64..96]);
        header.normalized_starts.copy_from_slice(&bytes[96..128]);
        Ok(header)
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (kind, (flags, fields)) = match &self.kind {
            Kind::SentencePiece(header) => (KIND_SENTENCE_PIECE, header.emit()),
            Kind::ByteLevel(header) => (KIND_BYTE_LEVEL, header.emit()),
            Kind::WordPiece(header) => (KIND_WORD_PIECE, header.emit()),
        };
        let flags = flags | if self.strip_space { FLAG_STRIP_SPACE } else { 0 };
        let start = [kind, flags, self.vocab_size, self.bos.unwrap_or(NONE)];
        let all = start.into_iter().chain(fields).chain([self.added_count, self.added_len]);
        for (slot, field) in bytes.chunks_exact_mut(4).zip(all) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes[64..96].copy_from_slice(&self.raw_starts);
        bytes[96..128].copy_from_slice(&self.normalized_starts);
        bytes
    }

    /// Offset of the added tokens in the section, in bytes: after the tables of the kind.
    pub fn added_at(&self) -> u64 {
        match &self.kind {
            Kind::SentencePiece(header) => header.tables_end(),
            Kind::ByteLevel(header) => header.tables_end(),
            Kind::WordPiece(header) => header.tables_end(),
        }
    }

    /// Length of the section in bytes.
    pub fn byte_len(&self) -> u64 {
        self.added_at() + u64::from(self.added_len)
    }

    /// The rule for the space before a text.
    pub fn prefix(&self) -> PrefixSpace {
        match &self.kind {
            Kind::SentencePiece(header) => header.prefix,
            Kind::ByteLevel(header) if header.prefix_space => PrefixSpace::Always,
            Kind::ByteLevel(_) | Kind::WordPiece(_) => PrefixSpace::Never,
        }
    }

    /// Whether [`SPACE_MARK`] stands for a space in the text and in the vocabulary's pieces.
    pub fn marks_spaces(&self) -> bool {
        matches!(self.kind, Kind::SentencePiece(_))
    }

    /// Whether the second pass sees U+2581 in place of spaces.
    pub fn escaped_marks(&self) -> bool {
        matches!(self.kind, Kind::SentencePiece(SentencePieceHeader { escaped_marks: true, .. }))
    }
}

/// The header of an added token, before its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedHead {
    /// The token's number.
    pub id: u32,
    /// The pass that searches for the token.
    pub pass: AddedPass,
    /// Whether the token is a mark such as `<s>`, a special token. In plain text, a mark is ordinary text.
    pub mark: bool,
    /// Length of the token's text in bytes: 1 to 255.
    pub len: u8,
}

impl AddedHead {
    /// Checks and reads an added token's header.
    ///
    /// # Errors
    /// A [`FormatError`] for an unknown pass, an empty text, or a token outside the vocabulary.
    pub fn parse(bytes: &[u8; ADDED_HEAD_LEN], vocab_size: u32) -> Result<Self, FormatError> {
        Ok(Self {
            id: token("added token", u32_at(bytes, 0), vocab_size)?,
            pass: match bytes[4] & !MARK {
                0 => AddedPass::Raw,
                1 => AddedPass::Normalized,
                value => {
                    return Err(FormatError::Unknown { field: "pass of an added token", value: value.into() });
                }
            },
            mark: bytes[4] & MARK != 0,
            len: in_range("length of an added token", bytes[5].into(), 1, 255)? as u8,
        })
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; ADDED_HEAD_LEN] {
        let [a, b, c, d] = self.id.to_le_bytes();
        [a, b, c, d, self.pass as u8 | if self.mark { MARK } else { 0 }, self.len]
    }
}

/// Returns `id` if it is in the vocabulary.
pub(super) fn token(field: &'static str, id: u32, vocab_size: u32) -> Result<u32, FormatError> {
    in_range(field, id.into(), 0, u64::from(vocab_size) - 1).map(|id| id as u32)
}

/// Returns `id`, if it is in the vocabulary, or none.
fn optional_token(field: &'static str, id: u32, vocab_size: u32) -> Result<Option<u32>, FormatError> {
    if id == NONE { Ok(None) } else { token(field, id, vocab_size).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind) -> TokenizerHeader {
        TokenizerHeader {
            vocab_size: 32_000,
            bos: Some(1),
            strip_space: true,
            kind,
            added_count: 3,
            added_len: 31,
            raw_starts: [1; 32],
            normalized_starts: [2; 32],
        }
    }

    #[test]
    fn parse_reads_what_emit_wrote() {
        let table = |buckets, probes| TableHeader { buckets, probes };
        let chars = SentencePieceHeader {
            space: Some(29_871),
            prefix: PrefixSpace::First,
            word_start: WordStart::SpaceRun,
            escaped_marks: false,
            chars: table(67, 2),
            pairs: table(1945, 64),
        };
        let bytes = ByteLevelHeader {
            pre_tokenizer: PreTokenizer::Llama3,
            prefix_space: true,
            whole: None,
            normal: Some(table(67, 2)),
            pairs: table(1945, 64),
        };
        for kind in [
            Kind::SentencePiece(chars),
            Kind::SentencePiece(SentencePieceHeader { escaped_marks: true, prefix: PrefixSpace::Prepend, ..chars }),
            Kind::ByteLevel(bytes),
            Kind::ByteLevel(ByteLevelHeader { whole: Some(table(3, 1)), normal: None, ..bytes }),
            Kind::WordPiece(WordPieceHeader {
                unk: 100,
                max_chars: 100,
                longest_piece: 18,
                pieces: table(1000, 3),
                blocks: 160,
                spellings: 90,
            }),
        ] {
            let header = header(kind);
            assert_eq!(TokenizerHeader::parse(&header.emit()), Ok(header));
            let mut damaged = header.emit();
            damaged[4] |= 0x80;
            let refused = TokenizerHeader::parse(&damaged);
            assert!(matches!(refused, Err(FormatError::Unknown { field: "tokenizer flags", .. })), "{refused:?}");
        }
        let mut other_kind = header(Kind::SentencePiece(chars)).emit();
        other_kind[0] = 99;
        let other_kind = TokenizerHeader::parse(&other_kind);
        assert!(matches!(other_kind, Err(FormatError::Unknown { field: "tokenizer kind", value: 99 })));

        let c = CharEntry { code_point: 0x10_ffff, opens: true, closes: false, id: MAX_TOKENS - 1 };
        assert_eq!(CharEntry::parse(&c.emit()), Some(c));
        let pair = PairEntry { left: MAX_TOKENS - 1, right: 7, rank: MAX_RANKS - 1, merged: MAX_TOKENS - 1 };
        assert_eq!(PairEntry::parse(&pair.emit()), Some(pair));
        assert_eq!(PairEntry::parse(&[0xff; PairEntry::LEN]), None);
        for normal in [
            NormalizerEntry::Char { code_point: 0x10_ffff, class: 255, parts: [0x10_fffe, 0] },
            NormalizerEntry::Pair { first: 0x1_0000, second: 0x10_ffff, composed: 1 },
        ] {
            assert_eq!(NormalizerEntry::parse(&normal.emit()), Some(normal));
        }
        for mark in [false, true] {
            let head = AddedHead { id: 7, pass: AddedPass::Normalized, mark, len: 9 };
            assert_eq!(AddedHead::parse(&head.emit(), 8), Ok(head));
        }
    }
}
