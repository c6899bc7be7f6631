//! Byte-pair encoding: the current word's tokens and their merges.

use core::ops::Range;

use super::Tokenizer;
use super::layout::{MAX_RANKS, TableHeader};
use crate::error::Error;
use crate::source::SectorReader;
use crate::source::WeightSource;

/// Maximum length of a word that is merged as a whole, in characters or bytes.
pub const WORD_LEN: usize = 320;
/// The cut of a longer word: the rest of the window determines the tokens before this position.
const CUT_AT: usize = WORD_LEN / 4 * 3;

/// A token of a word during merging, and its merge with the token after it: the merge's rank in the upper 24 bits, the
/// merged token in the next 20, the token in the lower 20.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol(pub u64);

impl Symbol {
    /// The place of a merge's right token, now empty.
    pub const GONE: Self = Self(u64::MAX);
    const NO_MERGE: u32 = MAX_RANKS;

    pub fn new(id: u32) -> Self {
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

    pub fn id(self) -> u32 {
        self.0 as u32 & 0xf_ffff
    }
}

/// A table of merges: the offset of its buckets in the section, and their number.
#[derive(Clone, Copy)]
pub(super) struct Merges {
    pub at: u64,
    pub table: TableHeader,
}

/// The symbols of the current word, and the range that is ready for output.
pub(super) struct MergeWindow<'a> {
    /// [`WORD_LEN`] packed [`Symbol`]s.
    pub symbols: &'a mut [u64],
    /// The places that are merged and not output yet.
    pub ready: Range<usize>,
}

impl MergeWindow<'_> {
    pub fn symbol(&self, place: usize) -> Symbol {
        Symbol(self.symbols[place])
    }

    pub fn set(&mut self, place: usize, symbol: Symbol) {
        self.symbols[place] = symbol.0;
    }

    /// Outputs the next ready token.
    pub fn next_ready(&mut self) -> Option<u32> {
        let place = self.ready.find(|&place| Symbol(self.symbols[place]) != Symbol::GONE)?;
        Some(self.symbol(place).id())
    }

    /// Makes `id` the only ready token.
    pub fn ready_one(&mut self, id: u32) {
        self.set(0, Symbol::new(id));
        self.ready = 0..1;
    }

    /// Merges the first `len` symbols, lowest rank first and leftmost among equals, until no merge applies. Every merge
    /// removes one symbol.
    pub async fn merge<S: WeightSource>(
        &mut self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        merges: Merges,
        len: usize,
    ) -> Result<(), Error<S::Error>> {
        for place in 0..len {
            if self.symbol(place) != Symbol::GONE {
                self.look_right(tokenizer, reader, merges, place, len).await?;
            }
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
            self.look_right(tokenizer, reader, merges, best, len).await?;
            if let Some(left) = (0..best).rev().find(|&place| self.symbol(place) != Symbol::GONE) {
                self.look_right(tokenizer, reader, merges, left, len).await?;
            }
        }
    }

    /// Looks up the merge of the symbol at `place` with the next one.
    async fn look_right<S: WeightSource>(
        &mut self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        merges: Merges,
        place: usize,
        len: usize,
    ) -> Result<(), Error<S::Error>> {
        let symbol = Symbol::new(self.symbol(place).id());
        self.set(place, symbol);
        if let Some(right) = self.next_place(place, len) {
            let right = self.symbol(right).id();
            if let Some(pair) = tokenizer.pair(reader, merges, symbol.id(), right).await? {
                self.set(place, symbol.with_merge(pair.rank, pair.merged));
            }
        }
        Ok(())
    }

    /// The place of the symbol after `place`.
    pub fn next_place(&self, place: usize, len: usize) -> Option<usize> {
        (place + 1..len).find(|&next| self.symbol(next) != Symbol::GONE)
    }

    /// The cut of a full window: the start of the last token that starts at or before [`CUT_AT`], or the end of the
    /// first token.
    pub fn cut(&self) -> usize {
        let is_start = |place: &usize| self.symbol(*place) != Symbol::GONE;
        (1..=CUT_AT).rev().find(is_start).or_else(|| (CUT_AT..WORD_LEN).find(is_start)).unwrap_or(WORD_LEN)
    }
}
