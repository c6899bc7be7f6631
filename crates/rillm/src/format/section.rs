//! The section table.

use core::fmt;

use super::FormatError;
use super::bytes::{put, u32_at, u64_at};

/// Length in bytes of an entry of the table.
pub(super) const SECTION_LEN: usize = 32;
const AT_OFFSET: usize = 8;
const AT_LEN: usize = 16;
const AT_CRC: usize = 24;

/// The kind of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u32)]
pub enum SectionKind {
    /// `head_dim / 2` angles, each the turn from one position to the next, in turns, unsigned 0.64 fixed point.
    Rope = 1,
    /// One [`TensorEntry`](super::TensorEntry) for the embedding table and each tensor of the tape.
    Tensors = 2,
    /// The tokenizer's tables.
    Tokenizer = 3,
    /// The embedding table, each row with its token's text.
    Embedding = 4,
    /// The tape: all other tensors, in the order in which a token uses them.
    Tape = 5,
    /// The checkpoint's chat template (Jinja, UTF-8). Optional.
    ChatTemplate = 6,
    /// The chat template as tokens, for a device: a [`ChatHeader`](super::ChatHeader) and the texts between the
    /// messages. Absent if there is no template, or if the template is more than such texts.
    Chat = 7,
    /// The head once more, with rows for [`Rescoring`](super::Rescoring): a tensor's header and its rows. Only in files that rescore, and
    /// whose embedding table has no such rows.
    RescoringHead = 8,
}

impl SectionKind {
    /// All kinds, in file order.
    pub const ALL: [Self; 8] = [
        Self::Rope,
        Self::Tensors,
        Self::Tokenizer,
        Self::ChatTemplate,
        Self::Chat,
        Self::Embedding,
        Self::RescoringHead,
        Self::Tape,
    ];

    fn parse(value: u32) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|&kind| kind as u32 == value)
            .ok_or(FormatError::Unknown { field: "section kind", value })
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rope => "rope",
            Self::Tensors => "tensors",
            Self::Tokenizer => "tokenizer",
            Self::Embedding => "embedding",
            Self::Tape => "tape",
            Self::ChatTemplate => "chat template",
            Self::Chat => "chat",
            Self::RescoringHead => "rescoring head",
        })
    }
}

/// An entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The kind of the section.
    pub kind: SectionKind,
    /// Offset from the start of the file, in bytes: a multiple of 512.
    pub offset: u64,
    /// Length in bytes, without the padding to the next sector.
    pub len: u64,
    /// The CRC-32 of the section's `len` bytes.
    pub crc32: u32,
}

impl Section {
    /// Reads an entry of the table.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        Ok(Self {
            kind: SectionKind::parse(u32_at(bytes, 0))?,
            offset: u64_at(bytes, AT_OFFSET),
            len: u64_at(bytes, AT_LEN),
            crc32: u32_at(bytes, AT_CRC),
        })
    }

    /// The inverse of [`parse`](Self::parse).
    pub(super) fn emit(&self, bytes: &mut [u8]) {
        put(bytes, 0, &(self.kind as u32).to_le_bytes());
        put(bytes, AT_OFFSET, &self.offset.to_le_bytes());
        put(bytes, AT_LEN, &self.len.to_le_bytes());
        put(bytes, AT_CRC, &self.crc32.to_le_bytes());
    }
}
