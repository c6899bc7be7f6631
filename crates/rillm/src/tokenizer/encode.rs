//! Text to tokens: the text between added tokens, and what makes words of it.

use super::Tokenizer;
use super::bpe::{WORD_LEN, Window};
use super::byte_level::ByteWords;
use super::layout::{AddedPass, Kind, PrefixSpace, SPACE_MARK};
use super::text::Text;
#[cfg(feature = "wordpiece")]
use super::wordpiece::Known;
use crate::error::Error;
#[cfg(not(feature = "wordpiece"))]
use crate::format::FormatError;
use crate::source::{SECTOR_LEN, SectorReader, WeightSource};

/// 64-bit places that one sector takes.
const SECTOR_WORDS: usize = SECTOR_LEN / 8;
/// 64-bit places that the tokens of all bytes take.
const BYTE_WORDS: usize = 256 / 2;

/// The memory for encoding. What it holds before and after does not matter. With the [`Tokenizer`], the [`Encoder`] and
/// the future of [`Encoder::fill`] it stays under 8 KiB.
pub type Scratch = [u64; SECTOR_WORDS + BYTE_WORDS + WORD_LEN];

/// A text on its way to tokens: [`Tokenizer::encoder`] makes one.
///
/// The text is cut at added tokens, and what lies between into words: at places that no merge crosses, or where the
/// tokenizer's own splits are. A word of up to [`WORD_LEN`] characters, or bytes where bytes are merged, is merged as a
/// whole, which gives exactly the tokens of the whole text merged at once. Of a longer one, so much is merged at a time,
/// those tokens are given that start in the first three quarters and the rest is merged again with what follows. That
/// differs from the whole only where a change at one character moves the tokens of the 80 before it, which no natural
/// text does; nothing of the text is ever lost.
pub struct Encoder<'a> {
    sector: &'a mut [u8; SECTOR_LEN],
    words: Words<'a>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        text: &'a str,
        add_special_tokens: bool,
        scratch: &'a mut Scratch,
    ) -> Self {
        let (sector, rest) = scratch.split_at_mut(SECTOR_WORDS);
        let sector: &mut [u64; SECTOR_WORDS] = sector.try_into().expect("split there");
        let (byte_tokens, symbols) = rest.split_at_mut(BYTE_WORDS);
        let byte_tokens: &mut [u64; BYTE_WORDS] = byte_tokens.try_into().expect("split there");
        Self {
            sector: bytemuck::cast_mut(sector),
            words: Words {
                tokenizer,
                window: Window { symbols, ready: 0..0 },
                bytes: ByteWords::new(bytemuck::cast_mut(byte_tokens)),
                #[cfg(feature = "wordpiece")]
                known: Known::default(),
                plain: false,
                lead: None,
                begun: false,
                untouched: text,
                raw_added: tokenizer.header.bos.filter(|_| add_special_tokens),
                segment: Text::EMPTY,
                added: None,
                piece: Text::EMPTY,
                at_start: true,
            },
        }
    }

    /// Takes marks such as `</s>` in the text for text like any other, so that text from strangers can't hold one.
    /// Added tokens that are no marks are still found.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.words.plain = true;
        self
    }

    /// Takes the text for what is said in a conversation, between other tokens: it is [`plain`](Self::plain), and a space
    /// stands before it or not, as `space` says, whatever the tokenizer does with a text of its own.
    pub(super) fn content(mut self, space: bool) -> Self {
        self.words.lead = Some(space);
        self.words.at_start = false;
        self.plain()
    }

    /// Puts the next tokens into `out` and returns how many there were: fewer than `out` holds only at the text's end.
    ///
    /// # Errors
    /// The source's, or a [`FormatError`](crate::format::FormatError) where a table is damaged. Start again with a new
    /// encoder then.
    pub async fn fill<S: WeightSource>(&mut self, source: &mut S, out: &mut [u32]) -> Result<usize, Error<S::Error>> {
        let mut reader = SectorReader::new(source, self.sector);
        let mut filled = 0;
        while filled < out.len() {
            if let Some(id) = self.words.window.next_ready() {
                out[filled] = id;
                filled += 1;
            } else if !self.words.advance(&mut reader).await? {
                break;
            }
        }
        Ok(filled)
    }

    /// How many tokens there are to come, `most` of more; so many are then gone.
    ///
    /// A token that was given out is never taken back, whatever text comes after it: a text has at least the tokens that were
    /// counted when this stops.
    pub(crate) async fn count<S: WeightSource>(
        &mut self,
        source: &mut S,
        most: usize,
    ) -> Result<usize, Error<S::Error>> {
        let mut tokens = 0;
        while tokens < most && self.fill(source, &mut [0]).await? > 0 {
            tokens += 1;
        }
        Ok(tokens)
    }
}

/// The text in the order in which it is taken apart, and the word at hand.
pub(super) struct Words<'a> {
    pub tokenizer: &'a Tokenizer,
    /// The word at hand.
    pub window: Window<'a>,
    /// What words of bytes need besides.
    pub bytes: ByteWords<'a>,
    /// What WordPiece needs besides.
    #[cfg(feature = "wordpiece")]
    pub known: Known,
    /// Marks are text.
    pub plain: bool,
    /// Whether a space stands before the first segment, of a text inside a conversation.
    lead: Option<bool>,
    /// No space is to be put before the next piece.
    begun: bool,
    /// The text that no pass has seen.
    untouched: &'a str,
    /// The token of the first pass between `segment` and `untouched`; at first, the start-of-text token.
    raw_added: Option<u32>,
    /// What the second pass has not seen of the text before that.
    pub segment: Text<'a>,
    /// The token of the second pass between `piece` and `segment`.
    pub added: Option<u32>,
    /// Text without added tokens.
    pub piece: Text<'a>,
    /// Nothing was found or taken yet.
    at_start: bool,
}

impl<'a> Words<'a> {
    /// Makes the next tokens ready, perhaps none of a word that the vocabulary can't spell. False at the end of the text.
    async fn advance<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<bool, Error<S::Error>> {
        loop {
            if !self.piece.is_empty() {
                let tokenizer = self.tokenizer;
                match &tokenizer.header.kind {
                    Kind::SentencePiece(header) => self.next_sentence_piece(reader, header).await?,
                    Kind::ByteLevel(header) => self.next_byte_level(reader, header).await?,
                    #[cfg(feature = "wordpiece")]
                    Kind::WordPiece(header) => self.next_word_piece(reader, header).await?,
                    #[cfg(not(feature = "wordpiece"))]
                    Kind::WordPiece(_) => return Err(FormatError::Feature { name: "wordpiece" }.into()),
                }
                return Ok(true);
            }
            if let Some(id) = self.added.take() {
                self.window.ready_one(id);
                return Ok(true);
            }
            if !self.segment.is_empty() {
                self.next_piece(reader).await?;
            } else if let Some(id) = self.raw_added.take() {
                self.window.ready_one(id);
                return Ok(true);
            } else if !self.untouched.is_empty() {
                self.next_segment(reader).await?;
            } else {
                return Ok(false);
            }
        }
    }

    /// The first pass: takes the text up to the next added token out of `untouched`.
    async fn next_segment<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let lead = self.lead.take();
        let text = Text { prefix: lead == Some(true), rest: self.untouched, ..Text::EMPTY };
        let found = self.tokenizer.find_added(reader, AddedPass::Raw, self.plain, text).await?;
        let (segment, rest) = match found {
            Some(found) => (text.until(found.start), found.end.rest),
            None => (text, ""),
        };
        self.raw_added = found.map(|found| found.id);
        self.untouched = rest;
        self.begun = lead.is_some();
        let prepends = self.tokenizer.header.prefix() == PrefixSpace::Prepend && !segment.is_empty();
        self.segment = Text { prefix: segment.prefix || lead.is_none() && prepends, ..segment };
        self.at_start &= !segment.is_empty();
        Ok(())
    }

    /// The second pass: takes the text up to the next added token out of `segment`.
    async fn next_piece<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let segment = self.segment;
        if let Kind::WordPiece(_) = self.tokenizer.header.kind {
            // A space before a word says nothing there.
            (self.piece, self.segment) = (Text { prefix: false, ..segment }, Text::EMPTY);
            return Ok(());
        }
        let found = self.tokenizer.find_added(reader, AddedPass::Normalized, self.plain, segment).await?;
        (self.piece, self.segment) = match found {
            Some(found) => (segment.until(found.start), found.end),
            None => (segment, Text::EMPTY),
        };
        self.added = found.map(|found| found.id);
        let header = &self.tokenizer.header;
        let wants_space = match header.prefix() {
            PrefixSpace::Never | PrefixSpace::Prepend => false,
            PrefixSpace::Always => true,
            PrefixSpace::First => self.at_start,
        };
        let has_space = match self.piece.rest.chars().next() {
            _ if self.piece.prefix => true,
            first => first == Some(' ') || first == Some(SPACE_MARK) && header.marks_spaces(),
        };
        if wants_space && !core::mem::take(&mut self.begun) && !has_space && !self.piece.is_empty() {
            self.piece.prefix = true;
        }
        self.at_start = false;
        self.bytes.start_piece();
        Ok(())
    }
}
