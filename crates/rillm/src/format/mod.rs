//! The `.rillm` file format, version 1. The format specification describes it byte by byte.
//!
//! Every structure is a plain `struct` with two functions: `parse` checks every field of untrusted bytes, and `emit`,
//! its inverse, is used by the converter.

mod bytes;
mod chat;
mod header;
mod rope;
mod section;
mod tensor;

pub use bytes::{Crc32, crc32};
pub(crate) use bytes::{put, u32_at};
pub use chat::{CHAT_HEADER_LEN, ChatHeader, ChatPart};
pub use header::{AttentionExtras, Header, KeyBits, MAX_EOS, MAX_SECTIONS, Rescoring, SOURCE_NAME_LEN};
pub use rope::{Rope, RopeScaling};
pub use section::{Section, SectionKind};
pub use tensor::{
    EMBEDDING_HEADER_LEN, EmbeddingHeader, INT4_LEVELS, Quantisation, TENSOR_ENTRY_LEN, TENSOR_HEADER_LEN, TensorEntry,
    TensorHeader, TensorKind, TokenKind,
};

use core::fmt;

/// Why a `.rillm` file is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FormatError {
    /// The file does not start with the magic bytes.
    NotRillm {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// This engine does not read the file's version.
    Version {
        /// The file's version.
        found: u16,
    },
    /// A checksum does not match: the bytes were changed or are incomplete.
    Checksum {
        /// The part of the file that the checksum covers.
        what: &'static str,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes as read.
        computed: u32,
    },
    /// A field has a value without a meaning in version 1.
    Unknown {
        /// The field.
        field: &'static str,
        /// The field's value.
        value: u32,
    },
    /// A field has a value outside the range of the format.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The field's value.
        value: u64,
        /// The smallest valid value.
        min: u64,
        /// The largest valid value.
        max: u64,
    },
    /// A field is not a multiple of another one.
    NotMultiple {
        /// The field.
        field: &'static str,
        /// The field's value.
        value: u64,
        /// What it must be a multiple of.
        of: u64,
    },
    /// Two fields contradict each other.
    Inconsistent {
        /// The field with the wrong value.
        field: &'static str,
        /// The field's value.
        value: u64,
        /// The expected value.
        expected: u64,
    },
    /// A mandatory section is missing.
    Missing(SectionKind),
    /// A tensor is not the expected one.
    Tensor {
        /// The expected tensor.
        expected: TensorKind,
        /// The layer of the expected tensor.
        layer: u32,
        /// The wrong field of the tensor.
        field: &'static str,
        /// The value of the field.
        found: u64,
    },
    /// The tape ends before its tensors.
    Truncated,
    /// The model needs a cargo feature that this build does not have.
    Feature {
        /// The feature of the crate `rillm`.
        name: &'static str,
    },
    /// A text is not UTF-8.
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
            Self::NotMultiple { field, value, of } => write!(f, "{field} is {value}, it must be a multiple of {of}"),
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

/// Returns `value` if it is in `min..=max`.
pub(crate) fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<u64, FormatError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(FormatError::OutOfRange { field, value, min, max }) }
}
