//! The layout of the file, computed before anything is written.

use rillm::SECTOR_LEN;
use rillm::format::{
    EmbeddingHeader, Header, Quantisation, Rescoring, Section, SectionKind, TENSOR_ENTRY_LEN, TensorEntry,
    TensorHeader, TensorKind, TokenKind,
};

use super::{MAX_TOKEN_TEXT, Options, RESCORED_ROWS, TokenizerSections, WriteError};
use crate::vocabulary::Token;
use rillm_quantise::mix::Bits;

/// The bytes before a token's text: its length and the token's kind.
const TOKEN_PREFIX_LEN: usize = 2;

/// The file's sections and tensors. Checksums and exponents are zero until they are known.
pub(super) struct Layout {
    /// The header, without sections. The width of keys and the margin of rescoring are the caller's to set.
    pub header: Header,
    /// The sections, in file order.
    pub sections: Vec<Section>,
    /// The embedding table, then every tensor of the tape in its order.
    pub entries: Vec<TensorEntry>,
    /// The rows for rescoring in a section of their own, if they are not those of the embedding table.
    pub rescoring_head: Option<TensorEntry>,
    /// Bytes of an embedding record.
    pub embedding_record_len: u32,
    /// The file's length in bytes.
    pub file_len: u64,
}

impl Layout {
    pub fn new(mut header: Header, tokenizer: &TokenizerSections, options: Options) -> Result<Self, WriteError> {
        if !(options.group.is_power_of_two() && (16..=512).contains(&options.group)) {
            return Err(WriteError::Group { found: options.group });
        }
        let longest_text = check_tokens(tokenizer, header.vocab_size)?;
        let unk = tokenizer.tokens.iter().position(|token| token.kind == TokenKind::Unknown);
        header.unk = unk.map(|token| token as u32);

        let tensor = |kind, layer| {
            let (rows, cols) = TensorKind::shape(kind, &header);
            let quantisation = options.mix.quantisation(kind, options.group);
            TensorHeader { kind, layer, quantisation, exponent: 0, rows, cols }
        };
        let embedding = tensor(TensorKind::Embedding, 0);
        let record_len = embedding.row_len() + TOKEN_PREFIX_LEN + longest_text;
        let embedding = EmbeddingHeader { tensor: embedding, record_len: record_len.next_multiple_of(4) as u32 };
        let tape: Vec<TensorHeader> = TensorKind::tape(&header).map(|(kind, layer)| tensor(kind, layer)).collect();

        let has_int8_table = options.mix.embedding == Bits::Eight;
        let default_rows = if has_int8_table { RESCORED_ROWS } else { 0 };
        let rows = if options.mix.head == Bits::Four { options.rescored_rows.unwrap_or(default_rows) } else { 0 };
        let repeats_table = header.tied_embeddings && has_int8_table;
        let rescoring_head = (rows > 0 && !repeats_table).then(|| TensorHeader {
            quantisation: Quantisation::Int8 { group: options.group },
            ..tensor(TensorKind::Head, 0)
        });
        header.rescoring = (rows > 0).then_some(Rescoring { rows, margin: u16::MAX });

        let sections = place_sections(&[
            (SectionKind::Rope, u64::from(header.head_dim) / 2 * 8),
            (SectionKind::Tensors, (1 + tape.len() as u64) * TENSOR_ENTRY_LEN as u64),
            (SectionKind::Tokenizer, tokenizer.tokenizer.len() as u64),
            (SectionKind::ChatTemplate, tokenizer.chat_template.len() as u64),
            (SectionKind::Chat, tokenizer.chat_bytes().len() as u64),
            (SectionKind::Embedding, embedding.byte_len()),
            (SectionKind::RescoringHead, rescoring_head.map_or(0, |tensor| tensor.byte_len())),
            (SectionKind::Tape, tape.iter().map(TensorHeader::byte_len).sum()),
        ]);
        let rescoring_head = rescoring_head.map(|tensor| TensorEntry {
            tensor,
            offset: start(&sections, SectionKind::RescoringHead),
            len: tensor.byte_len(),
            crc32: 0,
        });
        let layout = Self {
            rescoring_head,
            entries: place_tensors(&sections, &embedding, &tape),
            embedding_record_len: embedding.record_len,
            file_len: sections.last().map_or(0, end),
            header,
            sections,
        };
        Header::parse(&layout.first_sector()).map_err(WriteError::Format)?;
        Ok(layout)
    }

    /// The file's first sector, with the checksums known so far.
    pub fn first_sector(&self) -> [u8; SECTOR_LEN] {
        let mut header = self.header.clone();
        for section in &self.sections {
            header.push_section(*section);
        }
        header.emit()
    }

    /// The `tensors` section, with the checksums known so far.
    pub fn tensors_section(&self) -> Vec<u8> {
        self.entries.iter().flat_map(TensorEntry::emit).collect()
    }

    /// The header before a tensor's rows.
    pub fn tensor_header(&self, tensor: &TensorHeader) -> Vec<u8> {
        if tensor.kind == TensorKind::Embedding {
            let header = EmbeddingHeader { tensor: *tensor, record_len: self.embedding_record_len };
            header.emit().to_vec()
        } else {
            tensor.emit().to_vec()
        }
    }

    /// The stride of a tensor's rows in bytes.
    pub fn record_len(&self, tensor: &TensorHeader) -> usize {
        if tensor.kind == TensorKind::Embedding { self.embedding_record_len as usize } else { tensor.row_len() }
    }
}

/// Checks that the vocabulary matches the embedding table. Returns the length of the longest token text in bytes.
fn check_tokens(tokenizer: &TokenizerSections, vocab_size: u32) -> Result<usize, WriteError> {
    if tokenizer.tokenizer.is_empty() {
        return Err(WriteError::EmptyTokenizer);
    }
    let tokens = &tokenizer.tokens;
    if tokens.len() != vocab_size as usize {
        return Err(WriteError::TokenCount { tokens: tokens.len(), vocab_size });
    }
    let mut longest = 0;
    for (token, Token { text, .. }) in tokens.iter().enumerate() {
        if text.len() > MAX_TOKEN_TEXT {
            return Err(WriteError::TokenText { token, len: text.len() });
        }
        longest = longest.max(text.len());
    }
    Ok(longest)
}

/// Places sections of these lengths one after the other, each at a sector; empty ones are omitted.
fn place_sections(lengths: &[(SectionKind, u64)]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for &(kind, len) in lengths {
        if len > 0 {
            sections.push(Section { kind, offset: sections.last().map_or(SECTOR_LEN as u64, end), len, crc32: 0 });
        }
    }
    sections
}

/// The first sector after a section.
fn end(section: &Section) -> u64 {
    section.offset + section.len.next_multiple_of(SECTOR_LEN as u64)
}

/// Where a section starts.
fn start(sections: &[Section], kind: SectionKind) -> u64 {
    sections.iter().find(|section| section.kind == kind).map_or(0, |section| section.offset)
}

fn place_tensors(sections: &[Section], embedding: &EmbeddingHeader, tape: &[TensorHeader]) -> Vec<TensorEntry> {
    let mut entries = vec![TensorEntry {
        tensor: embedding.tensor,
        offset: start(sections, SectionKind::Embedding),
        len: embedding.byte_len(),
        crc32: 0,
    }];
    let mut offset = start(sections, SectionKind::Tape);
    for &tensor in tape {
        let len = tensor.byte_len();
        entries.push(TensorEntry { tensor, offset, len, crc32: 0 });
        offset += len;
    }
    entries
}
