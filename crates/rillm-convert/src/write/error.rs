//! The errors of writing a `.rillm` file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rillm::format::{FormatError, TensorKind};
use rillm_quantise::model::ModelError;
use rillm_quantise::rows::NotFinite;

use super::MAX_TOKEN_TEXT;

/// Why a conversion failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The file could not be written.
    Io {
        /// The file that was to be.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The output is a directory.
    IsDirectory {
        /// The output.
        path: PathBuf,
    },
    /// The output exists and is not a file.
    NoFile {
        /// The output.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The output's directory does not exist.
    NoDirectory {
        /// The file that was to be.
        path: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// The caller's `progress` stopped the conversion.
    Interrupted,
    /// The format has no room for this model.
    Format(FormatError),
    /// The format does not support this group size.
    Group {
        /// The requested group size.
        found: u32,
    },
    /// The tokenizer is missing.
    EmptyTokenizer,
    /// The number of the tokenizer's tokens differs from the embedding table's rows.
    TokenCount {
        /// The number of tokens.
        tokens: usize,
        /// The number of rows.
        vocab_size: u32,
    },
    /// A token's text does not fit its record.
    TokenText {
        /// The token.
        token: usize,
        /// The length of its text in bytes.
        len: usize,
    },
    /// The tokenizer could not encode the text that was given to calibrate with.
    Calibration {
        /// What the tokenizer said.
        problem: String,
    },
    /// The text that was given to calibrate with is too short.
    ShortCalibration {
        /// Its tokens.
        tokens: usize,
        /// The fewest that are of use.
        least: usize,
    },
    /// A weight is infinite or not a number.
    NotFinite {
        /// The tensor.
        kind: TensorKind,
        /// Its layer; 0 for a tensor outside the layers.
        layer: u32,
        /// The weight's row.
        row: usize,
        /// The weight's column.
        column: usize,
        /// The weight.
        value: f32,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "writing {}: {source}", path.display()),
            Self::IsDirectory { path } => write!(
                f,
                "{} is a directory; name the file to make, as in {}",
                path.display(),
                path.join("model.rillm").display()
            ),
            Self::NoFile { path, what } => {
                write!(f, "{} is {what}, whose place no file can take; name the file to make", path.display())
            }
            Self::NoDirectory { path, directory } => write!(
                f,
                "cannot make {}: there is no directory {}; make it first",
                path.display(),
                directory.display()
            ),
            Self::Interrupted => write!(f, "interrupted; nothing was written"),
            Self::Format(error) => write!(f, "this model does not fit the file format: {error}"),
            Self::Group { found } => write!(f, "the group size is {found}; it must be a power of two, 16 to 512"),
            Self::EmptyTokenizer => write!(f, "the tokenizer section is empty; a .rillm file carries its tokenizer"),
            Self::TokenCount { tokens, vocab_size } => write!(
                f,
                "the tokenizer has {tokens} tokens and the embedding table {vocab_size} rows; do they belong together?"
            ),
            Self::TokenText { token, len } => {
                write!(f, "the text of token {token} has {len} bytes; at most {MAX_TOKEN_TEXT} fit")
            }
            Self::Calibration { problem } => write!(f, "the text to calibrate with cannot be encoded: {problem}"),
            Self::ShortCalibration { tokens, least } => write!(
                f,
                "the text to calibrate with has {tokens} tokens; at least {least} are needed, or none: without --calibrate the \
                 model writes its own"
            ),
            Self::NotFinite { kind, layer, row, column, value } => write!(
                f,
                "{kind}{} has {value} at row {row}, column {column}; the checkpoint is damaged, download or train it again",
                match kind {
                    TensorKind::Embedding | TensorKind::FinalNorm | TensorKind::Head => String::new(),
                    _ => format!(" of layer {layer}"),
                }
            ),
        }
    }
}

impl From<ModelError> for WriteError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Interrupted => Self::Interrupted,
            ModelError::NotFinite { kind, layer, row, found: NotFinite { column, value } } => {
                Self::NotFinite { kind, layer, row, column, value }
            }
        }
    }
}

/// The message includes the cause, so there is no [`source`](std::error::Error::source).
impl std::error::Error for WriteError {}
