//! Encoding: the division of a text at added tokens and into words.

use super::Tokenizer;
use super::bpe::{MergeWindow, WORD_LEN};
use super::byte_level::ByteWords;
use super::layout::{AddedPass, Kind, PrefixSpace, SPACE_MARK};
use super::text::Text;
#[cfg(feature = "wordpiece")]
use super::wordpiece::Known;
use crate::error::Error;
#[cfg(not(feature = "wordpiece"))]
use crate::format::FormatError;
use crate::source::{SECTOR_LEN, SectorReader, WeightSource};

/// 64-bit words of a sector.
const SECTOR_WORDS: usize = SECTOR_LEN / 8;
/// 64-bit words of the tokens of all bytes.
const BYTE_WORDS: usize = 256 / 2;

/// The working memory of an encoder. Its contents before and after do not matter. Together with the [`Tokenizer`], the
/// [`Encoder`] and the future of [`Encoder::fill`], it is smaller than 8 KiB.
pub type Scratch = [u64; SECTOR_WORDS + BYTE_WORDS + WORD_LEN];

/// An encoder of a text, created by [`Tokenizer::encoder`].
///
/// The text is split at added tokens, and the text between them into words: at places that no merge crosses, or where
/// the tokenizer's own pattern splits. A word of up to [`WORD_LEN`] characters (bytes, if bytes are merged) is merged
/// as a whole, which gives exactly the tokens of the whole text merged at once. A longer word is merged in windows: the
/// encoder outputs the tokens that start in the first three quarters of a window and merges the rest again with the
/// text that follows. The result differs from that of the whole word only where a change at one character moves the
/// tokens of the 80 before it, which no natural text does. No text is ever lost.
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
                window: MergeWindow { symbols, ready: 0..0 },
                bytes: ByteWords::new(bytemuck::cast_mut(byte_tokens)),
                #[cfg(feature = "wordpiece")]
                known: Known::default(),
                plain: false,
                lead: None,
                begun: false,
                after_mark: false,
                untouched: text,
                raw_added: tokenizer.header.bos.filter(|_| add_special_tokens),
                segment: Text::EMPTY,
                added: None,
                piece: Text::EMPTY,
                at_start: true,
            },
        }
    }

    /// Treats marks such as `</s>` in the text as ordinary text. For untrusted text. Added tokens that are not marks
    /// are still found.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.words.plain = true;
        self
    }

    /// Encodes the text as the rest of one whose beginning was encoded: no space is put before it, except where the
    /// tokenizer puts one after marks.
    pub(super) fn rest(mut self, after_mark: bool) -> Self {
        self.words.lead = (!after_mark).then_some(false);
        self.words.at_start = false;
        self
    }

    /// Encodes the text as a message in a conversation: like [`plain`](Self::plain), and `space` says whether a space
    /// stands before the text, independent of the tokenizer's own setting.
    pub(super) fn content(mut self, space: bool) -> Self {
        self.words.lead = Some(space);
        self.words.at_start = false;
        self.plain()
    }

    /// Whether the last token is one that was found before the text was normalised, such as a mark.
    pub(crate) fn ends_with_mark(&self) -> bool {
        self.words.after_mark
    }

    /// Writes the next tokens to `out` and returns their number, which is less than `out.len()` only at the end of the
    /// text.
    ///
    /// # Errors
    /// The source's error, or a [`FormatError`](crate::format::FormatError) if a table is damaged. Start again with a
    /// new encoder.
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

    /// Consumes and counts the remaining tokens, up to `most`.
    ///
    /// Later text never changes a token that was already output: a text has at least the tokens counted when the count
    /// stops.
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

/// The text in the stages of its division, and the current word.
pub(super) struct Words<'a> {
    pub tokenizer: &'a Tokenizer,
    /// The current word.
    pub window: MergeWindow<'a>,
    /// Additional state for words of bytes.
    pub bytes: ByteWords<'a>,
    /// Additional state for WordPiece.
    #[cfg(feature = "wordpiece")]
    pub known: Known,
    /// Whether marks are text.
    pub plain: bool,
    /// For a message in a conversation and for the rest of a text: whether a space stands before the first segment.
    lead: Option<bool>,
    /// Whether the next piece gets no space before it.
    begun: bool,
    /// Whether the last token was the first pass's.
    after_mark: bool,
    /// The text before the first pass.
    untouched: &'a str,
    /// The first pass's token between `segment` and `untouched`; initially, the start-of-text token.
    raw_added: Option<u32>,
    /// The text that the first pass has split off and the second pass has not seen.
    pub segment: Text<'a>,
    /// The second pass's token between `piece` and `segment`.
    pub added: Option<u32>,
    /// Text without added tokens.
    pub piece: Text<'a>,
    /// Whether nothing has been found or consumed yet.
    at_start: bool,
}

impl<'a> Words<'a> {
    /// Makes the next tokens ready; none for a word that the vocabulary cannot spell. Returns false at the end of the
    /// text.
    async fn advance<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<bool, Error<S::Error>> {
        loop {
            if !self.piece.is_empty() {
                self.after_mark = false;
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
                self.after_mark = false;
                return Ok(true);
            }
            if !self.segment.is_empty() {
                self.next_piece(reader).await?;
            } else if let Some(id) = self.raw_added.take() {
                self.window.ready_one(id);
                self.after_mark = true;
                return Ok(true);
            } else if !self.untouched.is_empty() {
                self.next_segment(reader).await?;
            } else {
                return Ok(false);
            }
        }
    }

    /// The first pass: moves the text up to the next added token from `untouched` to `segment`.
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

    /// The second pass: moves the text up to the next added token from `segment` to `piece`.
    async fn next_piece<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let segment = self.segment;
        if let Kind::WordPiece(_) = self.tokenizer.header.kind {
            // WordPiece ignores a space before a word.
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
