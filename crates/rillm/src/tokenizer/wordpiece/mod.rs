//! Words in pieces, as BERT has them: the text is spelled anew, cut into words at spaces and punctuation, and each word
//! into the longest pieces from its front on.
//!
//! `characters` (the text as the vocabulary spells it), `pieces` (a word's tokens); here, the words and the added tokens
//! between them.

mod characters;
mod pieces;

use core::ops::Range;

use super::Tokenizer;
use super::added::{AddedTokens, has_bit};
use super::layout::AddedPass;
use super::layout::wordpiece::{MAX_WORD_CHARS, WordPieceHeader};
use super::text::Text;
use crate::counted::SectorReader;
use crate::error::Error;
use crate::source::{SECTOR_LEN, WeightSource};
use characters::Characters;
use characters::Unit;
use pieces::Word;

/// 64-bit places that a block of characters takes.
const BLOCK_PLACES: usize = SECTOR_LEN / 8;
/// 64-bit places that this kind of tokenizer takes.
pub(super) const PLACES: usize = BLOCK_PLACES + MAX_WORD_CHARS as usize;

/// The tables in the file, and what of them is in memory.
struct Tables<'a> {
    header: WordPieceHeader,
    vocab_size: u32,
    /// The section's first byte in the file.
    offset: u64,
    /// The first block of characters.
    first: &'a mut [u8; SECTOR_LEN],
    has_first: bool,
    /// The other block that was used last, and where it starts in the file.
    found: Option<(u32, u64)>,
}

/// The text in the order in which it is taken apart, and the word at hand.
pub(super) struct WordPieces<'a> {
    tokenizer: &'a Tokenizer,
    tables: Tables<'a>,
    word: Word<'a>,
    /// The tokens of `word` that are not given out yet.
    ready: Range<usize>,
    /// The text that no pass has seen.
    untouched: &'a str,
    /// The token of the first pass between `segment` and `untouched`; at first, the start-of-text token.
    raw_added: Option<u32>,
    /// The text before that.
    segment: Characters<'a>,
    /// The token of the second pass before `segment`.
    added: Option<u32>,
}

impl<'a> WordPieces<'a> {
    /// Starts with the token `bos`. `memory` has [`PLACES`] at least.
    pub fn new(
        tokenizer: &'a Tokenizer,
        header: WordPieceHeader,
        text: &'a str,
        bos: Option<u32>,
        memory: &'a mut [u64],
    ) -> Self {
        let (first, rest) = memory.split_first_chunk_mut::<BLOCK_PLACES>().expect("PLACES");
        let tables = Tables {
            header,
            vocab_size: tokenizer.header.vocab_size,
            offset: tokenizer.offset,
            first: bytemuck::cast_mut(first),
            has_first: false,
            found: None,
        };
        Self {
            tokenizer,
            tables,
            word: Word::new(rest.first_chunk_mut().expect("PLACES")),
            ready: 0..0,
            untouched: text,
            raw_added: bos,
            segment: Characters::new(""),
            added: None,
        }
    }

    /// The next token that is done.
    pub fn next_ready(&mut self) -> Option<u32> {
        self.ready.next().map(|place| self.word.token(place))
    }

    /// Makes the next tokens ready. False at the end of the text.
    pub async fn advance<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
    ) -> Result<bool, Error<S::Error>> {
        while self.ready.is_empty() {
            if let Some(id) = self.added.take() {
                self.ready_one(id);
            } else if !self.segment.is_empty() {
                self.next_word(reader).await?;
            } else if let Some(id) = self.raw_added.take() {
                self.ready_one(id);
            } else if !self.untouched.is_empty() {
                self.next_segment(reader).await?;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ready_one(&mut self, id: u32) {
        self.word.set_token(id);
        self.ready = 0..1;
    }

    /// The first pass: takes the text up to the next added token out of `untouched`.
    async fn next_segment<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let text = Text { prefix: false, rest: self.untouched };
        let found = self.tokenizer.find_added(reader, AddedPass::Raw, text).await?;
        let (segment, rest) = match found {
            Some(found) => (text.until(found.start), found.end.rest),
            None => (text, ""),
        };
        self.raw_added = found.map(|found| found.id);
        self.untouched = rest;
        self.segment = Characters::new(segment.rest);
        Ok(())
    }

    /// Takes a word out of `segment` and makes its tokens ready: none, where nothing but spaces is left or an added
    /// token follows.
    async fn next_word<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        self.word.clear();
        loop {
            if let Some((id, rest)) = self.added_here(reader).await? {
                self.added = Some(id);
                self.segment = rest;
                break;
            }
            let before = self.segment;
            match self.segment.next(reader, &mut self.tables).await? {
                Some(Unit::Letter(c, class)) => self.word.push(c, class, self.tables.header.max_chars),
                Some(Unit::Barrier) => self.word.end_marks(),
                Some(Unit::Space(_)) if self.word.is_empty() => {}
                Some(Unit::Punctuation(c)) if self.word.is_empty() => {
                    self.word.push(c, 0, self.tables.header.max_chars);
                    break;
                }
                Some(Unit::Punctuation(_)) => {
                    self.segment = before;
                    break;
                }
                Some(Unit::Space(_)) | None => break,
            }
        }
        self.ready = 0..self.word.cut(reader, &self.tables).await?;
        Ok(())
    }

    /// The second pass: the longest added token that `segment` starts with, and the text after it.
    async fn added_here<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
    ) -> Result<Option<(u32, Characters<'a>)>, Error<S::Error>> {
        let starts = &self.tokenizer.header.normalized_starts;
        if *starts == [0; 32] {
            return Ok(None);
        }
        let Some(first) = self.segment.clone().next_char(reader, &mut self.tables).await? else {
            return Ok(None);
        };
        if !has_bit(starts, first.encode_utf8(&mut [0; 4]).as_bytes()[0]) {
            return Ok(None);
        }
        let mut tokens = AddedTokens::new(self.tokenizer, AddedPass::Normalized);
        while let Some(added) = tokens.next(reader).await? {
            if let Some(rest) = self.starts_with(reader, added.start, added.end).await? {
                return Ok(Some((added.id, rest)));
            }
        }
        Ok(None)
    }

    /// What is left of `segment` after the bytes from `at` to `end` of the file, where it starts with them.
    async fn starts_with<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        mut at: u64,
        end: u64,
    ) -> Result<Option<Characters<'a>>, Error<S::Error>> {
        let mut rest = self.segment;
        while at < end {
            let Some(c) = rest.next_char(reader, &mut self.tables).await? else { return Ok(None) };
            if !is_char(reader, &mut at, end, c).await? {
                return Ok(None);
            }
        }
        Ok(Some(rest))
    }
}
