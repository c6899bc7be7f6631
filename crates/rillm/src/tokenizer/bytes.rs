//! Words of bytes: byte-pair encoding as GPT-2 has it.

use super::encode::Words;
use super::layout::{BytesHeader, NONE_BYTE, TABLES_AT};
use super::splits::Scan;
use super::text::Text;
use super::window::{Merges, Symbol, WORD_LEN};
use crate::counted::SectorReader;
use crate::error::Error;
use crate::source::WeightSource;

/// What words of bytes need besides the window.
pub(super) struct ByteWords<'a> {
    /// The token of each byte, once `loaded`.
    tokens: &'a mut [u32; 256],
    loaded: bool,
    /// Bytes of the word at hand that are not merged yet.
    left: usize,
}

impl<'a> ByteWords<'a> {
    pub fn new(tokens: &'a mut [u32; 256]) -> Self {
        Self { tokens, loaded: false, left: 0 }
    }
}

impl Words<'_> {
    /// Takes a word out of `piece`, which is not empty, or as much of it as the window holds, and merges it.
    pub(super) async fn next_bytes<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &BytesHeader,
    ) -> Result<(), Error<S::Error>> {
        if !self.bytes.loaded {
            self.tokenizer.byte_tokens(reader, self.bytes.tokens).await?;
            self.bytes.loaded = true;
        }
        let whole = self.bytes.left == 0;
        if whole {
            self.bytes.left = scan(self.piece, header);
        }
        let (start, len) = (self.piece, self.bytes.left.min(WORD_LEN));
        for place in 0..len {
            let Some((byte, rest)) = next_byte(self.piece) else { break };
            let id = self.bytes.tokens[usize::from(byte)];
            self.window.set(place, if id == NONE_BYTE { Symbol::GONE } else { Symbol::new(id) });
            self.piece = rest;
        }
        self.window.merge(self.tokenizer, reader, Merges { at: TABLES_AT, table: header.pairs }, len).await?;
        let done = if len < self.bytes.left { self.window.cut() } else { len };
        self.window.ready = 0..done;
        self.bytes.left -= done;
        if done < len {
            self.piece = start;
            for _ in 0..done {
                self.piece = next_byte(self.piece).map_or(Text::EMPTY, |(_, rest)| rest);
            }
        } else if whole && let Some(table) = header.whole {
            let id = self.whole_word(reader, Merges { at: header.whole_at(), table }, len).await?;
            if let Some(id) = id {
                self.window.ready_one(id);
            }
        }
        Ok(())
    }

    /// The token of a word that merges do not lead to, but to the tokens in the first `len` places.
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

/// Bytes of the first word of a text, which is not empty.
fn scan(text: Text<'_>, header: &BytesHeader) -> usize {
    let mut scan = Scan::new(header.splits);
    let prefix = text.prefix.then_some(' ');
    let mut chars = prefix.into_iter().chain(text.rest.chars());
    loop {
        if let Some(len) = scan.push(chars.next()) {
            return len;
        }
    }
}

/// The next byte of a text, and the text after it.
fn next_byte(text: Text<'_>) -> Option<(u8, Text<'_>)> {
    if text.prefix {
        return Some((b' ', Text { prefix: false, ..text }));
    }
    let c = text.rest.chars().next()?;
    let taken = usize::from(text.taken);
    let byte = *text.rest.as_bytes().get(taken)?;
    let rest = if taken + 1 < c.len_utf8() { Text { taken: text.taken + 1, ..text } } else { text.skip() };
    Some((byte, rest))
}
