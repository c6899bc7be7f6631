//! Text to tokens and back, with the tables left where they are: on the card.
//!
//! [`Tokenizer::open`] reads one sector. [`Encoder::fill`] turns text into token numbers word by word, looking up
//! characters and merges in hash tables whose buckets are sectors, so that the memory it takes ([`Scratch`]) does not
//! depend on the text's length or the vocabulary's size. [`Decoder`] turns tokens back into text that can be printed at
//! once. The numbers are those of the Hugging Face `tokenizers` library, bit for bit.
//!
//! The code, in the order in which a text passes through it: `text` (the text as the vocabulary spells it), `encode` (what
//! lies between added tokens), `added` (those, such as `<s>`), `sentencepiece` (words of characters) or `byte_level` (words of
//! bytes, as in GPT-2) with `pre_tokenizer`, `normalizer` and `unicode`, `bpe` (the merges of both), `table` (their lookups),
//! `wordpiece` (words in pieces, as in BERT), `layout` (the file's bytes, as `docs/format.md` has them), `decode`.

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

/// A file's tokenizer: its section's header, checked, and where the tables lie.
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer {
    header: TokenizerHeader,
    /// The section's first byte in the file.
    offset: u64,
}

impl Tokenizer {
    /// Reads and checks the header of a file's tokenizer `section`. `vocab_size` is the file's.
    ///
    /// # Errors
    /// The source's, or a [`FormatError`] that names the field.
    pub async fn open<S: WeightSource>(
        reader: &mut SectorReader<'_, S>,
        section: Section,
        vocab_size: u32,
    ) -> Result<Self, Error<S::Error>> {
        // So that a section shorter than its header is refused before it is read.
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

    /// Encodes `text`. With `add_special_tokens` the start-of-text token comes first where the model wants one; a text
    /// that continues another is encoded without.
    pub fn encoder<'a>(&'a self, text: &'a str, add_special_tokens: bool, scratch: &'a mut Scratch) -> Encoder<'a> {
        Encoder::new(self, text, add_special_tokens, scratch)
    }

    /// Encodes what is said in a conversation, between other tokens: no mark in it becomes its token, and a space stands
    /// before it or not, as `space` says, whatever the tokenizer does with a text of its own.
    pub fn content_encoder<'a>(&'a self, text: &'a str, space: bool, scratch: &'a mut Scratch) -> Encoder<'a> {
        Encoder::new(self, text, false, scratch).content(space)
    }

    /// A decoder at the start of a text.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.header.strip_space)
    }

    /// The token that starts a text, where the tokenizer puts one there.
    pub fn bos(&self) -> Option<u32> {
        self.header.bos
    }
}
