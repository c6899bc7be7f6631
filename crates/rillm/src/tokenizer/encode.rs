//! Text to tokens: words, and the merges of each.

use core::ops::Range;

use super::Tokenizer;
use super::layout::{AddedPass, MAX_RANKS, PrefixSpace, SPACE_MARK, WordStart};
use super::text::Text;
use crate::counted::SectorReader;
use crate::error::Error;
use crate::source::{SECTOR_LEN, WeightSource};

/// Characters of the longest word that is merged as a whole.
pub const WORD_LEN: usize = 320;
/// Where a longer word is cut: the rest of the window tells what the tokens before this place become.
const CUT_AT: usize = WORD_LEN / 4 * 3;

/// 64-bit places that one sector takes.
const SECTOR_WORDS: usize = SECTOR_LEN / 8;

/// The memory for encoding. What it holds before and after does not matter. With the [`Tokenizer`], the [`Encoder`] and
/// the future of [`Encoder::fill`] it stays under 4 KiB.
pub type Scratch = [u64; SECTOR_WORDS + WORD_LEN];

/// A token of a word being merged, and its merge with the token after it: the merge's rank in the upper 24 bits, the
/// merged token in the next 20, the token in the lower 20.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Symbol(u64);

impl Symbol {
    /// What a merge left at the place of its right token.
    const GONE: Self = Self(u64::MAX);
    const NO_MERGE: u32 = MAX_RANKS;

    fn new(id: u32) -> Self {
        Self(u64::from(Self::NO_MERGE) << 40 | u64::from(id))
    }

    fn with_merge(self, rank: u32, merged: u32) -> Self {
        Self(u64::from(rank) << 40 | u64::from(merged) << 20 | u64::from(self.id()))
    }

    fn rank(self) -> u32 {
        (self.0 >> 40) as u32
    }

    fn merged(self) -> u32 {
        (self.0 >> 20) as u32 & 0xf_ffff
    }

    fn id(self) -> u32 {
        self.0 as u32 & 0xf_ffff
    }
}

/// A text on its way to tokens: [`Tokenizer::encoder`] makes one.
///
/// The text is cut at added tokens, and what lies between into words at places that no merge crosses. A word of up to
/// [`WORD_LEN`] characters is merged as a whole, which gives exactly the tokens of the whole text merged at once. Of a
/// longer one, so many characters are merged at a time, those tokens are given that start in the first three quarters
/// and the rest is merged again with what follows. That differs from the whole only where a change at one character
/// moves the tokens of the 80 before it, which no natural text does; nothing of the text is ever lost.
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
        let (sector, symbols) = scratch.split_at_mut(SECTOR_WORDS);
        let sector: &mut [u64; SECTOR_WORDS] = sector.try_into().expect("split there");
        Self {
            sector: bytemuck::cast_mut(sector),
            words: Words {
                tokenizer,
                symbols,
                ready: 0..0,
                untouched: text,
                raw_added: tokenizer.header.bos.filter(|_| add_special_tokens),
                segment: Text::EMPTY,
                added: None,
                piece: Text::EMPTY,
                at_start: true,
            },
        }
    }

    /// `text` as it stands inside a conversation: no mark in it is a token, and `space` says whether a space stands before
    /// it, whatever the tokenizer does with texts of their own.
    pub(super) fn content(tokenizer: &'a Tokenizer, text: &'a str, space: bool, scratch: &'a mut Scratch) -> Self {
        let mut encoder = Self::new(tokenizer, "", false, scratch);
        encoder.words.piece = Text { prefix: space, rest: text };
        encoder
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
            if let Some(place) = self.words.ready.next() {
                let symbol = self.words.symbol(place);
                if symbol != Symbol::GONE {
                    out[filled] = symbol.id();
                    filled += 1;
                }
            } else if !self.words.advance(&mut reader).await? {
                break;
            }
        }
        Ok(filled)
    }
}

/// The text in the order in which it is taken apart, and the word at hand.
struct Words<'a> {
    tokenizer: &'a Tokenizer,
    /// Packed [`Symbol`]s.
    symbols: &'a mut [u64],
    /// The places of `symbols` that are done and not given out yet.
    ready: Range<usize>,
    /// The text that no pass has seen.
    untouched: &'a str,
    /// The token of the first pass between `segment` and `untouched`; at first, the start-of-text token.
    raw_added: Option<u32>,
    /// What the second pass has not seen of the text before that.
    segment: Text<'a>,
    /// The token of the second pass between `piece` and `segment`.
    added: Option<u32>,
    /// Text without added tokens.
    piece: Text<'a>,
    /// Nothing was found or taken yet.
    at_start: bool,
}

impl<'a> Words<'a> {
    /// Makes the next tokens `ready`. False at the end of the text.
    async fn advance<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<bool, Error<S::Error>> {
        loop {
            if !self.piece.is_empty() {
                self.next_word(reader).await?;
                return Ok(true);
            }
            if let Some(id) = self.added.take() {
                self.ready_one(id);
                return Ok(true);
            }
            if !self.segment.is_empty() {
                self.next_piece(reader).await?;
            } else if let Some(id) = self.raw_added.take() {
                self.ready_one(id);
                return Ok(true);
            } else if !self.untouched.is_empty() {
                self.next_segment(reader).await?;
            } else {
                return Ok(false);
            }
        }
    }

    fn symbol(&self, place: usize) -> Symbol {
        Symbol(self.symbols[place])
    }

    fn set(&mut self, place: usize, symbol: Symbol) {
        self.symbols[place] = symbol.0;
    }

    fn ready_one(&mut self, id: u32) {
        self.set(0, Symbol::new(id));
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
        self.segment =
            Text { prefix: self.tokenizer.header.prefix == PrefixSpace::Prepend && !segment.is_empty(), ..segment };
        self.at_start &= !segment.is_empty();
        Ok(())
    }

    /// The second pass: takes the text up to the next added token out of `segment`.
    async fn next_piece<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let segment = self.segment;
        let found = self.tokenizer.find_added(reader, AddedPass::Normalized, segment).await?;
        (self.piece, self.segment) = match found {
            Some(found) => (segment.until(found.start), found.end),
            None => (segment, Text::EMPTY),
        };
        self.added = found.map(|found| found.id);
        let wants_space = match self.tokenizer.header.prefix {
            PrefixSpace::Never | PrefixSpace::Prepend => false,
            PrefixSpace::Always => true,
            PrefixSpace::First => self.at_start,
        };
        if wants_space && self.piece.peek().is_some_and(|c| c != SPACE_MARK) {
            self.piece.prefix = true;
        }
        self.at_start = false;
        Ok(())
    }

    /// Takes a word out of `piece`, which is not empty, and merges it.
    async fn next_word<S: WeightSource>(&mut self, reader: &mut SectorReader<'_, S>) -> Result<(), Error<S::Error>> {
        let start = self.piece;
        let mut len = 0;
        let mut before = None;
        // All characters first, then all pairs: characters of one script lie in one sector.
        while let Some(c) = self.piece.peek() {
            if before.is_some_and(|before| self.starts_word(before, c)) {
                break;
            }
            let Some(entry) = self.tokenizer.char(reader, c).await? else {
                if len == 0 {
                    return self.spell(reader, c).await;
                }
                break;
            };
            if len > 0 && entry.opens {
                break;
            }
            if len == WORD_LEN {
                self.merge(reader, len).await?;
                let cut = self.cut();
                self.piece = (0..cut).fold(start, |text, _| text.skip());
                self.ready = 0..cut;
                return Ok(());
            }
            self.set(len, Symbol::new(entry.id));
            len += 1;
            before = Some(c);
            self.piece = self.piece.skip();
            if entry.closes {
                break;
            }
        }
        self.merge(reader, len).await?;
        self.ready = 0..len;
        Ok(())
    }

    fn starts_word(&self, before: char, c: char) -> bool {
        c == SPACE_MARK
            && match self.tokenizer.header.word_start {
                WordStart::Nowhere => false,
                WordStart::SpaceRun => before != SPACE_MARK,
                WordStart::Space => true,
            }
    }

    /// A character without a token, in bytes. Byte tokens take part in no merge.
    async fn spell<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<(), Error<S::Error>> {
        let mut utf8 = [0; 4];
        let bytes = c.encode_utf8(&mut utf8).as_bytes();
        for (place, &byte) in bytes.iter().enumerate() {
            self.set(place, Symbol::new(self.tokenizer.byte(reader, byte).await?));
        }
        self.ready = 0..bytes.len();
        self.piece = self.piece.skip();
        Ok(())
    }

    /// Merges the first `len` symbols, one a character: the lowest rank first, of equal ones the leftmost, until no
    /// neighbours merge. Every merge leaves one symbol less.
    async fn merge<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        len: usize,
    ) -> Result<(), Error<S::Error>> {
        for place in 0..len {
            self.look_right(reader, place, len).await?;
        }
        loop {
            let mut best = 0;
            for place in 1..len {
                if self.symbol(place).rank() < self.symbol(best).rank() {
                    best = place;
                }
            }
            if self.symbol(best).rank() == Symbol::NO_MERGE {
                return Ok(());
            }
            if let Some(right) = self.next_place(best, len) {
                self.set(right, Symbol::GONE);
            }
            self.set(best, Symbol::new(self.symbol(best).merged()));
            self.look_right(reader, best, len).await?;
            if let Some(left) = (0..best).rev().find(|&place| self.symbol(place) != Symbol::GONE) {
                self.look_right(reader, left, len).await?;
            }
        }
    }

    /// Finds the merge of the symbol at `place` with the one after it.
    async fn look_right<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        place: usize,
        len: usize,
    ) -> Result<(), Error<S::Error>> {
        let symbol = Symbol::new(self.symbol(place).id());
        self.set(place, symbol);
        if let Some(right) = self.next_place(place, len) {
            let right = self.symbol(right).id();
            if let Some(pair) = self.tokenizer.pair(reader, symbol.id(), right).await? {
                self.set(place, symbol.with_merge(pair.rank, pair.merged));
            }
        }
        Ok(())
    }

    /// The place of the symbol after the one at `place`.
    fn next_place(&self, place: usize, len: usize) -> Option<usize> {
        (place + 1..len).find(|&next| self.symbol(next) != Symbol::GONE)
    }

    /// Where a full window is cut: the last token's start up to [`CUT_AT`], or the first token's end.
    fn cut(&self) -> usize {
        let is_start = |place: &usize| self.symbol(*place) != Symbol::GONE;
        (1..=CUT_AT).rev().find(is_start).or_else(|| (CUT_AT..WORD_LEN).find(is_start)).unwrap_or(WORD_LEN)
    }
}
