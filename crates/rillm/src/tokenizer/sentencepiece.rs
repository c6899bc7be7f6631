//! Byte-pair encoding of characters, as in sentencepiece.

use super::bpe::{Merges, Symbol, WORD_LEN};
use super::encode::Words;
use super::layout::{SPACE_MARK, SentencePieceHeader, WordStart};
use crate::error::Error;
use crate::source::SectorReader;
use crate::source::WeightSource;

impl Words<'_> {
    /// Consumes a word of `piece`, which is not empty, and merges it.
    pub(super) async fn next_sentence_piece<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &SentencePieceHeader,
    ) -> Result<(), Error<S::Error>> {
        let merges = Merges { at: header.pairs_at(), table: header.pairs };
        let start = self.piece;
        let mut len = 0;
        let mut before = None;
        // Look up all characters first, then all pairs: the characters of one script are in one sector.
        while let Some(c) = self.piece.peek() {
            if before.is_some_and(|before| starts_word(header.word_start, before, c)) {
                break;
            }
            let Some(entry) = self.tokenizer.char(reader, header, c).await? else {
                if len == 0 {
                    return self.spell(reader, c).await;
                }
                break;
            };
            if len > 0 && entry.opens {
                break;
            }
            if len == WORD_LEN {
                self.window.merge(self.tokenizer, reader, merges, len).await?;
                let cut = self.window.cut();
                self.piece = (0..cut).fold(start, |text, _| text.skip());
                self.window.ready = 0..cut;
                return Ok(());
            }
            self.window.set(len, Symbol::new(entry.id));
            len += 1;
            before = Some(c);
            self.piece = self.piece.skip();
            if entry.closes {
                break;
            }
        }
        self.window.merge(self.tokenizer, reader, merges, len).await?;
        self.window.ready = 0..len;
        Ok(())
    }

    /// Spells a character without a token in byte tokens, which take part in no merge.
    async fn spell<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<(), Error<S::Error>> {
        let mut utf8 = [0; 4];
        let bytes = c.encode_utf8(&mut utf8).as_bytes();
        for (place, &byte) in bytes.iter().enumerate() {
            self.window.set(place, Symbol::new(self.tokenizer.byte(reader, byte).await?));
        }
        self.window.ready = 0..bytes.len();
        self.piece = self.piece.skip();
        Ok(())
    }
}

/// Whether a word starts at `c`, which follows `before`.
fn starts_word(word_start: WordStart, before: char, c: char) -> bool {
    c == SPACE_MARK
        && match word_start {
            WordStart::Nowhere => false,
            WordStart::SpaceRun => before != SPACE_MARK,
            WordStart::Space => true,
        }
}
