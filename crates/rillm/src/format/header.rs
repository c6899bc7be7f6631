//! The header in the first sector: dimensions, special tokens, provenance, and the table of sections.

use super::bytes::{array, put, u16_at, u32_at};
use super::rope::{Rope, RopeScaling};
use super::section::{SECTION_LEN, Section, SectionKind};
use super::{FormatError, TensorKind, crc32, in_range};
use crate::source::SECTOR_LEN;

const MAGIC: [u8; 8] = *b"RILLM\x1a\r\n";
pub(super) const VERSION: u16 = 1;
const ARCHITECTURE_LLAMA: u16 = 1;
const ACTIVATION_SILU: u16 = 1;
const NO_TOKEN: u32 = u32::MAX;

/// Maximum number of end-of-text tokens.
pub const MAX_EOS: usize = 4;
/// Maximum number of sections.
pub const MAX_SECTIONS: usize = 9;
/// Bytes of the checkpoint's name in the header.
pub const SOURCE_NAME_LEN: usize = 64;

// Field offsets, in the order of docs/format.md.
const AT_VERSION: usize = 8;
const AT_LENGTH: usize = 10;
const AT_FLAGS: usize = 12;
const AT_ARCHITECTURE: usize = 16;
const AT_ACTIVATION: usize = 18;
const AT_HIDDEN: usize = 20;
const AT_INTERMEDIATE: usize = 24;
const AT_LAYERS: usize = 28;
const AT_HEADS: usize = 32;
const AT_KV_HEADS: usize = 36;
const AT_HEAD_DIM: usize = 40;
const AT_VOCAB: usize = 44;
const AT_CONTEXT: usize = 48;
const AT_NORM_EPS: usize = 76;
const AT_BOS: usize = 80;
const AT_EOS: usize = 84;
const AT_UNK: usize = 100;
const AT_KEY_BITS: usize = 104;
const AT_VALUE_BITS: usize = 105;
const AT_RESCORED_ROWS: usize = 106;
const AT_RESCORING_MARGIN: usize = 108;
const AT_SOURCE_HASH: usize = 112;
const AT_SOURCE_NAME: usize = 144;
const AT_SECTION_COUNT: usize = 208;
const AT_SECTIONS: usize = 212;
const AT_CRC: usize = SECTOR_LEN - 4;

const FLAG_TIED_EMBEDDINGS: u32 = 1;
const FLAG_QKV_BIAS: u32 = 2;
const FLAG_O_BIAS: u32 = 4;
const FLAG_QK_NORM: u32 = 8;
const FLAGS: u32 = FLAG_TIED_EMBEDDINGS | FLAG_QKV_BIAS | FLAG_O_BIAS | FLAG_QK_NORM;
const VALUE_BITS: u8 = 8;

/// The width of a key's elements in the KV cache. Values always have 8 bits. Keys determine what a head attends to, and
/// short keys need more bits. The file stores the width so that every device computes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyBits {
    /// 8 bits.
    Eight = 8,
    /// 16 bits.
    Sixteen = 16,
}

impl KeyBits {
    fn parse(value: u8) -> Result<Self, FormatError> {
        match value {
            8 => Ok(Self::Eight),
            16 => Ok(Self::Sixteen),
            _ => Err(FormatError::Unknown { field: "bits of a cached key", value: value.into() }),
        }
    }

    /// The width in bytes.
    pub const fn byte_len(self) -> usize {
        self as usize / 8
    }
}

/// The second computation of the best logits, from weights of more bits than the head has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescoring {
    /// The most logits that are computed again, 1 to 255.
    pub rows: u8,
    /// The most by which a logit is expected to change, in 256ths. A logit that is further below the best one than twice
    /// this margin is not computed again for a greedy choice.
    pub margin: u16,
}

/// Parts of a model's attention beyond Llama's four projections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttentionExtras {
    /// Whether `q_proj`, `k_proj` and `v_proj` have a bias (Qwen2).
    pub qkv_bias: bool,
    /// Whether `o_proj` has a bias.
    pub o_bias: bool,
    /// Whether RMSNorm is applied to each head of the queries and keys before the rotation (Qwen3).
    pub qk_norm: bool,
}

/// The header of a file, with every field checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Whether the head has the values of the embedding table. The tape stores them a second time.
    pub tied_embeddings: bool,
    /// Parts of attention beyond its projections.
    pub attention: AttentionExtras,
    /// Width of the residual stream, in elements: 1 to 65,536.
    pub hidden_size: u32,
    /// Width of the feed-forward network, in elements: 1 to 131,072.
    pub intermediate_size: u32,
    /// Number of layers: 1 to 1,024.
    pub n_layers: u32,
    /// Number of query heads: 1 to 1,024.
    pub n_heads: u32,
    /// Number of key and value heads: a divisor of `n_heads`.
    pub n_kv_heads: u32,
    /// Width of a head, in elements: even, 2 to 512.
    pub head_dim: u32,
    /// Number of tokens in the vocabulary: 1 to 2^20.
    pub vocab_size: u32,
    /// The model's context length, in positions: 1 to 2^20.
    pub context_length: u32,
    /// The rotary embedding's parameters.
    pub rope: Rope,
    /// RMSNorm's ε, which is added to the mean square: finite, not negative.
    pub norm_eps: f32,
    /// The start-of-text token.
    pub bos: Option<u32>,
    /// The end-of-text tokens, in any order.
    pub eos: [Option<u32>; MAX_EOS],
    /// The unknown token, for text that the vocabulary cannot spell.
    pub unk: Option<u32>,
    /// The width of a key's elements in the KV cache.
    pub key_bits: KeyBits,
    /// The second computation of the best logits, if there is one.
    pub rescoring: Option<Rescoring>,
    /// SHA-256 of the checkpoint's weights.
    pub source_hash: [u8; 32],
    /// The checkpoint's name: UTF-8, padded with zeros.
    pub source_name: [u8; SOURCE_NAME_LEN],
    sections: [Option<Section>; MAX_SECTIONS],
}

impl Header {
    /// A header to fill in, without sections. Its dimensions are zero, which [`parse`](Self::parse) rejects.
    pub fn new() -> Self {
        Self {
            tied_embeddings: false,
            attention: AttentionExtras::default(),
            hidden_size: 0,
            intermediate_size: 0,
            n_layers: 0,
            n_heads: 0,
            n_kv_heads: 0,
            head_dim: 0,
            vocab_size: 0,
            context_length: 0,
            rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
            norm_eps: 0.0,
            bos: None,
            eos: [None; MAX_EOS],
            unk: None,
            key_bits: KeyBits::Eight,
            rescoring: None,
            source_hash: [0; 32],
            source_name: [0; SOURCE_NAME_LEN],
            sections: [None; MAX_SECTIONS],
        }
    }

    /// Checks and reads the header from the first sector of a file.
    ///
    /// # Errors
    /// A [`FormatError`] that names the first invalid field.
    pub fn parse(bytes: &[u8; SECTOR_LEN]) -> Result<Self, FormatError> {
        let magic: [u8; 8] = array(bytes, 0);
        if magic != MAGIC {
            return Err(FormatError::NotRillm { found: magic });
        }
        let version = u16_at(bytes, AT_VERSION);
        if version != VERSION {
            return Err(FormatError::Version { found: version });
        }
        in_range("header length", u16_at(bytes, AT_LENGTH).into(), SECTOR_LEN as u64, SECTOR_LEN as u64)?;
        let (stored, computed) = (u32_at(bytes, AT_CRC), crc32(&bytes[..AT_CRC]));
        if stored != computed {
            return Err(FormatError::Checksum { what: "header", stored, computed });
        }
        known("architecture", u16_at(bytes, AT_ARCHITECTURE), ARCHITECTURE_LLAMA)?;
        known("activation", u16_at(bytes, AT_ACTIVATION), ACTIVATION_SILU)?;
        known("bits of a cached value", bytes[AT_VALUE_BITS].into(), VALUE_BITS.into())?;
        let flags = u32_at(bytes, AT_FLAGS);
        if flags & !FLAGS != 0 {
            return Err(FormatError::Unknown { field: "header flags", value: flags });
        }

        let dimension = |field, at, max| in_range(field, u32_at(bytes, at).into(), 1, max).map(|value| value as u32);
        let mut header = Self {
            tied_embeddings: flags & FLAG_TIED_EMBEDDINGS != 0,
            attention: AttentionExtras {
                qkv_bias: flags & FLAG_QKV_BIAS != 0,
                o_bias: flags & FLAG_O_BIAS != 0,
                qk_norm: flags & FLAG_QK_NORM != 0,
            },
            hidden_size: dimension("hidden size", AT_HIDDEN, 1 << 16)?,
            intermediate_size: dimension("intermediate size", AT_INTERMEDIATE, 1 << 17)?,
            n_layers: dimension("number of layers", AT_LAYERS, 1 << 10)?,
            n_heads: dimension("number of heads", AT_HEADS, 1 << 10)?,
            n_kv_heads: dimension("number of KV heads", AT_KV_HEADS, 1 << 10)?,
            head_dim: dimension("head_dim", AT_HEAD_DIM, 1 << 9)?,
            vocab_size: dimension("vocabulary size", AT_VOCAB, 1 << 20)?,
            context_length: dimension("context length", AT_CONTEXT, 1 << 20)?,
            rope: Rope::parse(bytes)?,
            norm_eps: finite("norm epsilon", bytes, AT_NORM_EPS)?,
            bos: None,
            eos: [None; MAX_EOS],
            unk: None,
            key_bits: KeyBits::parse(bytes[AT_KEY_BITS])?,
            rescoring: match bytes[AT_RESCORED_ROWS] {
                0 => None,
                rows => Some(Rescoring { rows, margin: u16_at(bytes, AT_RESCORING_MARGIN) }),
            },
            source_hash: array(bytes, AT_SOURCE_HASH),
            source_name: array(bytes, AT_SOURCE_NAME),
            sections: [None; MAX_SECTIONS],
        };
        if !header.head_dim.is_multiple_of(2) {
            return Err(FormatError::NotMultiple { field: "head_dim", value: header.head_dim.into(), of: 2 });
        }
        if !header.n_heads.is_multiple_of(header.n_kv_heads) {
            return Err(FormatError::NotMultiple {
                field: "number of heads",
                value: header.n_heads.into(),
                of: header.n_kv_heads.into(),
            });
        }
        in_range("heads times head_dim", u64::from(header.n_heads) * u64::from(header.head_dim), 1, 1 << 17)?;
        if header.source_name().is_none() {
            return Err(FormatError::Text { field: "source name" });
        }
        let token = |field, at| match u32_at(bytes, at) {
            NO_TOKEN => Ok(None),
            id => in_range(field, id.into(), 0, u64::from(header.vocab_size) - 1).map(|id| Some(id as u32)),
        };
        (header.bos, header.unk) = (token("bos token", AT_BOS)?, token("unk token", AT_UNK)?);
        let mut eos = [None; MAX_EOS];
        for (index, slot) in eos.iter_mut().enumerate() {
            *slot = token("eos token", AT_EOS + 4 * index)?;
        }
        header.eos = eos;
        header.parse_sections(bytes)?;
        Ok(header)
    }

    fn parse_sections(&mut self, bytes: &[u8; SECTOR_LEN]) -> Result<(), FormatError> {
        let count = in_range("number of sections", u32_at(bytes, AT_SECTION_COUNT).into(), 0, MAX_SECTIONS as u64)?;
        let mut end = SECTOR_LEN as u64;
        for index in 0..count as usize {
            let at = AT_SECTIONS + index * SECTION_LEN;
            let section = Section::parse(&bytes[at..])?;
            // A section then ends below 2^41, and every sector number fits 32 bits.
            const MOST: u64 = (1 << 40) - SECTOR_LEN as u64;
            in_range("section offset", section.offset, end, MOST)?;
            in_range("section length", section.len, 1, MOST)?;
            if !section.offset.is_multiple_of(SECTOR_LEN as u64) {
                let (field, value) = ("section offset", section.offset);
                return Err(FormatError::NotMultiple { field, value, of: SECTOR_LEN as u64 });
            }
            if self.section(section.kind).is_ok() {
                return Err(FormatError::Inconsistent {
                    field: "number of sections of one kind",
                    value: 2,
                    expected: 1,
                });
            }
            end = section.offset + section.len.next_multiple_of(SECTOR_LEN as u64);
            self.sections[index] = Some(section);
        }
        for kind in SectionKind::ALL {
            let needed = match kind {
                SectionKind::ChatTemplate | SectionKind::Chat => false,
                SectionKind::RescoringHead => self.rescoring.is_some() && !self.tied_embeddings,
                _ => true,
            };
            if needed {
                self.section(kind)?;
            }
        }
        Ok(())
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; SECTOR_LEN] {
        let mut bytes = [0; SECTOR_LEN];
        let mut u16_field = |at, value: u16| put(&mut bytes, at, &value.to_le_bytes());
        u16_field(AT_VERSION, VERSION);
        u16_field(AT_LENGTH, SECTOR_LEN as u16);
        u16_field(AT_ARCHITECTURE, ARCHITECTURE_LLAMA);
        u16_field(AT_ACTIVATION, ACTIVATION_SILU);
        let fields = [
            (AT_FLAGS, self.flags()),
            (AT_HIDDEN, self.hidden_size),
            (AT_INTERMEDIATE, self.intermediate_size),
            (AT_LAYERS, self.n_layers),
            (AT_HEADS, self.n_heads),
            (AT_KV_HEADS, self.n_kv_heads),
            (AT_HEAD_DIM, self.head_dim),
            (AT_VOCAB, self.vocab_size),
            (AT_CONTEXT, self.context_length),
            (AT_NORM_EPS, self.norm_eps.to_bits()),
            (AT_BOS, self.bos.unwrap_or(NO_TOKEN)),
            (AT_UNK, self.unk.unwrap_or(NO_TOKEN)),
            (AT_SECTION_COUNT, self.sections().count() as u32),
        ];
        for (at, value) in fields {
            put(&mut bytes, at, &value.to_le_bytes());
        }
        for (index, token) in self.eos.iter().enumerate() {
            put(&mut bytes, AT_EOS + 4 * index, &token.unwrap_or(NO_TOKEN).to_le_bytes());
        }
        self.rope.emit(&mut bytes);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, AT_KEY_BITS, &[self.key_bits as u8, VALUE_BITS]);
        if let Some(Rescoring { rows, margin }) = self.rescoring {
            put(&mut bytes, AT_RESCORED_ROWS, &[rows]);
            put(&mut bytes, AT_RESCORING_MARGIN, &margin.to_le_bytes());
        }
        put(&mut bytes, AT_SOURCE_HASH, &self.source_hash);
        put(&mut bytes, AT_SOURCE_NAME, &self.source_name);
        for (index, section) in self.sections().enumerate() {
            let at = AT_SECTIONS + index * SECTION_LEN;
            section.emit(&mut bytes[at..]);
        }
        let checksum = crc32(&bytes[..AT_CRC]);
        put(&mut bytes, AT_CRC, &checksum.to_le_bytes());
        bytes
    }

    fn flags(&self) -> u32 {
        let AttentionExtras { qkv_bias, o_bias, qk_norm } = self.attention;
        u32::from(self.tied_embeddings) * FLAG_TIED_EMBEDDINGS
            + u32::from(qkv_bias) * FLAG_QKV_BIAS
            + u32::from(o_bias) * FLAG_O_BIAS
            + u32::from(qk_norm) * FLAG_QK_NORM
    }

    /// The sections, in file order.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().flatten()
    }

    /// The section of kind `kind`.
    ///
    /// # Errors
    /// [`FormatError::Missing`] if the file has no such section.
    pub fn section(&self, kind: SectionKind) -> Result<Section, FormatError> {
        self.sections().find(|section| section.kind == kind).copied().ok_or(FormatError::Missing(kind))
    }

    /// Appends a section.
    ///
    /// # Panics
    /// If the header already has [`MAX_SECTIONS`] sections.
    pub fn push_section(&mut self, section: Section) {
        let free = self.sections.iter_mut().find(|slot| slot.is_none());
        *free.expect("the header has room for every kind of section") = Some(section);
    }

    /// The checkpoint's name, if it is UTF-8.
    pub fn source_name(&self) -> Option<&str> {
        let len = self.source_name.iter().position(|&byte| byte == 0).unwrap_or(SOURCE_NAME_LEN);
        core::str::from_utf8(&self.source_name[..len]).ok()
    }

    /// Length of the file in bytes, including the padding of the last section.
    pub fn file_len(&self) -> u64 {
        self.sections()
            .last()
            .map_or(SECTOR_LEN as u64, |last| last.offset + last.len.next_multiple_of(SECTOR_LEN as u64))
    }

    /// Whether `token` is an end-of-text token.
    pub fn is_eos(&self, token: u32) -> bool {
        self.eos.contains(&Some(token))
    }

    /// The number of parameters, as papers count them: tied embeddings count once.
    pub fn parameters(&self) -> u64 {
        let embedding = (!self.tied_embeddings).then_some((TensorKind::Embedding, 0));
        let shapes = embedding.into_iter().chain(TensorKind::tape(self)).map(|(kind, _)| kind.shape(self));
        shapes.map(|(rows, cols)| u64::from(rows) * u64::from(cols)).sum()
    }

    /// Length of the query vector, in elements: `n_heads × head_dim`.
    pub fn q_dim(&self) -> u32 {
        self.n_heads * self.head_dim
    }

    /// Length of the key vector and of the value vector, in elements: `n_kv_heads × head_dim`.
    pub fn kv_dim(&self) -> u32 {
        self.n_kv_heads * self.head_dim
    }
}

impl Default for Header {
    fn default() -> Self {
        Self::new()
    }
}

fn known(field: &'static str, value: u16, only: u16) -> Result<(), FormatError> {
    if value == only { Ok(()) } else { Err(FormatError::Unknown { field, value: value.into() }) }
}

pub(super) fn finite(field: &'static str, bytes: &[u8], at: usize) -> Result<f32, FormatError> {
    let bits = u32_at(bytes, at);
    // Below the bit pattern of infinity: finite and not negative.
    in_range(field, bits.into(), 0, f32::INFINITY.to_bits() as u64 - 1)?;
    Ok(f32::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::rope::AT_ROPE_SCALING;

    fn header() -> Header {
        let mut header = Header {
            hidden_size: 64,
            intermediate_size: 172,
            n_layers: 5,
            n_heads: 8,
            n_kv_heads: 4,
            head_dim: 8,
            vocab_size: 512,
            context_length: 512,
            attention: AttentionExtras { qkv_bias: true, o_bias: false, qk_norm: true },
            rope: Rope { theta: 5e5, scaling: RopeScaling::Linear { factor: 2.0 } },
            norm_eps: 1e-5,
            bos: Some(1),
            eos: [Some(2), Some(7), None, None],
            unk: Some(0),
            rescoring: Some(Rescoring { rows: 32, margin: 300 }),
            source_hash: [7; 32],
            ..Header::new()
        };
        header.source_name[..4].copy_from_slice(b"test");
        for (index, kind) in SectionKind::ALL.into_iter().enumerate() {
            header.push_section(Section { kind, offset: 512 + 1024 * index as u64, len: 1000, crc32: 3 });
        }
        header
    }

    /// Parses a header with changed bytes and a matching checksum.
    fn changed(at: usize, bytes: &[u8]) -> Result<Header, FormatError> {
        let mut sector = header().emit();
        put(&mut sector, at, bytes);
        let checksum = crc32(&sector[..AT_CRC]);
        put(&mut sector, AT_CRC, &checksum.to_le_bytes());
        Header::parse(&sector)
    }

    #[test]
    fn parse_reads_what_emit_writes() {
        assert_eq!(Header::parse(&header().emit()), Ok(header()));
        let llama3 =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 9 };
        for scaling in [RopeScaling::None, llama3, RopeScaling::Divisors] {
            let header = Header { rope: Rope { theta: 1e4, scaling }, ..header() };
            assert_eq!(Header::parse(&header.emit()), Ok(header));
        }
        assert_eq!(header().source_name(), Some("test"));
        assert_eq!(header().file_len(), 512 + 8 * 1024);
    }

    #[test]
    fn a_head_that_is_not_tied_is_rescored_from_a_section() {
        let without_section = |tied_embeddings, rescoring| {
            let sections = header().sections.map(|section| section.filter(|s| s.kind != SectionKind::RescoringHead));
            let mut header = Header { tied_embeddings, rescoring, sections: [None; MAX_SECTIONS], ..header() };
            sections.into_iter().flatten().for_each(|section| header.push_section(section));
            Header::parse(&header.emit()).map(|parsed| parsed == header)
        };
        let rescoring = Some(Rescoring { rows: 1, margin: 0 });
        assert_eq!(without_section(false, rescoring), Err(FormatError::Missing(SectionKind::RescoringHead)));
        assert_eq!(without_section(true, rescoring), Ok(true));
        assert_eq!(without_section(false, None), Ok(true));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = header().emit();
        for at in 0..SECTOR_LEN {
            for bit in 0..8 {
                let mut bad = good;
                bad[at] ^= 1 << bit;
                assert!(Header::parse(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn what_version_1_does_not_know_is_refused_by_name() {
        let cases: [(usize, &[u8], &str); 14] = [
            (0, b"GGUF", "not a .rillm file"),
            (AT_VERSION, &[2], "format version 2"),
            (AT_LENGTH, &[0, 4], "header length is 1024"),
            (AT_FLAGS, &[16], "header flags is 16"),
            (AT_ARCHITECTURE, &[9], "architecture is 9"),
            (AT_ACTIVATION, &[9], "activation is 9"),
            (AT_HIDDEN, &[0, 0, 0, 1], "hidden size is 16777216"),
            (AT_LAYERS, &[0], "number of layers is 0"),
            (AT_KV_HEADS, &[3], "must be a multiple of 3"),
            (AT_HEAD_DIM, &[7], "head_dim"),
            (AT_ROPE_SCALING, &[9], "rope scaling is 9"),
            (AT_NORM_EPS, &[0, 0, 0xc0, 0x7f], "norm epsilon"),
            (AT_BOS, &[0, 2], "bos token is 512"),
            (AT_SECTIONS, &[77], "section kind is 77"),
        ];
        for (at, bytes, message) in cases {
            let error = std::format!("{}", changed(at, bytes).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn sections_lie_in_order_on_sectors_and_once_each() {
        let second = AT_SECTIONS + SECTION_LEN;
        assert!(changed(second + 8, &[0, 2]).is_err(), "overlap");
        assert!(changed(second + 8, &[1]).is_err(), "off a sector");
        assert!(changed(second, &[1]).is_err(), "twice");
        assert!(changed(AT_SECTION_COUNT, &[5]).is_err(), "missing");
        assert!(changed(second + 16, &[0xff; 8]).is_err(), "too long");
    }
}
