//! WordPiece, as in BERT: the text is respelled, split into words at spaces and punctuation, and each word is split
//! into the longest pieces from its front on.
//!
//! `characters` holds the text in the vocabulary's spelling, `pieces` the tokens of a word. This module holds the words
//! and the added tokens between them.

mod characters;
mod pieces;

use super::Tokenizer;
use super::added::{AddedTokens, has_start, is_next};
use super::encode::Words;
use super::layout::AddedPass;
use super::layout::wordpiece::{MAX_WORD_CHARS, WordPieceHeader};
use super::text::Text;
use crate::error::Error;
use crate::source::SectorReader;
use crate::source::{SECTOR_LEN, WeightSource};
use characters::Unit;
use pieces::Word;

/// State that is kept between words. The first block of characters follows the word's places.
#[derive(Default)]
pub(super) struct Known {
    has_first: bool,
    /// The number and the file offset of the other block used last.
    found: Option<(u32, u64)>,
    /// The end of a mark that is plain text: bytes of the remaining text, and units consumed of it.
    plain_until: Option<(usize, u8)>,
}

/// The tables in the file, and their cached parts.
struct Tables<'a> {
    tokenizer: &'a Tokenizer,
    header: &'a WordPieceHeader,
    first: &'a mut [u8; SECTOR_LEN],
    known: &'a mut Known,
}

impl Words<'_> {
    /// Consumes a word of `piece`, which is not empty, and makes its tokens ready: none if only spaces are left or an
    /// added token follows. The second pass also happens here, because its tokens may start inside a character.
    pub(super) async fn next_word_piece<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        header: &WordPieceHeader,
    ) -> Result<(), Error<S::Error>> {
        let (word, first) = self.window.symbols.split_at_mut(MAX_WORD_CHARS as usize);
        let first = first.first_chunk_mut::<{ SECTOR_LEN / 8 }>().expect("a window has room for a word and a sector");
        let known = &mut self.known;
        let mut tables = Tables { tokenizer: self.tokenizer, header, first: bytemuck::cast_mut(first), known };
        let mut word = Word::new(&mut word[..header.max_chars as usize]);
        loop {
            if let Some((id, rest)) = tables.added_at(reader, self.piece, self.plain).await? {
                (self.added, self.segment, self.piece) = (Some(id), rest, Text::EMPTY);
                break;
            }
            let before = self.piece;
            match tables.next(reader, &mut self.piece).await? {
                Some(Unit::Letter(c, class)) => word.push(c, class),
                Some(Unit::Barrier) => word.end_marks(),
                Some(Unit::Space(_)) if word.is_empty() => {}
                Some(Unit::Punctuation(c)) if word.is_empty() => {
                    word.push(c, 0);
                    break;
                }
                Some(Unit::Punctuation(_)) => {
                    self.piece = before;
                    break;
                }
                Some(Unit::Space(_)) | None => break,
            }
        }
        let tokens = word.cut(reader, &tables).await?;
        self.window.ready = 0..tokens;
        Ok(())
    }
}

impl Tables<'_> {
    /// The longest added token of the second pass at the start of `text`, and the text after it.
    async fn added_at<'t, S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        text: Text<'t>,
        plain: bool,
    ) -> Result<Option<(u32, Text<'t>)>, Error<S::Error>> {
        let starts = &self.tokenizer.header.normalized_starts;
        if *starts == [0; 32] {
            return Ok(None);
        }
        let (left, taken) = (text.rest.len(), text.taken);
        match self.known.plain_until {
            Some(end) if left > end.0 || (left == end.0 && taken < end.1) => return Ok(None),
            _ => self.known.plain_until = None,
        }
        let Some(first) = self.next_char(reader, &mut { text }).await? else { return Ok(None) };
        if !has_start(starts, first.encode_utf8(&mut [0; 4]).as_bytes()[0]) {
            return Ok(None);
        }
        let mut tokens = AddedTokens::new(self.tokenizer, AddedPass::Normalized);
        while let Some((head, mut pattern)) = tokens.next(reader).await? {
            let mut rest = text;
            while !pattern.is_empty() {
                match self.next_char(reader, &mut rest).await? {
                    Some(c) if is_next(reader, &mut pattern, c).await? => {}
                    _ => break,
                }
            }
            if pattern.is_empty() {
                if !(plain && head.mark) {
                    return Ok(Some((head.id, rest)));
                }
                self.known.plain_until = Some((rest.rest.len(), rest.taken)).filter(|_| !rest.is_empty());
                break;
            }
        }
        Ok(None)
    }
}
