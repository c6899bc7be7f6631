//! Writes a `.rillm` file in [the file format].
//!
//! [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md

mod error;
mod file;
mod keys;
mod layout;
mod new_file;
mod rescoring;
mod rows;

pub use error::WriteError;
pub use new_file::{NewFile, what_else};

use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{KeyBits, Rescoring, TensorHeader, TensorKind};
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::QuantisedModel;

use crate::chat::UnsupportedTemplate;
use crate::checkpoint::Checkpoint;
use crate::vocabulary::Token;
use file::Output;
use layout::Layout;

/// The longest text that a token's record holds, in bytes.
pub const MAX_TOKEN_TEXT: usize = 255;

/// The tokenizer's sections of the file, made by [`Vocabulary::sections`](crate::vocabulary::Vocabulary::sections).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerSections {
    /// The `tokenizer` section, at least one byte.
    pub tokenizer: Vec<u8>,
    /// The tokens by id, one for each row of the embedding table; rows that pad the table have empty ones. The first
    /// token of kind [`TokenKind::Unknown`] is the header's unknown token.
    ///
    /// [`TokenKind::Unknown`]: rillm::format::TokenKind::Unknown
    pub tokens: Vec<Token>,
    /// The chat template, Jinja in UTF-8; empty if the checkpoint has none.
    pub chat_template: String,
    /// The `chat` section, or the reason why the file gets none.
    pub chat: Result<Vec<u8>, UnsupportedTemplate>,
}

impl TokenizerSections {
    /// The bytes of the `chat` section; empty if the file gets none.
    pub(crate) fn chat_bytes(&self) -> &[u8] {
        self.chat.as_deref().unwrap_or_default()
    }
}

impl Default for TokenizerSections {
    /// Empty sections, a placeholder: no file can be written from them.
    fn default() -> Self {
        Self {
            tokenizer: Vec::new(),
            tokens: Vec::new(),
            chat_template: String::new(),
            chat: Err(UnsupportedTemplate::NoTemplate),
        }
    }
}

/// The options of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The widths of the matrices.
    pub mix: Mix,
    /// The number of weights in a row that share a scale: a power of two, 16 to 512. Smaller groups are more exact and
    /// take more memory, `1 / group` bytes a weight.
    pub group: u32,
    /// The type of keys in the KV cache. `None` chooses 16 bits below a head width of [`WIDE_HEAD`], and where weights and
    /// biases are so large that 8 bits would change the scores too much.
    pub key_bits: Option<KeyBits>,
    /// The most logits that an int4 head computes again from int8 rows; 0 for none. `None` chooses [`RESCORED_ROWS`] where
    /// the embedding table is int8.
    pub rescored_rows: Option<u8>,
}

/// The number of logits that are computed again by default. More change the distribution that is sampled from by less
/// than int8 does: [the accuracy page].
///
/// [the accuracy page]: https://github.com/rillm/rillm/blob/main/docs/accuracy.md
pub const RESCORED_ROWS: u8 = 32;

/// From this head width on, keys have 8 bits by default. With fewer elements in a key their errors average out less,
/// and 16-bit keys cost less memory. Measured in [the numerics page].
///
/// [the numerics page]: https://github.com/rillm/rillm/blob/main/docs/numerics.md
pub const WIDE_HEAD: u32 = 32;

impl Default for Options {
    /// int8 in groups of 32: KL divergence below 0.0005 nats on the models measured, for 3 % more bytes than one scale a row.
    fn default() -> Self {
        Self { mix: Mix::all(Bits::Eight), group: 32, key_bits: None, rescored_rows: None }
    }
}

impl Options {
    /// Sets [`mix`](Self::mix).
    #[must_use]
    pub fn mix(self, mix: Mix) -> Self {
        Self { mix, ..self }
    }

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

    /// Sets [`rescored_rows`](Self::rescored_rows).
    #[must_use]
    pub fn rescored_rows(self, rows: impl Into<Option<u8>>) -> Self {
        Self { rescored_rows: rows.into(), ..self }
    }
}

/// The progress of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The tensor being written.
    pub kind: TensorKind,
    /// Its layer; 0 for a tensor outside the layers.
    pub layer: u32,
    /// Rows of this tensor that are written.
    pub rows_done: u32,
    /// All rows of this tensor.
    pub rows: u32,
    /// Bytes that are written, of all tensors.
    pub bytes_done: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// How one tensor was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorReport {
    /// The tensor, its shape and its quantisation.
    pub tensor: TensorHeader,
    /// Its bytes in the file, including headers and the token texts in the embedding table.
    pub bytes: u64,
    /// The signal-to-noise ratio of its quantised weights in decibels; infinite if they are exact.
    pub snr_db: f64,
}

/// The summary of a conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionReport {
    /// The embedding table, then every tensor of the tape in its order.
    pub tensors: Vec<TensorReport>,
    /// The second computation of the best logits, if there is one.
    pub rescoring: Option<Rescoring>,
    /// Bytes of the rows for it, where the embedding table is not used for it.
    pub rescoring_bytes: u64,
    /// The file's length in bytes.
    pub file_len: u64,
}

impl ConversionReport {
    /// [`bits_per_weight`] of the file.
    pub fn bits_per_weight(&self) -> f64 {
        bits_per_weight(self.tensors.iter().map(|report| &report.tensor), self.rescoring_bytes)
    }

    /// [`bytes_per_token`] of the file.
    pub fn bytes_per_token(&self) -> u64 {
        bytes_per_token(self.tensors.iter().map(|report| &report.tensor))
    }
}

/// The bits of all tensors of a file for each of their values: with scales, headers, norms and the rows for rescoring, without
/// token texts.
pub fn bits_per_weight<'a>(tensors: impl IntoIterator<Item = &'a TensorHeader>, rescoring_bytes: u64) -> f64 {
    let (bytes, values) = tensors.into_iter().fold((0, 0), |(bytes, values), tensor| {
        (bytes + tensor.byte_len(), values + u64::from(tensor.rows) * u64::from(tensor.cols))
    });
    8.0 * (bytes + rescoring_bytes) as f64 / values as f64
}

/// The bytes that a token reads if nothing is resident: an embedding row and the tape, without rows for rescoring.
pub fn bytes_per_token<'a>(tensors: impl IntoIterator<Item = &'a TensorHeader>) -> u64 {
    let read = tensors.into_iter().map(|tensor| match tensor.kind {
        TensorKind::Embedding => tensor.row_len() as u64,
        _ => tensor.byte_len(),
    });
    read.sum()
}

/// Converts `checkpoint` to the `.rillm` file `out`, with all cores and a few megabytes of memory for rows. Weights take the
/// nearest values, which is good enough for int8. The same input gives the same bytes. `progress` is called after every block of rows and may stop the conversion.
///
/// The file is written under a temporary name in the same directory and renamed at the end, so `out` is complete or
/// untouched.
///
/// # Errors
/// [`WriteError`], including [`Interrupted`](WriteError::Interrupted); the temporary file is removed. An `out` that
/// cannot be written fails before the work starts.
pub fn convert(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    options: Options,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
    out: &Path,
) -> Result<ConversionReport, WriteError> {
    convert_quantised(checkpoint, tokenizer, &QuantisedModel::new(), options, progress, out)
}

/// Like [`convert`], with the tensors of `quantised`: a result of [`Calibrator::quantise`](crate::calibrate::Calibrator::quantise) with the same options.
/// Tensors that are not among them take the nearest values.
///
/// # Errors
/// As for [`convert`].
///
/// # Panics
/// If a tensor of `quantised` does not have the shape of the checkpoint's, or not the width of the options.
pub fn convert_quantised(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    quantised: &QuantisedModel,
    options: Options,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
    out: &Path,
) -> Result<ConversionReport, WriteError> {
    draft(checkpoint, tokenizer, quantised, options, progress, out)?.keep()
}

/// A complete file that is not in its place yet.
#[derive(Debug)]
pub struct Draft {
    file: NewFile,
    report: ConversionReport,
}

impl Draft {
    /// Where it is until it is kept: beside its place, under a temporary name.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The summary of the conversion.
    pub fn report(&self) -> &ConversionReport {
        &self.report
    }

    /// Puts the file in its place. Without this, it is removed on drop.
    ///
    /// # Errors
    /// [`WriteError::Io`]; what was in its place is untouched then.
    pub fn keep(self) -> Result<ConversionReport, WriteError> {
        self.file.keep()?;
        Ok(self.report)
    }
}

/// Like [`convert_quantised`], but the file does not take its place yet.
///
/// # Errors
/// As for [`convert`].
///
/// # Panics
/// As for [`convert_quantised`].
pub fn draft(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    quantised: &QuantisedModel,
    options: Options,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
    out: &Path,
) -> Result<Draft, WriteError> {
    // Checks early that the output can be written: reading the checkpoint to its end cannot be interrupted. No
    // temporary file exists meanwhile.
    drop(NewFile::new(out)?);
    let mut layout = Layout::new(checkpoint.header(), tokenizer, options)?;
    let head_dim = layout.header.head_dim;
    layout.header.key_bits = options.key_bits.unwrap_or_else(|| match head_dim < WIDE_HEAD {
        true => KeyBits::Sixteen,
        false => keys::choose(checkpoint),
    });
    if let Some(rescoring) = &mut layout.header.rescoring {
        rescoring.margin = rescoring::margin(checkpoint, quantised);
    }
    let mut file = NewFile::new(out)?;
    let report = file::write(checkpoint, tokenizer, quantised, layout, &mut Output::new(file.file(), out), progress)?;
    Ok(Draft { file, report })
}

/// The length in bytes of the file that a conversion with these options makes.
///
/// # Errors
/// [`WriteError`]: what is wrong with the tokenizer or the options, or what the format has no room for.
pub fn file_len(checkpoint: &Checkpoint, tokenizer: &TokenizerSections, options: Options) -> Result<u64, WriteError> {
    Ok(Layout::new(checkpoint.config().header(), tokenizer, options)?.file_len)
}
