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

/// The kind of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum TensorKind {
    /// The embedding table, `[vocab_size, hidden_size]`.
    Embedding = 0,
    /// RMSNorm before attention, `[1, hidden_size]`.
    AttentionNorm = 1,
    /// The key projection, `[n_kv_heads × head_dim, hidden_size]`.
    KProj = 2,
    /// The value projection, `[n_kv_heads × head_dim, hidden_size]`.
    VProj = 3,
    /// The query projection, `[n_heads × head_dim, hidden_size]`.
    QProj = 4,
    /// The output projection of attention, `[hidden_size, n_heads × head_dim]`.
    OProj = 5,
    /// RMSNorm before the feed-forward network, `[1, hidden_size]`.
    MlpNorm = 6,
    /// The gate projection, `[intermediate_size, hidden_size]`.
    GateProj = 7,
    /// The up projection, `[intermediate_size, hidden_size]`.
    UpProj = 8,
    /// The down projection, `[hidden_size, intermediate_size]`.
    DownProj = 9,
    /// RMSNorm before the head, `[1, hidden_size]`.
    FinalNorm = 10,
    /// The head, `[vocab_size, hidden_size]`.
    Head = 11,
    /// The bias of `k_proj`, `[1, n_kv_heads × head_dim]`.
    KBias = 12,
    /// RMSNorm of each key head, `[1, head_dim]`.
    KNorm = 13,
    /// The bias of `v_proj`, `[1, n_kv_heads × head_dim]`.
    VBias = 14,
    /// The bias of `q_proj`, `[1, n_heads × head_dim]`.
    QBias = 15,
    /// RMSNorm of each query head, `[1, head_dim]`.
    QNorm = 16,
    /// The bias of `o_proj`, `[1, hidden_size]`.
    OBias = 17,
}

impl TensorKind {
    /// The tensors of one layer, in tape order. K and V come first: for the earlier tokens of a prompt, a pass ends
    /// after the last layer's K and V.
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

    /// `(rows, cols)` of the tensor in a model with this header.
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

    /// Every tensor of a model's tape with its layer, in tape order. Tensors outside the layers have layer 0.
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

    /// Whether the tensor holds the weights of a norm.
    pub fn is_norm(self) -> bool {
        matches!(self, Self::AttentionNorm | Self::MlpNorm | Self::FinalNorm | Self::KNorm | Self::QNorm)
    }

    /// Whether the tensor is the bias of a projection.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::KBias | Self::VBias | Self::QBias | Self::OBias)
    }

    /// Whether the tensor is a vector (a norm's weights or a bias) rather than a matrix.
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

/// The storage of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// 32-bit mantissas with one exponent for the tensor. For vectors: a norm's weights or a bias.
    Fixed32,
    /// Symmetric 8-bit values, with an 8-bit scale for each group of a row and an exponent for each row.
    Int8 {
        /// Number of values that share a scale: a power of two, 16 to 512. The last group of a row may be shorter.
        group: u32,
    },
    /// 4-bit numbers of [`INT4_LEVELS`], with scales and an exponent like those of int8.
    Int4 {
        /// Number of values that share a scale, as for int8.
        group: u32,
    },
}

/// The values that a 4-bit number stands for, times its group's scale. They are closer to each other near zero, where
/// most weights are: the levels of llama.cpp's IQ4_NL (`kvalues_iq4nl` in ggml-common.h).
pub const INT4_LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Quantisation {
    const FIXED32: u8 = 1;
    const INT8: u8 = 2;
    const INT4: u8 = 3;

    fn parse(kind: u8, group_log2: u8) -> Result<Self, FormatError> {
        match kind {
            Self::FIXED32 => in_range("group size of a vector", group_log2.into(), 0, 0).map(|_| Self::Fixed32),
            Self::INT8 | Self::INT4 => {
                let group = 1 << in_range("log2 of the group size", group_log2.into(), 4, 9)?;
                Ok(if kind == Self::INT8 { Self::Int8 { group } } else { Self::Int4 { group } })
            }
            _ => Err(FormatError::Unknown { field: "quantisation", value: kind.into() }),
        }
    }

    pub(crate) fn emit(self) -> [u8; 2] {
        match self {
            Self::Fixed32 => [Self::FIXED32, 0],
            Self::Int8 { group } => [Self::INT8, group.ilog2() as u8],
            Self::Int4 { group } => [Self::INT4, group.ilog2() as u8],
        }
    }

    /// Length of a row of `cols` values in bytes, with its scales and the padding to a multiple of four.
    pub fn row_len(self, cols: u32) -> usize {
        let cols = cols as usize;
        match self {
            Self::Fixed32 => 4 * cols,
            Self::Int8 { group } => (cols + cols.div_ceil(group as usize) + 1).next_multiple_of(4),
            Self::Int4 { group } => (cols.div_ceil(2) + cols.div_ceil(group as usize) + 1).next_multiple_of(4),
        }
    }
}

impl fmt::Display for Quantisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed32 => f.write_str("fixed32"),
            Self::Int8 { group } => write!(f, "int8/{group}"),
            Self::Int4 { group } => write!(f, "int4/{group}"),
        }
    }
}

/// The 16 bytes before the rows of a tensor. They identify the tensor, so that a reader detects a wrong position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// The kind of the tensor.
    pub kind: TensorKind,
    /// The layer; 0 for tensors outside the layers.
    pub layer: u32,
    /// The storage of the values.
    pub quantisation: Quantisation,
    /// For a vector, the exponent of its values; for a matrix, the largest exponent of its rows.
    pub exponent: i8,
    /// Number of rows: outputs.
    pub rows: u32,
    /// Number of columns: inputs.
    pub cols: u32,
}

impl TensorHeader {
    /// Checks and reads a tensor's header.
    ///
    /// # Errors
    /// A [`FormatError`] that names the invalid field.
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

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; TENSOR_HEADER_LEN] {
        let mut bytes = [0; TENSOR_HEADER_LEN];
        let [quantisation, group_log2] = self.quantisation.emit();
        put(&mut bytes, 0, &[self.kind as u8, quantisation, group_log2, self.exponent as u8]);
        put(&mut bytes, 4, &self.layer.to_le_bytes());
        put(&mut bytes, 8, &self.rows.to_le_bytes());
        put(&mut bytes, 12, &self.cols.to_le_bytes());
        bytes
    }

    /// Checks that this is tensor `kind` of `layer`, with the shape that `header` defines.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] if it is another tensor.
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

    /// Checks that this is a matrix.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] if it is a vector.
    pub(crate) fn expect_matrix(&self) -> Result<(), FormatError> {
        if self.quantisation == Quantisation::Fixed32 {
            let (expected, found) = (self.kind, self.quantisation.emit()[0].into());
            return Err(FormatError::Tensor { expected, layer: self.layer, field: "quantisation", found });
        }
        Ok(())
    }

    /// Length of a row in bytes.
    pub fn row_len(&self) -> usize {
        self.quantisation.row_len(self.cols)
    }

    /// Length on the tape in bytes, including this header.
    pub fn byte_len(&self) -> u64 {
        TENSOR_HEADER_LEN as u64 + u64::from(self.rows) * self.row_len() as u64
    }
}

/// An entry of the tensor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// The tensor's header: the same bytes as before its rows.
    pub tensor: TensorHeader,
    /// Offset of the tensor's header from the start of the file, in bytes. For the embedding table, the offset of its
    /// section.
    pub offset: u64,
    /// Length in bytes, including the header.
    pub len: u64,
    /// The CRC-32 of the tensor's `len` bytes.
    pub crc32: u32,
}

impl TensorEntry {
    /// Checks and reads an entry.
    ///
    /// # Errors
    /// Like [`TensorHeader::parse`].
    pub fn parse(bytes: &[u8; TENSOR_ENTRY_LEN]) -> Result<Self, FormatError> {
        Ok(Self {
            tensor: TensorHeader::parse(&super::bytes::array(bytes, 0))?,
            offset: u64_at(bytes, 16),
            len: u64_at(bytes, 24),
            crc32: u32_at(bytes, 32),
        })
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; TENSOR_ENTRY_LEN] {
        let mut bytes = [0; TENSOR_ENTRY_LEN];
        put(&mut bytes, 0, &self.tensor.emit());
        put(&mut bytes, 16, &self.offset.to_le_bytes());
        put(&mut bytes, 24, &self.len.to_le_bytes());
        put(&mut bytes, 32, &self.crc32.to_le_bytes());
        bytes
    }
}

/// The kind of a token's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// Text, printed as it is.
    Text = 0,
    /// One byte of a character that is spelled in bytes.
    Byte = 1,
    /// A special token such as `<s>`, not part of the text.
    Control = 2,
    /// The unknown token, for text that the vocabulary cannot spell.
    Unknown = 3,
    /// Bytes of text, not necessarily whole characters.
    Part = 4,
}

impl TokenKind {
    /// Checks and reads a token's kind.
    ///
    /// # Errors
    /// [`FormatError::Unknown`] if version 1 has no such kind.
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
    /// The header of the table as a tensor.
    pub tensor: TensorHeader,
    /// Length of a record in bytes.
    pub record_len: u32,
}

impl EmbeddingHeader {
    /// Checks and reads the embedding section's header.
    ///
    /// # Errors
    /// A [`FormatError`] if it does not match `header`, or if a record is too short, or longer than the longest text
    /// requires.
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

    /// The length of a token's text in bytes, from a record's length field `len`.
    ///
    /// # Errors
    /// [`FormatError::OutOfRange`] if the text exceeds the record.
    pub(crate) fn text_len(&self, len: u8) -> Result<usize, FormatError> {
        // `parse` guarantees at least 4 bytes after the row, of which 2 are not the text's.
        let room = u64::from(self.record_len) - self.tensor.row_len() as u64 - 2;
        in_range("length of a token's text", len.into(), 0, room).map(|len| len as usize)
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn emit(&self) -> [u8; EMBEDDING_HEADER_LEN] {
        let mut bytes = [0; EMBEDDING_HEADER_LEN];
        put(&mut bytes, 0, &self.tensor.emit());
        put(&mut bytes, TENSOR_HEADER_LEN, &self.record_len.to_le_bytes());
        bytes
    }

    /// Length of the section in bytes.
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
        assert_eq!(tensor(Quantisation::Int8 { group: 64 }).expect_matrix(), Ok(()));
        assert_eq!(tensor(Quantisation::Int4 { group: 16 }).expect_matrix(), Ok(()));
        let (expected, layer) = (TensorKind::Embedding, 0);
        let error = FormatError::Tensor { expected, layer, field: "quantisation", found: 1 };
        assert_eq!(tensor(Quantisation::Fixed32).expect_matrix(), Err(error));
    }
}
