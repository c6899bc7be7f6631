//! The `.rillm` file, version 1. `docs/format.md` specifies it byte by byte; this is its code.
//!
//! Every structure has one shape: a plain `struct` with `parse`, which checks every field of bytes that nobody has
//! vouched for, and `emit`, its inverse, which the converter uses.

mod bytes;
mod chat;
mod header;
mod tensor;

pub use bytes::crc32;
pub(crate) use bytes::{Checksum, checksum, put, u32_at};
pub use chat::{CHAT_HEADER_LEN, ChatHeader, ChatPart};
pub use header::{
    AttentionExtras, Header, KeyBits, MAX_EOS, MAX_SECTIONS, Rope, RopeScaling, SOURCE_NAME_LEN, Section, SectionKind,
};
pub use tensor::{
    EMBEDDING_HEADER_LEN, EmbeddingHeader, Quantisation, TENSOR_ENTRY_LEN, TENSOR_HEADER_LEN, TensorEntry,
    TensorHeader, TensorKind, TokenKind,
};

use core::fmt;

/// What is wrong with a `.rillm` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FormatError {
    /// The file does not start with the magic bytes.
    NotRillm {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// A version that this engine does not read.
    Version {
        /// The file's version.
        found: u16,
    },
    /// A checksum does not match: the bytes were changed or did not arrive whole.
    Checksum {
        /// What the checksum covers.
        what: &'static str,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes as read.
        computed: u32,
    },
    /// A field holds a number that version 1 gives no meaning.
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A field holds a number outside the range that the format admits.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest admitted value.
        min: u64,
        /// The largest admitted value.
        max: u64,
    },
    /// Two fields contradict each other.
    Inconsistent {
        /// The field that should have been different.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it should have been.
        expected: u64,
    },
    /// A section that every file has is not there.
    Missing(SectionKind),
    /// A tensor is not the one that belongs at this place.
    Tensor {
        /// The tensor that belongs here.
        expected: TensorKind,
        /// Its layer.
        layer: u32,
        /// What of it is wrong.
        field: &'static str,
        /// The value found.
        found: u64,
    },
    /// The tensors do not add up to the tape.
    Truncated,
    /// The model needs a part of the engine that this program was built without.
    Feature {
        /// The cargo feature of `rillm`.
        name: &'static str,
    },
    /// Text that is not UTF-8.
    Text {
        /// The field.
        field: &'static str,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotRillm { found } => write!(
                f,
                "not a .rillm file: it starts with \"{}\" instead of \"RILLM\"; make one with `rillm convert`",
                found.escape_ascii()
            ),
            Self::Version { found } => write!(
                f,
                "this file has format version {found}, this program reads version {}; convert the model again or update rillm",
                header::VERSION
            ),
            Self::Checksum { what, stored, computed } => write!(
                f,
                "the checksum of the {what} is {computed:08x} and should be {stored:08x}: it was not read right, or the file is damaged; try \
                 again, then copy it again"
            ),
            Self::Unknown { field, value } => {
                write!(f, "{field} is {value}, which format version 1 does not know; update rillm")
            }
            Self::OutOfRange { field, value, min, max } => {
                write!(f, "{field} is {value}, it must be {min} to {max}")
            }
            Self::Inconsistent { field, value, expected } => {
                write!(f, "{field} is {value} and the rest of the file wants {expected}")
            }
            Self::Missing(kind) => write!(f, "the file has no {kind} section"),
            Self::Tensor { expected, layer, field, found } => write!(
                f,
                "at {expected} of layer {layer}: its {field} is {found}, which does not belong there; the file is damaged, copy it again"
            ),
            Self::Feature { name } => write!(
                f,
                "this program was built without the feature `{name}` of rillm, which this model needs; build it with the feature"
            ),
            Self::Truncated => {
                f.write_str("the tape ends before its last tensor does: the file is damaged, copy it again")
            }
            Self::Text { field } => write!(f, "{field} is not UTF-8"),
        }
    }
}

impl core::error::Error for FormatError {}

/// `value` if it lies in `min..=max`.
pub(crate) fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<u64, FormatError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(FormatError::OutOfRange { field, value, min, max }) }
}
