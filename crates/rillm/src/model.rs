//! An opened model file: its dimensions, and the positions of its tensors.

use crate::error::Error;
use crate::fixed::Positive;
use crate::format::{
    EMBEDDING_HEADER_LEN, EmbeddingHeader, FormatError, Header, Quantisation, Rescoring, Section, SectionKind,
    TENSOR_ENTRY_LEN, TENSOR_HEADER_LEN, TensorEntry, TensorHeader, TensorKind, TokenKind,
};
use crate::session::Token;
use crate::source::SectorReader;
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::Tokenizer;

/// An opened model file: the header and the offsets that a session needs. About 700 bytes, owned by the caller.
#[derive(Clone, Debug)]
pub struct Model {
    header: Header,
    tokenizer: Tokenizer,
    embedding: EmbeddingHeader,
    embedding_section: Section,
    rope_section: Section,
    tape_section: Section,
    /// Bytes of the tape up to the end of the last layer's values: the part that the earlier tokens of a prompt need.
    prefix_len: u64,
    /// The longest contiguous piece of the tape, in bytes: a row, a vector, or a tensor's header.
    longest_row: usize,
    /// The header of the last tensor, from the tensor table.
    lm_head: TensorHeader,
    rescoring: Option<RescoringRows>,
    int4_weights: Int4Weights,
}

/// Numbers of weights of 4 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Int4Weights {
    /// In the matrices of all layers.
    pub layers: u64,
    /// In the head.
    pub head: u64,
}

/// The rows of a head that computes its best logits again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RescoringRows {
    /// The most rows for a position, as the file says.
    most: u8,
    /// The tensor of the rows: another head, or the embedding table.
    pub tensor: TensorHeader,
    /// Offset of the first row from the start of the file, and from a row to the next one, in bytes.
    first: u64,
    stride: u32,
}

impl RescoringRows {
    /// Offset of a token's row from the start of the file, in bytes.
    pub fn offset(&self, id: u32) -> u64 {
        self.first + u64::from(id) * u64::from(self.stride)
    }

    /// The most rows for a position of a model with this vocabulary.
    pub fn most(&self, vocab_size: u32) -> usize {
        usize::from(self.most).min(vocab_size as usize)
    }
}

impl Model {
    /// Reads and checks a file's header and tables: 1 KiB and 40 bytes for each tensor.
    ///
    /// # Errors
    /// [`Error::Source`], or [`Error::Format`] if a field is invalid.
    pub async fn open<S: WeightSource>(source: &mut S) -> Result<Self, Error<S::Error>> {
        let mut sector = [0; SECTOR_LEN];
        let mut reader = SectorReader::new(source, &mut sector);
        let mut bytes = [0; SECTOR_LEN];
        reader.read(0, &mut bytes).await.map_err(Error::Source)?;
        let header = Header::parse(&bytes)?;
        let section = header.section(SectionKind::Tokenizer)?;
        let tokenizer = Tokenizer::open(&mut reader, section, header.vocab_size).await?;

        let embedding_section = header.section(SectionKind::Embedding)?;
        let rope_section = header.section(SectionKind::Rope)?;
        let tape_section = header.section(SectionKind::Tape)?;
        let mut bytes = [0; EMBEDDING_HEADER_LEN];
        reader.read(embedding_section.offset, &mut bytes).await.map_err(Error::Source)?;
        let embedding = EmbeddingHeader::parse(&bytes, &header)?;
        section_len(&embedding_section, "embedding section length", embedding.byte_len())?;
        section_len(&rope_section, "rope section length", u64::from(header.head_dim) * 4)?;

        let mut model = Self {
            header,
            tokenizer,
            embedding,
            embedding_section,
            rope_section,
            tape_section,
            prefix_len: 0,
            longest_row: TENSOR_HEADER_LEN,
            lm_head: embedding.tensor,
            rescoring: None,
            int4_weights: Int4Weights::default(),
        };
        model.read_tensor_table(&mut reader).await?;
        model.rescoring = model.read_rescoring(&mut reader).await?;
        Ok(model)
    }

    async fn read_rescoring<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
    ) -> Result<Option<RescoringRows>, Error<S::Error>> {
        let Some(Rescoring { rows: most, .. }) = self.header.rescoring else { return Ok(None) };
        let Ok(section) = self.header.section(SectionKind::RescoringHead) else {
            let (first, stride) = (self.record_offset(0), self.embedding.record_len);
            return Ok(Some(RescoringRows { most, tensor: self.embedding.tensor, first, stride }));
        };
        let mut bytes = [0; TENSOR_HEADER_LEN];
        reader.read(section.offset, &mut bytes).await.map_err(Error::Source)?;
        let tensor = TensorHeader::parse(&bytes)?;
        tensor.expect(&self.header, TensorKind::Head, 0)?;
        section_len(&section, "rescoring head length", tensor.byte_len())?;
        let first = section.offset + TENSOR_HEADER_LEN as u64;
        Ok(Some(RescoringRows { most, tensor, first, stride: tensor.row_len() as u32 }))
    }

    /// Checks the tensor table. The tensors must follow each other on the tape without gaps.
    async fn read_tensor_table<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
    ) -> Result<(), Error<S::Error>> {
        let table = self.header.section(SectionKind::Tensors)?;
        let tensors = TensorKind::tape(&self.header).count() as u64 + 1;
        section_len(&table, "tensor table length", tensors * TENSOR_ENTRY_LEN as u64)?;
        let mut at = self.tape_section.offset;
        let embedding = [(TensorKind::Embedding, 0)].into_iter();
        for (index, (kind, layer)) in embedding.chain(TensorKind::tape(&self.header)).enumerate() {
            let mut bytes = [0; TENSOR_ENTRY_LEN];
            let offset = table.offset + (index * TENSOR_ENTRY_LEN) as u64;
            reader.read(offset, &mut bytes).await.map_err(Error::Source)?;
            let entry = TensorEntry::parse(&bytes)?;
            entry.tensor.expect(&self.header, kind, layer)?;
            let (place, len) = match kind {
                TensorKind::Embedding => (self.embedding_section.offset, self.embedding.byte_len()),
                _ => (at, entry.tensor.byte_len()),
            };
            for (field, found, expected) in [("offset", entry.offset, place), ("length", entry.len, len)] {
                if found != expected {
                    return Err(FormatError::Tensor { expected: kind, layer, field, found }.into());
                }
            }
            if kind != TensorKind::Embedding {
                at += len;
                self.longest_row = self.longest_row.max(entry.tensor.row_len());
                if let Quantisation::Int4 { .. } = entry.tensor.quantisation {
                    let Int4Weights { layers, head } = &mut self.int4_weights;
                    let class = if kind == TensorKind::Head { head } else { layers };
                    // At most 2^10 layers of 2^37 weights.
                    *class += u64::from(entry.tensor.rows) * u64::from(entry.tensor.cols);
                }
            }
            if kind == TensorKind::Head {
                self.lm_head = entry.tensor;
            }
            if matches!(kind, TensorKind::VProj | TensorKind::VBias) {
                self.prefix_len = at - self.tape_section.offset;
            }
        }
        Ok(section_len(&self.tape_section, "tape length", at - self.tape_section.offset)?)
    }

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Length of the tape in bytes: the weights that a token reads, without its embedding row.
    pub fn tape_len(&self) -> u64 {
        self.tape_section.len
    }

    /// The file's identity: the checksum of its header, which covers the checksums of all sections.
    pub(crate) fn identity(&self) -> u32 {
        let [.., a, b, c, d] = self.header.emit();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The numbers of weights of 4 bits that a token is multiplied with.
    pub fn int4_weights(&self) -> Int4Weights {
        self.int4_weights
    }

    pub(crate) fn tape_offset(&self) -> u64 {
        self.tape_section.offset
    }

    pub(crate) fn tape_crc32(&self) -> u32 {
        self.tape_section.crc32
    }

    pub(crate) fn prefix_len(&self) -> u64 {
        self.prefix_len
    }

    pub(crate) fn longest_row(&self) -> usize {
        self.longest_row
    }

    pub(crate) fn lm_head(&self) -> &TensorHeader {
        &self.lm_head
    }

    pub(crate) fn rescoring(&self) -> Option<&RescoringRows> {
        self.rescoring.as_ref()
    }

    pub(crate) fn rope_offset(&self) -> u64 {
        self.rope_section.offset
    }

    pub(crate) fn embedding(&self) -> &EmbeddingHeader {
        &self.embedding
    }

    /// Reads the kind and the text of token `id` into `text`. `source` must hold the file that the model was opened
    /// from.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`] if `id` is not below the vocabulary size, [`Error::Format`] if the record is damaged, or
    /// the source's error.
    pub async fn token<'t, S: WeightSource>(
        &self,
        source: &mut S,
        id: u32,
        text: &'t mut [u8; 255],
    ) -> Result<Token<'t>, Error<S::Error>> {
        if id >= self.header.vocab_size {
            return Err(Error::NoSuchToken { id, vocab_size: self.header.vocab_size });
        }
        let mut sector = [0; SECTOR_LEN];
        let mut reader = SectorReader::new(source, &mut sector);
        let row_len = self.embedding.tensor.row_len();
        let (start, mut head) = (self.record_offset(id) + row_len as u64, [0; 2]);
        reader.read(start, &mut head).await.map_err(Error::Source)?;
        let [len, kind] = head;
        let text = &mut text[..self.embedding.text_len(len)?];
        reader.read(start + head.len() as u64, text).await.map_err(Error::Source)?;
        Ok(Token { id, kind: TokenKind::parse(kind)?, text })
    }

    /// The file offset of a token's embedding record, in bytes.
    pub(crate) fn record_offset(&self, token: u32) -> u64 {
        self.embedding_section.offset
            + EMBEDDING_HEADER_LEN as u64
            + u64::from(token) * u64::from(self.embedding.record_len)
    }

    pub(crate) fn epsilon(&self) -> Positive {
        Positive::from_f32_bits(self.header.norm_eps.to_bits())
    }
}

fn section_len(section: &Section, field: &'static str, expected: u64) -> Result<(), FormatError> {
    if section.len == expected {
        Ok(())
    } else {
        Err(FormatError::Inconsistent { field, value: section.len, expected })
    }
}
