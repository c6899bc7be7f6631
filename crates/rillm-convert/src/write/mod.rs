//! Writes a `.rillm` file, as `docs/format.md` has it.

mod error;
mod file;
mod layout;
mod new_file;
mod rows;

pub use error::WriteError;
pub use new_file::{NewFile, what_else};

use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{KeyBits, TensorHeader, TensorKind};

use crate::chat::Unfollowable;
use crate::checkpoint::Checkpoint;
use crate::vocabulary::Token;
use file::Output;
use layout::Layout;

/// The longest text that a token's record holds, in bytes.
pub const MAX_TOKEN_TEXT: usize = 255;

/// The tokenizer as the file has it: [`Vocabulary::sections`](crate::vocabulary::Vocabulary::sections) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerSections {
    /// The `tokenizer` section, at least one byte.
    pub tokenizer: Vec<u8>,
    /// The tokens, by number, one for each row of the embedding table; where a checkpoint pads its table, they are
    /// empty. The first token of kind [`TokenKind::Unknown`] is the header's unknown token.
    ///
    /// [`TokenKind::Unknown`]: rillm::format::TokenKind::Unknown
    pub tokens: Vec<Token>,
    /// The chat template, Jinja in UTF-8; empty where the checkpoint has none.
    pub chat_template: String,
    /// The `chat` section, or why the file gets none.
    pub chat: Result<Vec<u8>, Unfollowable>,
}

impl TokenizerSections {
    /// The bytes of the `chat` section; none where the file gets none.
    pub(crate) fn chat_bytes(&self) -> &[u8] {
        self.chat.as_deref().unwrap_or_default()
    }
}

impl Default for TokenizerSections {
    /// Nothing, which no file is made of.
    fn default() -> Self {
        Self {
            tokenizer: Vec::new(),
            tokens: Vec::new(),
            chat_template: String::new(),
            chat: Err(Unfollowable::NoTemplate),
        }
    }
}

/// What is the caller's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Weights of a row that share a scale: a power of two, 16 to 512. Smaller groups are more exact and take more
    /// room, `1 / group` bytes a weight.
    pub group: u32,
    /// How the KV cache holds keys; by the width of a head if absent: 16 bits below [`WIDE_HEAD`].
    pub key_bits: Option<KeyBits>,
}

/// From this width of a head on, keys have 8 bits. The fewer elements a key has, the less their errors average out, and
/// the less room the wider ones take. Measured in `docs/numerics.md`.
pub const WIDE_HEAD: u32 = 32;

impl Default for Options {
    /// Groups of 32: a KL divergence below 0.0005 nats on the models measured, for 3 % more bytes than a scale a row.
    fn default() -> Self {
        Self { group: 32, key_bits: None }
    }
}

impl Options {
    /// Sets [`group`](Self::group).
    #[must_use]
    pub fn group(self, weights: u32) -> Self {
        Self { group: weights, ..self }
    }

    /// Sets [`key_bits`](Self::key_bits).
    #[must_use]
    pub fn key_bits(self, bits: impl Into<Option<KeyBits>>) -> Self {
        Self { key_bits: bits.into(), ..self }
    }
}

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The tensor being written.
    pub kind: TensorKind,
    /// Its layer, 0 for what belongs to none.
    pub layer: u32,
    /// Rows of it written.
    pub rows_done: u32,
    /// All of its rows.
    pub rows: u32,
    /// Bytes of all tensors written.
    pub bytes_done: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// What became of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorReport {
    /// The tensor, its shape and its quantisation.
    pub tensor: TensorHeader,
    /// Its bytes in the file, headers, and the texts of the embedding table's tokens, included.
    pub bytes: u64,
    /// Signal-to-noise ratio of its weights, in decibels; infinite where nothing was lost.
    pub snr_db: f64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The embedding table, then every tensor of the tape in its order.
    pub tensors: Vec<TensorReport>,
    /// Bytes of the file.
    pub file_len: u64,
}

/// Writes `checkpoint` to `out` as a `.rillm` file, with all cores and a few megabytes of rows in memory. The same input
/// gives the same bytes. `progress` is called after every block of rows, and ends the conversion where it breaks.
///
/// The file is written under another name in the same directory and renamed at the end: `out` is whole or untouched.
///
/// # Errors
/// [`WriteError`], [`Interrupted`](WriteError::Interrupted) among them; the file in progress is removed. Where `out`
/// cannot be written is found out before the work.
pub fn convert(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    options: Options,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
    out: &Path,
) -> Result<Report, WriteError> {
    // That it cannot be written is found out before the checkpoint is read to its end, which nothing interrupts: no file in
    // progress lies there meanwhile.
    drop(NewFile::new(out)?);
    let layout = Layout::new(checkpoint, tokenizer, options)?;
    let mut file = NewFile::new(out)?;
    let report = file::write(checkpoint, tokenizer, layout, &mut Output::new(file.file(), out), progress)?;
    file.keep()?;
    Ok(report)
}
