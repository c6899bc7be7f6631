//! The header of a byte-level tokenizer, which merges bytes.

use super::{FIELDS, TABLES_AT, TableHeader};
use crate::format::FormatError;

const FLAG_PREFIX_SPACE: u32 = 2;

/// In the table of byte tokens, marks a byte without a token: the tokenizer omits it.
pub const NONE_BYTE: u32 = u32::MAX;
/// Upper bound of node numbers in the tree of whole words, exclusive. Tokens are nodes, too.
pub const MAX_WHOLE_NODES: u32 = 1 << 20;

/// The pattern that splits text into words, each of which is merged separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PreTokenizer {
    /// GPT-2's pattern.
    Gpt2 = 1,
    /// Each numeral separately, and GPT-2's pattern for the text between.
    DigitsGpt2 = 2,
    /// Runs of numerals separately, and GPT-2's pattern for the text between.
    NumbersGpt2 = 3,
    /// Llama 3's pattern: up to three numerals make a word.
    Llama3 = 4,
    /// Qwen 2's pattern: Llama 3's, but each numeral is a word.
    Qwen2 = 5,
}

impl PreTokenizer {
    /// All patterns.
    pub const ALL: [Self; 5] = [Self::Gpt2, Self::DigitsGpt2, Self::NumbersGpt2, Self::Llama3, Self::Qwen2];
}

/// The header of byte-pair encoding over the bytes of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLevelHeader {
    /// The pattern that splits text into words.
    pub pre_tokenizer: PreTokenizer,
    /// Whether a space is put before every text between added tokens that does not start with one.
    pub prefix_space: bool,
    /// The table of merges.
    pub pairs: TableHeader,
    /// Words that are one token although no merges lead to it (`ignore_merges`): a tree over the tokens that the merges
    /// produce.
    pub whole: Option<TableHeader>,
    /// The table of normalization form C, if the tokenizer normalises text.
    pub normal: Option<TableHeader>,
}

impl ByteLevelHeader {
    pub(super) fn parse(flags: u32, fields: [u32; FIELDS]) -> Result<Self, FormatError> {
        if flags & !FLAG_PREFIX_SPACE != 0 {
            return Err(FormatError::Unknown { field: "tokenizer flags", value: flags });
        }
        let pre_tokenizer = PreTokenizer::ALL.into_iter().find(|&kind| kind as u32 == fields[0]);
        let optional = |names, [buckets, probes]: [u32; 2]| match [buckets, probes] {
            [0, 0] => Ok(None),
            table => TableHeader::parse(names, table).map(Some),
        };
        Ok(Self {
            pre_tokenizer: pre_tokenizer
                .ok_or(FormatError::Unknown { field: "tokenizer's word splits", value: fields[0] })?,
            prefix_space: flags & FLAG_PREFIX_SPACE != 0,
            whole: optional(["buckets of whole words", "probes of whole words"], [fields[1], fields[2]])?,
            normal: optional(["buckets of normal forms", "probes of normal forms"], [fields[3], fields[4]])?,
            pairs: TableHeader::parse(["buckets of merges", "probes of merges"], [fields[5], fields[6]])?,
        })
    }

    pub(super) fn emit(&self) -> (u32, [u32; FIELDS]) {
        let flags = if self.prefix_space { FLAG_PREFIX_SPACE } else { 0 };
        let numbers = |table: Option<TableHeader>| table.map_or([0, 0], |table| [table.buckets, table.probes]);
        let ([whole, whole_probes], [normal, normal_probes]) = (numbers(self.whole), numbers(self.normal));
        let pairs = self.pairs;
        (flags, [self.pre_tokenizer as u32, whole, whole_probes, normal, normal_probes, pairs.buckets, pairs.probes])
    }

    /// Offset of the whole words' buckets in the section, in bytes. The merges' buckets start at [`TABLES_AT`].
    pub fn whole_at(&self) -> u64 {
        TABLES_AT + self.pairs.byte_len()
    }

    /// Offset of the normal forms' buckets in the section, in bytes.
    pub fn normal_at(&self) -> u64 {
        self.whole_at() + self.whole.map_or(0, TableHeader::byte_len)
    }

    pub(super) fn tables_end(&self) -> u64 {
        self.normal_at() + self.normal.map_or(0, TableHeader::byte_len)
    }
}
