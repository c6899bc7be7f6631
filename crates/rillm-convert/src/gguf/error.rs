//! What can be wrong with a GGUF file.

use super::{MAX_ENTRIES, types_read};

/// Why a GGUF file cannot be read. Names in messages are quoted and cut at 60 characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file is another.
    #[error("it starts with {found:02x?}; expected the four characters GGUF")]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The version is not read here.
    #[error("{}; expected GGUF version 2 or 3, little-endian: convert the model again with a present llama.cpp", version(*found))]
    Version {
        /// The version, read as little-endian.
        found: u32,
    },
    /// There are more entries than any model has.
    #[error("the header counts {found} {what}; expected at most {MAX_ENTRIES}: the file is damaged, download it again")]
    Count {
        /// Keys or tensors.
        what: &'static str,
        /// How many.
        found: u64,
    },
    /// The file ends too early.
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
        /// The key or tensor, by its number.
        what: String,
    },
    /// A name is there twice.
    #[error("there are two {what}s called {name}; the file is damaged, download it again")]
    Twice {
        /// Key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A key's value can't be read past.
    #[error("the value of {key} has {found}; expected {expected}: the file is damaged, download it again")]
    Value {
        /// The key.
        key: String,
        /// What was found.
        found: String,
        /// What is admitted.
        expected: &'static str,
    },
    /// A key's value is not what it should be.
    #[error("{key} is {found}; expected {expected}")]
    Key {
        /// The key.
        key: String,
        /// Its value, or `absent`.
        found: String,
        /// What is admitted.
        expected: String,
    },
    /// A tensor's description makes no sense.
    #[error("tensor {name} has {field} {found}; expected {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What of the description.
        field: &'static str,
        /// What was found.
        found: String,
        /// What is admitted.
        expected: String,
    },
    /// A tensor's numbers have a type that is not read here.
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
        /// Where it lies.
        found: u64,
        /// Where it should.
        expected: u64,
    },
    /// A tensor's bytes are not in the file.
    #[error(
        "tensor {name} lies at bytes {offset} to {}, and the file has {file_len}; it is cut off, download it again",
        end.map_or_else(|| "more than 2^64".to_owned(), |end| end.to_string())
    )]
    Outside {
        /// The tensor.
        name: String,
        /// Its first byte.
        offset: u64,
        /// Its last byte and one, if that is a number.
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

/// A text of the file for a message: quoted, and its first 60 characters.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
