//! The split of a word into pieces: the longest piece at its start, then the longest at the start of the rest.

use super::Tables;
use crate::error::Error;
use crate::format::in_range;
use crate::source::SectorReader;
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::bpe::Symbol;
use crate::tokenizer::layout::token;
use crate::tokenizer::layout::wordpiece::{BUCKET_HEAD_LEN, BucketHead, PIECE_HEAD_LEN, PieceHash, PieceHead};

/// A letter of a word: the character in the lower 32 bits, its combining class in the upper ones. Once the word is
/// complete, the upper bits hold the hash of the piece that ends here. Finally, the letter's place holds a token.
#[derive(Clone, Copy)]
struct Letter(u64);

impl Letter {
    fn char(self) -> char {
        char::from_u32(self.0 as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The current word, with a place for each character.
pub(super) struct Word<'a> {
    places: &'a mut [u64],
    len: usize,
    /// The start of the last letters whose order may still change.
    marks: usize,
    /// Whether the word is too long to be split into pieces.
    overlong: bool,
}

impl<'a> Word<'a> {
    pub fn new(places: &'a mut [u64]) -> Self {
        Self { places, len: 0, marks: 0, overlong: false }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a letter, or inserts it before the trailing combining marks of a higher class.
    pub fn push(&mut self, c: char, class: u8) {
        if self.len == self.places.len() {
            self.overlong = true;
            return;
        }
        let mut place = self.len;
        if class > 0 {
            while place > self.marks && Letter(self.places[place - 1]).upper() > u32::from(class) {
                self.places[place] = self.places[place - 1];
                place -= 1;
            }
        }
        self.places[place] = u64::from(c) | u64::from(class) << 32;
        self.len += 1;
        if class == 0 {
            self.end_marks();
        }
    }

    /// Fixes the order of the letters so far.
    pub fn end_marks(&mut self) {
        self.marks = self.len;
    }

    /// Replaces the word by its tokens, as symbols of the window, and returns their number.
    pub async fn cut<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        tables: &Tables<'_>,
    ) -> Result<usize, Error<S::Error>> {
        let (mut start, mut tokens) = (0, 0);
        while start < self.len && !self.overlong {
            let Some((id, end)) = self.longest(reader, tables, start).await? else { break };
            // A token covers at least one letter, so its place was already split.
            self.places[tokens] = Symbol::new(id).0;
            tokens += 1;
            start = end;
        }
        if start == self.len && !self.overlong {
            return Ok(tokens);
        }
        self.places[0] = Symbol::new(tables.header.unk).0;
        Ok(1)
    }

    /// The token and the end of the longest piece that starts at `start`.
    async fn longest<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        tables: &Tables<'_>,
        start: usize,
    ) -> Result<Option<(u32, usize)>, Error<S::Error>> {
        let continues = start > 0;
        let last = self.len.min(start + tables.header.longest_piece as usize);
        let (mut hash, mut byte_len) = (PieceHash::first(continues), 0);
        for place in &mut self.places[start..last] {
            let c = Letter(*place).char();
            hash = hash.then(c);
            byte_len += c.len_utf8();
            *place = u64::from(c) | u64::from(hash.0) << 32;
        }
        for end in (start + 1..=last).rev() {
            let letter = Letter(self.places[end - 1]);
            let piece = Piece { letters: &self.places[start..end], byte_len, continues, hash: letter.upper() };
            if let Some(id) = tables.find(reader, piece).await? {
                return Ok(Some((id, end)));
            }
            byte_len -= letter.char().len_utf8();
        }
        Ok(None)
    }
}

/// A piece to look up.
struct Piece<'a> {
    letters: &'a [u64],
    byte_len: usize,
    continues: bool,
    hash: u32,
}

impl Tables<'_> {
    /// The token of a piece.
    async fn find<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        piece: Piece<'_>,
    ) -> Result<Option<u32>, Error<S::Error>> {
        let table = self.header.pieces;
        let first = table.bucket(piece.hash);
        for probe in 0..table.probes {
            let bucket = (first + probe) % table.buckets;
            let start = self.tokenizer.offset + self.header.pieces_at() + u64::from(bucket) * SECTOR_LEN as u64;
            let mut head = [0; BUCKET_HEAD_LEN];
            reader.read(start, &mut head).await.map_err(Error::Source)?;
            let head = BucketHead::parse(head)?;
            let mut at = start + BUCKET_HEAD_LEN as u64;
            let end = at + u64::from(head.used);
            while at < end {
                let mut entry = [0; PIECE_HEAD_LEN];
                reader.read(at, &mut entry).await.map_err(Error::Source)?;
                let entry = PieceHead::parse(entry);
                let text = at + PIECE_HEAD_LEN as u64;
                at = text + u64::from(entry.len);
                in_range("end of a piece in its bucket", at - start, 0, end - start)?;
                let may_be = entry.continues == piece.continues && usize::from(entry.len) == piece.byte_len;
                if may_be && is_text(reader, text, piece.letters).await? {
                    return Ok(Some(token("token of a piece", entry.id, self.tokenizer.header.vocab_size)?));
                }
            }
            if !head.overflows {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// Whether the letters equal the text at byte `at` of the file, which has the same length.
async fn is_text<S: WeightSource>(
    reader: &mut SectorReader<'_, S>,
    mut at: u64,
    letters: &[u64],
) -> Result<bool, Error<S::Error>> {
    for letter in letters {
        let (mut wanted, mut found) = ([0; 4], [0; 4]);
        let wanted = Letter(*letter).char().encode_utf8(&mut wanted).as_bytes();
        let found = &mut found[..wanted.len()];
        reader.read(at, found).await.map_err(Error::Source)?;
        if found != wanted {
            return Ok(false);
        }
        at += wanted.len() as u64;
    }
    Ok(true)
}
