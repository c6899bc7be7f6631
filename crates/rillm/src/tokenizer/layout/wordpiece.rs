//! The header of a WordPiece tokenizer, which splits words into pieces; its character records and the pieces' buckets.

use super::entries::hash;
use super::{FIELDS, TableHeader, token};
use crate::format::{FormatError, in_range};
use crate::source::SECTOR_LEN;

/// Upper limit of [`WordPieceHeader::max_chars`].
pub const MAX_WORD_CHARS: u32 = 256;
/// Maximum length of a piece's text in bytes.
pub const MAX_PIECE_LEN: u32 = 254;
/// Number of characters in a block, which is a sector of [`CharRecord`]s.
pub const BLOCK_CHARS: u32 = (SECTOR_LEN / CharRecord::LEN) as u32;
/// Number of entries in the index of blocks: one for each [`BLOCK_CHARS`] characters of Unicode.
pub const INDEX_ENTRIES: u32 = 0x11_0000 / BLOCK_CHARS;
/// Offset of the index in the section, in bytes. An entry has 2 bytes.
pub const INDEX_AT: u64 = SECTOR_LEN as u64;
/// Offset of the blocks in the section, in bytes.
pub const BLOCKS_AT: u64 = INDEX_AT + 2 * INDEX_ENTRIES as u64;
/// Maximum number of records in the spelling of a character.
pub const MAX_SPELLING: usize = 3;
/// Bytes of a [`BucketHead`], at the start of a bucket.
pub const BUCKET_HEAD_LEN: usize = 2;
/// Maximum bytes of entries in a bucket.
pub const BUCKET_ROOM: usize = SECTOR_LEN - BUCKET_HEAD_LEN;
/// Bytes before a piece's text.
pub const PIECE_HEAD_LEN: usize = 4;

/// The header of WordPiece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordPieceHeader {
    /// The token of a word that cannot be split into pieces.
    pub unk: u32,
    /// Maximum length of a word that is split into pieces, in characters: 1 to [`MAX_WORD_CHARS`].
    pub max_chars: u32,
    /// Length of the longest piece in characters: 1 to [`MAX_PIECE_LEN`].
    pub longest_piece: u32,
    /// The table of pieces.
    pub pieces: TableHeader,
    /// Number of blocks of characters: 1 to [`INDEX_ENTRIES`].
    pub blocks: u32,
    /// Number of records in the spellings of characters: 0 to 2^16.
    pub spellings: u32,
}

impl WordPieceHeader {
    pub(super) fn parse(flags: u32, fields: [u32; FIELDS], vocab_size: u32) -> Result<Self, FormatError> {
        if flags != 0 {
            return Err(FormatError::Unknown { field: "tokenizer flags", value: flags });
        }
        let ranged = |name, value: u32, min, max: u32| in_range(name, value.into(), min, max.into()).map(|_| value);
        Ok(Self {
            unk: token("token of unknown words", fields[0], vocab_size)?,
            max_chars: ranged("characters of the longest word", fields[1], 1, MAX_WORD_CHARS)?,
            longest_piece: ranged("characters of the longest piece", fields[2], 1, MAX_PIECE_LEN)?,
            pieces: TableHeader::parse(["buckets of pieces", "probes of pieces"], [fields[3], fields[4]])?,
            blocks: ranged("blocks of characters", fields[5], 1, INDEX_ENTRIES)?,
            spellings: ranged("records of spellings", fields[6], 0, 1 << 16)?,
        })
    }

    pub(super) fn emit(&self) -> (u32, [u32; FIELDS]) {
        let TableHeader { buckets, probes } = self.pieces;
        (0, [self.unk, self.max_chars, self.longest_piece, buckets, probes, self.blocks, self.spellings])
    }

    /// Offset of the pieces' buckets in the section, in bytes.
    pub fn pieces_at(&self) -> u64 {
        BLOCKS_AT + u64::from(self.blocks) * SECTOR_LEN as u64
    }

    /// Offset of the spellings' records in the section, in bytes.
    pub fn spellings_at(&self) -> u64 {
        self.pieces_at() + self.pieces.byte_len()
    }

    pub(super) fn tables_end(&self) -> u64 {
        self.spellings_at() + u64::from(self.spellings) * CharRecord::LEN as u64
    }
}

/// The tokenizer's treatment of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CharKind {
    /// A part of a word.
    Letter = 0,
    /// A word by itself.
    Punctuation = 1,
    /// A separator of words.
    Space = 2,
    /// A letter with a space before and after it.
    Ideograph = 3,
    /// Removed.
    Dropped = 4,
    /// Removed, but combining marks are not reordered across it.
    Barrier = 5,
    /// Replaced by several characters: [`CharRecord::value`] is the index of the first of [`CharRecord::class`]
    /// records.
    Spelled = 6,
    /// The two or three letters of a Hangul syllable.
    Hangul = 7,
}

/// The record of a character: the tokenizer's treatment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CharRecord(u32);

impl CharRecord {
    /// Length of a record in bytes.
    pub const LEN: usize = 4;
    /// An unchanged letter.
    pub const SAME: Self = Self(0);

    /// Creates a record. `class` is the canonical combining class, by which letters are ordered, or the length of a
    /// spelling. `value`, below 2^21, is the resulting character, 0 for the character itself, or the index of its
    /// spelling.
    pub const fn new(kind: CharKind, class: u8, value: u32) -> Self {
        Self(value & 0x1f_ffff | (kind as u32) << 21 | (class as u32) << 24)
    }

    /// The treatment of the character.
    pub fn kind(self) -> CharKind {
        match self.0 >> 21 & 7 {
            0 => CharKind::Letter,
            1 => CharKind::Punctuation,
            2 => CharKind::Space,
            3 => CharKind::Ideograph,
            4 => CharKind::Dropped,
            5 => CharKind::Barrier,
            6 => CharKind::Spelled,
            _ => CharKind::Hangul,
        }
    }

    /// The combining class, or the length of a spelling.
    pub fn class(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The resulting character, 0 for the character itself, or the index of its spelling.
    pub fn value(self) -> u32 {
        self.0 & 0x1f_ffff
    }

    /// Reads a record. Any four bytes are valid.
    pub fn parse(bytes: [u8; Self::LEN]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(self) -> [u8; Self::LEN] {
        self.0.to_le_bytes()
    }
}

/// The header of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketHead {
    /// Length of the bucket's entries in bytes: 0 to [`BUCKET_ROOM`].
    pub used: u16,
    /// Whether an entry did not fit and is in a later bucket.
    pub overflows: bool,
}

impl BucketHead {
    /// Checks and reads a bucket's header.
    ///
    /// # Errors
    /// A [`FormatError`] if the entries exceed the bucket.
    pub fn parse(bytes: [u8; BUCKET_HEAD_LEN]) -> Result<Self, FormatError> {
        let number = u16::from_le_bytes(bytes);
        let used = in_range("bytes of a bucket", (number & 0x7fff).into(), 0, BUCKET_ROOM as u64)? as u16;
        Ok(Self { used, overflows: number & 0x8000 != 0 })
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(self) -> [u8; BUCKET_HEAD_LEN] {
        (self.used | u16::from(self.overflows) << 15).to_le_bytes()
    }
}

/// The header of a piece, before its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHead {
    /// The token's number: below 2^20.
    pub id: u32,
    /// Whether the piece continues a word rather than starts one.
    pub continues: bool,
    /// Length of the UTF-8 text in bytes: 1 to [`MAX_PIECE_LEN`].
    pub len: u8,
}

impl PieceHead {
    /// Reads a piece's header. Any four bytes are valid.
    pub fn parse(bytes: [u8; PIECE_HEAD_LEN]) -> Self {
        let number = u32::from_le_bytes(bytes);
        Self { id: number & 0xf_ffff, continues: number & 1 << 20 != 0, len: (number >> 24) as u8 }
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(self) -> [u8; PIECE_HEAD_LEN] {
        (self.id | u32::from(self.continues) << 20 | u32::from(self.len) << 24).to_le_bytes()
    }
}

/// An incremental hash of a piece, one character at a time. [`first`](Self::first) starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHash(pub u32);

impl PieceHash {
    /// The hash before the first character of a piece.
    pub fn first(continues: bool) -> Self {
        Self(continues.into())
    }

    /// The hash after the next character.
    #[must_use]
    pub fn then(self, c: char) -> Self {
        Self(hash(self.0, c.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_what_emit_wrote() {
        let header = WordPieceHeader {
            unk: 100,
            max_chars: 100,
            longest_piece: 18,
            pieces: TableHeader { buckets: 1000, probes: 3 },
            blocks: 160,
            spellings: 90,
        };
        let (flags, fields) = header.emit();
        assert_eq!(WordPieceHeader::parse(flags, fields, 101), Ok(header));
        assert!(matches!(
            WordPieceHeader::parse(flags, WordPieceHeader { max_chars: 257, ..header }.emit().1, 101),
            Err(FormatError::OutOfRange { field: "characters of the longest word", value: 257, .. })
        ));
        assert!(WordPieceHeader::parse(flags, fields, 100).is_err());

        let record = CharRecord::new(CharKind::Hangul, 230, 0x10_ffff);
        assert_eq!((record.kind(), record.class(), record.value()), (CharKind::Hangul, 230, 0x10_ffff));
        assert_eq!(CharRecord::parse(record.emit()), record);
        assert_eq!(CharRecord::SAME, CharRecord::new(CharKind::Letter, 0, 0));
        let bucket = BucketHead { used: BUCKET_ROOM as u16, overflows: true };
        assert_eq!(BucketHead::parse(bucket.emit()), Ok(bucket));
        assert!(BucketHead::parse((BUCKET_ROOM as u16 + 1).to_le_bytes()).is_err());
        let piece = PieceHead { id: (1 << 20) - 1, continues: true, len: 254 };
        assert_eq!(PieceHead::parse(piece.emit()), piece);
    }
}
