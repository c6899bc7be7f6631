//! Byte-level byte-pair encoding, as in GPT-2.

use super::bpe::{Merges, Symbol, WORD_LEN};
use super::encode::Words;
use super::layout::{ByteLevelHeader, NONE_BYTE, TABLES_AT};
use super::normalizer::Normalizer;
use super::pre_tokenizer::Scan;
use super::text::Text;
use crate::error::Error;
use crate::source::SectorReader;
use crate::source::WeightSource;

/// Additional state for words of bytes.
pub(super) struct ByteWords<'a> {
    /// The token of each byte, once `loaded`.
    tokens: &'a mut [u32; 256],
    loaded: bool,
    /// Bytes of the current word that are not merged yet.
    left: usize,
    /// The normal form of the current text, if the tokenizer normalises.
    normal: Normalizer,
}

impl<'a> ByteWords<'a> {
    pub fn new(tokens: &'a mut [u32; 256]) -> Self {
        Self { tokens, loaded: false, left: 0, normal: Normalizer::NONE }
    }

    /// Discards the state of the previous piece.
    pub fn start_piece(&mut self) {
        self.normal = Normalizer::NONE;
    }
}

impl<'a> Words<'a> {
    /// Consumes a word of `piece`, which is not empty, or as much of the word as the window holds, and merges it.
    pub(super) async fn next_byte_level<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &ByteLevelHeader,
    ) -> Result<(), Error<S::Error>> {
        if !self.bytes.loaded {
            self.tokenizer.byte_tokens(reader, self.bytes.tokens).await?;
            self.bytes.loaded = true;
        }
        let whole = self.bytes.left == 0;
        if whole {
            self.bytes.left = self.scan(reader, header).await?;
        }
        let (start, len) = (self.piece, self.bytes.left.min(WORD_LEN));
        for place in 0..len {
            let byte = self.take_byte(reader, header).await?;
            let id = self.bytes.tokens[usize::from(byte)];
            self.window.set(place, if id == NONE_BYTE { Symbol::GONE } else { Symbol::new(id) });
        }
        self.window.merge(self.tokenizer, reader, Merges { at: TABLES_AT, table: header.pairs }, len).await?;
        let done = if len < self.bytes.left { self.window.cut() } else { len };
        self.window.ready = 0..done;
        self.bytes.left -= done;
        if done < len {
            self.piece = start;
            for _ in 0..done {
                self.take_byte(reader, header).await?;
            }
        } else if whole && let Some(table) = header.whole {
            let tree = Merges { at: header.whole_at(), table };
            if let Some(id) = self.whole_word(reader, tree, len).await? {
                self.window.ready_one(id);
            }
        }
        Ok(())
    }

    /// Length of the first word of `piece` in bytes.
    async fn scan<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &ByteLevelHeader,
    ) -> Result<usize, Error<S::Error>> {
        let mut scan = Scan::new(header.pre_tokenizer);
        let mut text = self.piece;
        loop {
            let head = self.head(reader, header, text).await?;
            let c = head.text[usize::from(text.taken)..].chars().next();
            if let Some(len) = scan.push(c) {
                return Ok(len);
            }
            text = head.after(text, c.map_or(0, char::len_utf8));
        }
    }

    /// Consumes a byte of `piece`.
    async fn take_byte<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &ByteLevelHeader,
    ) -> Result<u8, Error<S::Error>> {
        let text = self.piece;
        let head = self.head(reader, header, text).await?;
        // The text does not end before the word.
        let byte = head.text.as_bytes().get(usize::from(text.taken)).copied().unwrap_or_default();
        self.piece = head.after(text, 1);
        Ok(byte)
    }

    /// The head of a text.
    async fn head<'t, S: WeightSource>(
        &'t mut self,
        reader: &mut SectorReader<'_, S>,
        header: &ByteLevelHeader,
        text: Text<'t>,
    ) -> Result<FirstCharacter<'t>, Error<S::Error>> {
        if text.prefix {
            return Ok(FirstCharacter { text: " ", source_len: 0 });
        }
        if let Some((form, source_len)) = self.bytes.normal.of(self.tokenizer, reader, header, text.rest).await? {
            return Ok(FirstCharacter { text: form, source_len });
        }
        let len = text.rest.chars().next().map_or(0, char::len_utf8);
        Ok(FirstCharacter { text: &text.rest[..len], source_len: len })
    }

    /// The token of a word that merges do not produce. The merges left the tokens in the first `len` places.
    async fn whole_word<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        tree: Merges,
        len: usize,
    ) -> Result<Option<u32>, Error<S::Error>> {
        let mut tokens = (0..len).map(|place| self.window.symbol(place)).filter(|&symbol| symbol != Symbol::GONE);
        let Some(first) = tokens.next() else { return Ok(None) };
        let (mut node, mut word) = (first.id(), None);
        for token in tokens {
            let Some((next, id)) = self.tokenizer.whole_word(reader, tree, node, token.id()).await? else {
                return Ok(None);
            };
            (node, word) = (next, id);
        }
        Ok(word)
    }
}

/// The first character of a text, or the normal form of several characters.
struct FirstCharacter<'t> {
    text: &'t str,
    /// Bytes of the text that the head covers.
    source_len: usize,
}

impl FirstCharacter<'_> {
    /// The text after `len` more bytes of its head.
    fn after<'a>(&self, text: Text<'a>, len: usize) -> Text<'a> {
        let taken = usize::from(text.taken) + len;
        if taken < self.text.len() {
            // A head has at most 128 bytes.
            return Text { taken: taken as u8, ..text };
        }
        Text { rest: &text.rest[self.source_len..], ..Text::EMPTY }
    }
}
