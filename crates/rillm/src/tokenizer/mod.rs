//! Tokenization: text to tokens and back. The tables stay in the file, for example on a card.
//!
//! [`Tokenizer::open`] reads one sector. [`Encoder::fill`] converts text to tokens word by word. It looks up characters
//! and merges in hash tables whose buckets are sectors, so that its memory ([`Scratch`]) does not depend on the length
//! of the text or the size of the vocabulary. [`Decoder`] converts tokens to printable text, one at a time. The tokens
//! are identical to those of the Hugging Face `tokenizers` library.
//!
//! The modules, in the order in which a text passes through them: `text` (the text as the vocabulary spells it),
//! `encode` (the text between added tokens), `added` (added tokens such as `<s>`), `sentencepiece` (words of
//! characters) or `byte_level` (words of bytes, as in GPT-2) with `pre_tokenizer`, `normalizer` and `unicode`, `bpe`
//! (the merges of both), `table` (their lookups), `wordpiece` (words in pieces, as in BERT), `layout` (the bytes in the
//! file), `decode`.

mod added;
mod bpe;
mod byte_level;
mod decode;
mod encode;
pub mod layout;
mod normalizer;
mod pre_tokenizer;
mod sentencepiece;
mod table;
mod text;
mod unicode;
#[cfg(feature = "wordpiece")]
mod wordpiece;

pub use bpe::WORD_LEN;
pub use decode::{Decoder, Printed};
pub use encode::{Encoder, Scratch};

use crate::error::Error;
use crate::format::{FormatError, Section, in_range};
use crate::source::SectorReader;
use crate::source::WeightSource;
use layout::TokenizerHeader;

/// A file's tokenizer: the checked header of its section, and the section's offset.
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer {
    header: TokenizerHeader,
    /// The offset of the section in the file, in bytes.
    offset: u64,
}

impl Tokenizer {
    /// Reads and checks the header of the tokenizer `section`. `vocab_size` is the vocabulary size in the file's
    /// header.
    ///
    /// # Errors
    /// The source's error, or a [`FormatError`] that names the field.
    pub async fn open<S: WeightSource>(
        reader: &mut SectorReader<'_, S>,
        section: Section,
        vocab_size: u32,
    ) -> Result<Self, Error<S::Error>> {
        // Refuse a section shorter than its header before reading it.
        in_range("length of the tokenizer section", section.len, layout::TABLES_AT, 1 << 40)?;
        let mut header = [0; layout::HEADER_LEN];
        reader.read(section.offset, &mut header).await.map_err(Error::Source)?;
        let header = TokenizerHeader::parse(&header)?;
        #[cfg(not(feature = "wordpiece"))]
        if let layout::Kind::WordPiece(_) = header.kind {
            return Err(FormatError::Feature { name: "wordpiece" }.into());
        }
        if header.vocab_size != vocab_size {
            return Err(FormatError::Inconsistent {
                field: "vocabulary of the tokenizer section",
                value: header.vocab_size.into(),
                expected: vocab_size.into(),
            }
            .into());
        }
        if header.byte_len() != section.len {
            return Err(FormatError::Inconsistent {
                field: "length of the tokenizer section",
                value: section.len,
                expected: header.byte_len(),
            }
            .into());
        }
        Ok(Self { header, offset: section.offset })
    }

    /// Creates an encoder of `text`. With `add_special_tokens`, the start-of-text token comes first if the tokenizer
    /// adds one; pass `false` for a text that continues another.
    pub fn encoder<'a>(&'a self, text: &'a str, add_special_tokens: bool, scratch: &'a mut Scratch) -> Encoder<'a> {
        Encoder::new(self, text, add_special_tokens, scratch)
    }

    /// Creates an encoder of a message in a conversation, between other tokens. Marks in `text` are text. `space` says
    /// whether a space stands before the text, independent of the tokenizer's own setting.
    pub fn content_encoder<'a>(&'a self, text: &'a str, space: bool, scratch: &'a mut Scratch) -> Encoder<'a> {
        Encoder::new(self, text, false, scratch).content(space)
    }

    /// Creates an encoder of the rest of a text that was divided at [`last_word`](Self::last_word). `after_mark` says
    /// whether the part before it [ended with a mark](Encoder::ends_with_mark).
    pub(crate) fn rest_encoder<'a>(&'a self, text: &'a str, after_mark: bool, scratch: &'a mut Scratch) -> Encoder<'a> {
        Encoder::new(self, text, false, scratch).rest(after_mark)
    }

    /// Where the last word of `text` starts, in bytes: at its last space after a character that is not white space. The
    /// text before and the rest, with whatever follows it, have the tokens of the undivided text, because no word
    /// extends over such a place, unless it is an added token with a space inside. 0 if there is no such place.
    pub(crate) fn last_word(&self, text: &str) -> usize {
        if let layout::Kind::SentencePiece(header) = &self.header.kind
            && header.word_start == layout::WordStart::Nowhere
        {
            return 0;
        }
        let is_blank = |c: char| c.is_whitespace() || c == layout::SPACE_MARK;
        let starts_word = |&at: &usize| text[..at].chars().next_back().is_some_and(|before| !is_blank(before));
        text.rmatch_indices(' ').map(|(at, _)| at).find(starts_word).unwrap_or(0)
    }

    /// A decoder for the start of a text.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.header.strip_space)
    }

    /// The start-of-text token, if the tokenizer adds one.
    pub fn bos(&self) -> Option<u32> {
        self.header.bos
    }
}
