//! Quantised tensors: their kinds, their order on the tape, and the layout of a row.

use core::fmt;

use super::bytes::{put, u32_at, u64_at};
use super::{AttentionExtras, FormatError, Header, in_range};

/// Bytes of a [`TensorHeader`].
pub const TENSOR_HEADER_LEN: usize = 16;
/// Bytes of a [`TensorEntry`].
pub const TENSOR_ENTRY_LEN: usize = 40;
/// Bytes of an [`EmbeddingHeader`].
pub const EMBEDDING_HEADER_LEN: usize = 32;

/// Which of the model's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum TensorKind {
    /// The embedding table, `[vocab_size, hidden_size]`.
    Embedding = 0,
    /// RMSNorm before attention, `[1, hidden_size]`.
    AttentionNorm = 1,
    /// `[n_kv_heads × head_dim, hidden_size]`.
    KProj = 2,
    /// `[n_kv_heads × head_dim, hidden_size]`.
    VProj = 3,
    /// `[n_heads × head_dim, hidden_size]`.
    QProj = 4,
    /// `[hidden_size, n_heads × head_dim]`.
    OProj = 5,
    /// RMSNorm before the feed-forward network, `[1, hidden_size]`.
    MlpNorm = 6,
    /// `[intermediate_size, hidden_size]`.
    GateProj = 7,
    /// `[intermediate_size, hidden_size]`.
    UpProj = 8,
    /// `[hidden_size, intermediate_size]`.
    DownProj = 9,
    /// RMSNorm before the head, `[1, hidden_size]`.
    FinalNorm = 10,
    /// The output projection, `[vocab_size, hidden_size]`.
    Head = 11,
    /// Added to `k_proj`'s output, `[1, n_kv_heads × head_dim]`.
    KBias = 12,
    /// RMSNorm of each key head, `[1, head_dim]`.
    KNorm = 13,
    /// Added to `v_proj`'s output, `[1, n_kv_heads × head_dim]`.
    VBias = 14,
    /// Added to `q_proj`'s output, `[1, n_heads × head_dim]`.
    QBias = 15,
    /// RMSNorm of each query head, `[1, head_dim]`.
    QNorm = 16,
    /// Added to `o_proj`'s output, `[1, hidden_size]`.
    OBias = 17,
}

impl TensorKind {
    /// The tensors of one layer, in tape order. K and V come first: the earlier tokens of a prompt need no more than
    /// them of the last layer, and the reading stops there.
    const LAYER: [Self; 15] = [
        Self::AttentionNorm,
        Self::KProj,
        Self::KBias,
        Self::KNorm,
        Self::VProj,
        Self::VBias,
        Self::QProj,
        Self::QBias,
        Self::QNorm,
        Self::OProj,
        Self::OBias,
        Self::MlpNorm,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    fn parse(value: u8) -> Result<Self, FormatError> {
        [Self::Embedding, Self::FinalNorm, Self::Head]
            .into_iter()
            .chain(Self::LAYER)
            .find(|&kind| kind as u8 == value)
            .ok_or(FormatError::Unknown { field: "tensor kind", value: value.into() })
    }

    /// `(rows, cols)` in a model of these dimensions.
    pub fn shape(self, header: &Header) -> (u32, u32) {
        let hidden = header.hidden_size;
        match self {
            Self::Embedding | Self::Head => (header.vocab_size, hidden),
            Self::AttentionNorm | Self::MlpNorm | Self::FinalNorm => (1, hidden),
            Self::KProj | Self::VProj => (header.kv_dim(), hidden),
            Self::QProj => (header.q_dim(), hidden),
            Self::OProj => (hidden, header.q_dim()),
            Self::GateProj | Self::UpProj => (header.intermediate_size, hidden),
            Self::DownProj => (hidden, header.intermediate_size),
            Self::KBias | Self::VBias => (1, header.kv_dim()),
            Self::QBias => (1, header.q_dim()),
            Self::KNorm | Self::QNorm => (1, header.head_dim),
            Self::OBias => (1, hidden),
        }
    }

    /// Every tensor of a model's tape with its layer, in tape order. What belongs to no layer has layer 0.
    pub fn tape(header: &Header) -> impl Iterator<Item = (Self, u32)> + use<> {
        let extras = header.attention;
        (0..header.n_layers)
            .flat_map(move |layer| {
                Self::LAYER.into_iter().filter(move |kind| kind.is_in(extras)).map(move |kind| (kind, layer))
            })
            .chain([(Self::FinalNorm, 0), (Self::Head, 0)])
    }

    fn is_in(self, extras: AttentionExtras) -> bool {
        match self {
            Self::KBias | Self::VBias | Self::QBias => extras.qkv_bias,
            Self::KNorm | Self::QNorm => extras.qk_norm,
            Self::OBias => extras.o_bias,
            _ => true,
        }
    }

    /// Whether it is the weights of a norm.
    pub fn is_norm(self) -> bool {
        matches!(self, Self::AttentionNorm | Self::MlpNorm | Self::FinalNorm | Self::KNorm | Self::QNorm)
    }

    /// Whether it is added to a projection's output.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::KBias | Self::VBias | Self::QBias | Self::OBias)
    }

    /// Whether it is a vector, a norm's weights or a bias, rather than a matrix.
    pub fn is_vector(self) -> bool {
        self.is_norm() || self.is_bias()
    }
}

impl fmt::Display for TensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embed_tokens",
            Self::AttentionNorm => "input_layernorm",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::QProj => "q_proj",
            Self::OProj => "o_proj",
            Self::MlpNorm => "post_attention_layernorm",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
            Self::FinalNorm => "norm",
            Self::Head => "lm_head",
            Self::KBias => "k_proj.bias",
            Self::KNorm => "k_norm",
            Self::VBias => "v_proj.bias",
            Self::QBias => "q_proj.bias",
            Self::QNorm => "q_norm",
            Self::OBias => "o_proj.bias",
        })
    }
}

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// 32-bit mantissas with one exponent for the tensor: vectors, which are a norm's weights or a bias.
    Fixed32,
    /// 8-bit values, symmetric; an 8-bit scale for each group of a row, an exponent for each row.
    Int8 {
        /// Values that share a scale: a power of two, 16 to 512. The last group of a row may be shorter.
        group: u32,
    },
}

impl Quantisation {
    const FIXED32: u8 = 1;
    const INT8: u8 = 2;
    const INT4: u8 = 3;

    fn parse(kind: u8, group_log2: u8) -> Result<Self, FormatError> {
        match kind {
            Self::FIXED32 => in_range("group size of a vector", group_log2.into(), 0, 0).map(|_| Self::Fixed32),
            Self::INT8 => {
                in_range("log2 of the group size", group_log2.into(), 4, 9).map(|log2| Self::Int8 { group: 1 << log2 })
            }
            Self::INT4 => Err(FormatError::Unknown {
                field: "quantisation (3 is int4, which this engine cannot compute with yet)",
                value: kind.into(),
            }),
            _ => Err(FormatError::Unknown { field: "quantisation", value: kind.into() }),
        }
    }

    fn emit(self) -> [u8; 2] {
        match self {
            Self::Fixed32 => [Self::FIXED32, 0],
            Self::Int8 { group } => [Self::INT8, group.ilog2() as u8],
        }
    }

    /// Bytes of a row of `cols` values with its scales and its padding to a multiple of four.
    pub fn row_len(self, cols: u32) -> usize {
        let cols = cols as usize;
        match self {
            Self::Fixed32 => 4 * cols,
            Self::Int8 { group } => (cols + cols.div_ceil(group as usize) + 1).next_multiple_of(4),
        }
    }
}

impl fmt::Display for Quantisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed32 => f.write_str("fixed32"),
            Self::Int8 { group } => write!(f, "int8/{group}"),
        }
    }
}

/// The 16 bytes before the rows of a tensor: what it is, so that a reader that lost its place notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// Which tensor.
    pub kind: TensorKind,
    /// Its layer, 0 for what belongs to none.
    pub layer: u32,
    /// How its values are stored.
    pub quantisation: Quantisation,
    /// Of a vector, the exponent of its values; else the largest exponent of its rows.
    pub exponent: i8,
    /// Its rows: outputs.
    pub rows: u32,
    /// Its columns: inputs.
    pub cols: u32,
}

impl TensorHeader {
    /// Checks and reads a tensor's header.
    ///
    /// # Errors
    /// [`FormatError`] names what version 1 does not know.
    pub fn parse(bytes: &[u8; TENSOR_HEADER_LEN]) -> Result<Self, FormatError> {
        Ok(Self {
            kind: TensorKind::parse(bytes[0])?,
            layer: u32_at(bytes, 4),
            quantisation: Quantisation::parse(bytes[1], bytes[2])?,
            exponent: bytes[3] as i8,
            rows: u32_at(bytes, 8),
            cols: u32_at(bytes, 12),
        })
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; TENSOR_HEADER_LEN] {
        let mut bytes = [0; TENSOR_HEADER_LEN];
        let [quantisation, group_log2] = self.quantisation.emit();
        put(&mut bytes, 0, &[self.kind as u8, quantisation, group_log2, self.exponent as u8]);
        put(&mut bytes, 4, &self.layer.to_le_bytes());
        put(&mut bytes, 8, &self.rows.to_le_bytes());
        put(&mut bytes, 12, &self.cols.to_le_bytes());
        bytes
    }

    /// Checks that this is `kind` of `layer`, of the shape that `header` gives it.
    ///
    /// # Errors
    /// [`FormatError::Tensor`]: it isn't.
    pub fn expect(&self, header: &Header, kind: TensorKind, layer: u32) -> Result<(), FormatError> {
        let (rows, cols) = kind.shape(header);
        let wrong = |field, found| FormatError::Tensor { expected: kind, layer, field, found };
        if self.kind != kind {
            return Err(wrong("kind", self.kind as u64));
        }
        if self.layer != layer {
            return Err(wrong("layer", self.layer.into()));
        }
        if self.rows != rows {
            return Err(wrong("number of rows", self.rows.into()));
        }
        if self.cols != cols {
            return Err(wrong("number of columns", self.cols.into()));
        }
        if kind.is_vector() != (self.quantisation == Quantisation::Fixed32) {
            return Err(wrong("quantisation", self.quantisation.emit()[0].into()));
        }
        Ok(())
    }

    /// Values that share a scale.
    ///
    /// # Errors
    /// [`FormatError::Tensor`]: the tensor is not quantised to 8 bits.
    pub(crate) fn int8_group(&self) -> Result<usize, FormatError> {
        match self.quantisation {
            Quantisation::Int8 { group } => Ok(group as usize),
            Quantisation::Fixed32 => {
                let (expected, found) = (self.kind, self.quantisation.emit()[0].into());
                Err(FormatError::Tensor { expected, layer: self.layer, field: "quantisation", found })
            }
        }
    }

    /// Bytes of a row.
    pub fn row_len(&self) -> usize {
        self.quantisation.row_len(self.cols)
    }

    /// Bytes on the tape, this header included.
    pub fn byte_len(&self) -> u64 {
        TENSOR_HEADER_LEN as u64 + u64::from(self.rows) * self.row_len() as u64
    }
}

/// A line of the table of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// What the tensor is: the same bytes as before its rows.
    pub tensor: TensorHeader,
    /// Its header's first byte, counted from the start of the file. Of the embedding table, its section's.
    pub offset: u64,
    /// Its bytes, its header's included.
    pub len: u64,
    /// The CRC-32 of these bytes.
    pub crc32: u32,
}

impl TensorEntry {
    /// Checks and reads a line of the table.
    ///
    /// # Errors
    /// As [`TensorHeader::parse`].
    pub fn parse(bytes: &[u8; TENSOR_ENTRY_LEN]) -> Result<Self, FormatError> {
        Ok(Self {
            tensor: TensorHeader::parse(&super::bytes::array(bytes, 0))?,
            offset: u64_at(bytes, 16),
            len: u64_at(bytes, 24),
            crc32: u32_at(bytes, 32),
        })
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; TENSOR_ENTRY_LEN] {
        let mut bytes = [0; TENSOR_ENTRY_LEN];
        put(&mut bytes, 0, &self.tensor.emit());
        put(&mut bytes, 16, &self.offset.to_le_bytes());
        put(&mut bytes, 24, &self.len.to_le_bytes());
        put(&mut bytes, 32, &self.crc32.to_le_bytes());
        bytes
    }
}

/// What a token's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// Text, as it is printed.
    Text = 0,
    /// One byte of a character that is spelled in bytes.
    Byte = 1,
    /// A mark such as `<s>`, a special token, not part of the text.
    Control = 2,
    /// The mark for what the vocabulary cannot spell.
    Unknown = 3,
    /// Bytes of text that need not be whole characters.
    Part = 4,
}

impl TokenKind {
    /// Reads a token's kind.
    ///
    /// # Errors
    /// [`FormatError::Unknown`]: version 1 has no such kind.
    pub fn parse(value: u8) -> Result<Self, FormatError> {
        [Self::Text, Self::Byte, Self::Control, Self::Unknown, Self::Part]
            .into_iter()
            .find(|&kind| kind as u8 == value)
            .ok_or(FormatError::Unknown { field: "token kind", value: value.into() })
    }
}

/// The 32 bytes before the embedding rows.
///
/// A record is a quantised row of `hidden_size` values, then the text's length (1 byte), the token's [`TokenKind`]
/// (1 byte), the text, and zeros up to `record_len`, a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingHeader {
    /// The table as a tensor.
    pub tensor: TensorHeader,
    /// Bytes of a record.
    pub record_len: u32,
}

impl EmbeddingHeader {
    /// Checks and reads the embedding section's header.
    ///
    /// # Errors
    /// [`FormatError`]: it does not fit `header`, or a record is too short or longer than the longest text demands.
    pub fn parse(bytes: &[u8; EMBEDDING_HEADER_LEN], header: &Header) -> Result<Self, FormatError> {
        let tensor = TensorHeader::parse(&super::bytes::array(bytes, 0))?;
        tensor.expect(header, TensorKind::Embedding, 0)?;
        let row_len = tensor.row_len() as u64;
        let record_len =
            in_range("embedding record length", u32_at(bytes, TENSOR_HEADER_LEN).into(), row_len + 4, row_len + 260)?;
        if !record_len.is_multiple_of(4) {
            return Err(FormatError::Inconsistent {
                field: "embedding record length modulo 4",
                value: record_len % 4,
                expected: 0,
            });
        }
        Ok(Self { tensor, record_len: record_len as u32 })
    }

    /// The length of a token's text, which a record states as `len`.
    ///
    /// # Errors
    /// [`FormatError::OutOfRange`]: a record has no room for so much.
    pub(crate) fn text_len(&self, len: u8) -> Result<usize, FormatError> {
        // `parse` has seen to at least 4 bytes after the row, of which 2 are not the text's.
        let room = u64::from(self.record_len) - self.tensor.row_len() as u64 - 2;
        in_range("length of a token's text", len.into(), 0, room).map(|len| len as usize)
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; EMBEDDING_HEADER_LEN] {
        let mut bytes = [0; EMBEDDING_HEADER_LEN];
        put(&mut bytes, 0, &self.tensor.emit());
        put(&mut bytes, TENSOR_HEADER_LEN, &self.record_len.to_le_bytes());
        bytes
    }

    /// Bytes of the section.
    pub fn byte_len(&self) -> u64 {
        EMBEDDING_HEADER_LEN as u64 + u64::from(self.tensor.rows) * u64::from(self.record_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(quantisation: Quantisation) -> TensorHeader {
        TensorHeader { kind: TensorKind::Embedding, layer: 0, quantisation, exponent: 0, rows: 3, cols: 32 }
    }

    #[test]
    fn a_text_that_a_record_has_no_room_for_is_out_of_range() {
        // A row of 32 values, a scale and an exponent takes 36 bytes.
        let embedding = EmbeddingHeader { tensor: tensor(Quantisation::Int8 { group: 32 }), record_len: 44 };
        assert_eq!(embedding.text_len(6), Ok(6));
        let error = FormatError::OutOfRange { field: "length of a token's text", value: 7, min: 0, max: 6 };
        assert_eq!(embedding.text_len(7), Err(error));
    }

    #[test]
    fn a_matrix_that_is_not_quantised_is_named() {
        assert_eq!(tensor(Quantisation::Int8 { group: 64 }).int8_group(), Ok(64));
        let (expected, layer) = (TensorKind::Embedding, 0);
        let error = FormatError::Tensor { expected, layer, field: "quantisation", found: 1 };
        assert_eq!(tensor(Quantisation::Fixed32).int8_group(), Err(error));
    }
}
