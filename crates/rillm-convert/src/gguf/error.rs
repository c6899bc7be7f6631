//! The errors of a GGUF file.

use super::{MAX_ENTRIES, types_read};

/// Why a GGUF file cannot be read. Names in messages are quoted and truncated to 60 characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file is not GGUF.
    #[error("it starts with {found:02x?}; expected the four characters GGUF")]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The version is not supported.
    #[error("{}; expected GGUF version 2 or 3, little-endian: convert the model again with a present llama.cpp", version(*found))]
    Version {
        /// The version, read as little-endian.
        found: u32,
    },
    /// There are more entries than in any known model.
    #[error("the header counts {found} {what}; expected at most {MAX_ENTRIES}: the file is damaged, download it again")]
    Count {
        /// Keys or tensors.
        what: &'static str,
        /// Their number.
        found: u64,
    },
    /// The file is truncated.
    #[error(
        "{what} calls for {needed} bytes at byte {at}, and {left} are left; the file is cut off or damaged, download it \
         again"
    )]
    Cut {
        /// What was to be read.
        what: String,
        /// Where.
        at: usize,
        /// Its bytes.
        needed: u64,
        /// The file's bytes from there.
        left: usize,
    },
    /// The name of a key or tensor is no text.
    #[error("the name of {what} is not UTF-8; the file is damaged, download it again")]
    Name {
        /// The index of the key or tensor.
        what: String,
    },
    /// A name occurs twice.
    #[error("there are two {what}s called {name}; the file is damaged, download it again")]
    Twice {
        /// Key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A key's value cannot be skipped.
    #[error("the value of {key} has {found}; expected {expected}: the file is damaged, download it again")]
    Value {
        /// The key.
        key: String,
        /// What was found.
        found: String,
        /// The allowed values.
        expected: &'static str,
    },
    /// A key has an unexpected value.
    #[error("{key} is {found}; expected {expected}")]
    Key {
        /// The key.
        key: String,
        /// Its value, or `absent`.
        found: String,
        /// The allowed values.
        expected: String,
    },
    /// A tensor's description is invalid.
    #[error("tensor {name} has {field} {found}; expected {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// The field of the description.
        field: &'static str,
        /// What was found.
        found: String,
        /// The allowed values.
        expected: String,
    },
    /// A tensor's numbers have an unsupported type.
    #[error("tensor {name} holds {found}; expected one of {}: take the model in one of these types", types_read())]
    Type {
        /// The tensor.
        name: String,
        /// The type.
        found: String,
    },
    /// A tensor does not follow the one before it.
    #[error(
        "tensor {name} lies at byte {found} of the data, and the one before it ends at {expected} with its padding; the \
         file is damaged, download it again"
    )]
    Offset {
        /// The tensor.
        name: String,
        /// Its offset.
        found: u64,
        /// The expected offset.
        expected: u64,
    },
    /// A tensor's bytes lie outside the file.
    #[error(
        "tensor {name} lies at bytes {offset} to {}, and the file has {file_len}; it is cut off, download it again",
        end.map_or_else(|| "more than 2^64".to_owned(), |end| end.to_string())
    )]
    Outside {
        /// The tensor.
        name: String,
        /// Its first byte.
        offset: u64,
        /// The byte after its last, if that fits a number.
        end: Option<u64>,
        /// The file's bytes.
        file_len: u64,
    },
}

fn version(found: u32) -> String {
    match found.swap_bytes() {
        swapped @ 1..=3 => format!("a big-endian file of version {swapped}"),
        _ => format!("version {found}"),
    }
}

/// A text of the file, quoted and truncated to 60 characters for a message.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
