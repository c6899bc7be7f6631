//! The text in the vocabulary's spelling, one character at a time, by the character records of the file.

use super::Tables;
use crate::error::Error;
use crate::format::{FormatError, in_range};
use crate::source::SectorReader;
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::layout::wordpiece::{BLOCK_CHARS, BLOCKS_AT, CharKind, CharRecord, INDEX_AT, MAX_SPELLING};
use crate::tokenizer::text::Text;

const HANGUL: u32 = 0xac00;
const HANGUL_LEADING: u32 = 0x1100;
const HANGUL_VOWEL: u32 = 0x1161;
/// One before the first trailing letter; it stands for no letter.
const HANGUL_TRAILING: u32 = 0x11a7;
const HANGUL_VOWELS: u32 = 21;
const HANGUL_TRAILINGS: u32 = 28;
const HANGUL_SYLLABLES: u32 = 19 * HANGUL_VOWELS * HANGUL_TRAILINGS;

/// A character of the text in the vocabulary's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A part of a word, with its canonical combining class.
    Letter(char, u8),
    /// A word by itself.
    Punctuation(char),
    /// A separator of words.
    Space(char),
    /// A place across which letters are not reordered.
    Barrier,
}

/// The result of a character.
struct Units {
    units: [Unit; MAX_SPELLING],
    len: usize,
}

impl Units {
    fn of<const N: usize>(units: [Unit; N]) -> Self {
        let mut all = [Unit::Barrier; MAX_SPELLING];
        all[..N].copy_from_slice(&units);
        Self { units: all, len: N }
    }
}

impl Tables<'_> {
    /// Consumes the next character of `text`. Letters come in the order of the text, with the classes for the canonical
    /// order.
    pub async fn next<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        text: &mut Text<'_>,
    ) -> Result<Option<Unit>, Error<S::Error>> {
        loop {
            let mut chars = text.rest.chars();
            let Some(c) = chars.next() else { return Ok(None) };
            let Units { units, len } = self.units(reader, c).await?;
            let place = usize::from(text.taken);
            if place + 1 < len {
                text.taken += 1;
            } else {
                (text.rest, text.taken) = (chars.as_str(), 0);
            }
            if place < len {
                return Ok(Some(units[place]));
            }
        }
    }

    /// Consumes the next unit of `text` that is a character.
    pub async fn next_char<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        text: &mut Text<'_>,
    ) -> Result<Option<char>, Error<S::Error>> {
        loop {
            match self.next(reader, text).await? {
                Some(Unit::Letter(c, _) | Unit::Punctuation(c) | Unit::Space(c)) => return Ok(Some(c)),
                Some(Unit::Barrier) => {}
                None => return Ok(None),
            }
        }
    }

    async fn units<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<Units, Error<S::Error>> {
        let record = self.record(reader, c).await?;
        Ok(match record.kind() {
            CharKind::Dropped => Units::of([]),
            CharKind::Ideograph => Units::of([Unit::Space(' '), letter(record, c)?, Unit::Space(' ')]),
            CharKind::Spelled => {
                let len = in_range("length of a spelling", record.class().into(), 1, MAX_SPELLING as u64)? as usize;
                let mut units = [Unit::Barrier; MAX_SPELLING];
                for (place, slot) in (record.value()..).zip(&mut units[..len]) {
                    *slot = unit(self.spelling(reader, place).await?, c)?;
                }
                Units { units, len }
            }
            CharKind::Hangul => {
                let syllable = u32::from(c).wrapping_sub(HANGUL);
                in_range("Hangul syllable", syllable.into(), 0, u64::from(HANGUL_SYLLABLES) - 1)?;
                let trailing = syllable % HANGUL_TRAILINGS;
                let vowel = syllable / HANGUL_TRAILINGS % HANGUL_VOWELS;
                let leading = syllable / HANGUL_TRAILINGS / HANGUL_VOWELS;
                let [leading, vowel, trailing] =
                    [HANGUL_LEADING + leading, HANGUL_VOWEL + vowel, HANGUL_TRAILING + trailing];
                let units = [to_letter(leading)?, to_letter(vowel)?, to_letter(trailing)?];
                Units { units, len: if trailing == HANGUL_TRAILING { 2 } else { 3 } }
            }
            _ => Units::of([unit(record, c)?]),
        })
    }
}

/// The unit of a record that stands for one character.
fn unit(record: CharRecord, c: char) -> Result<Unit, FormatError> {
    match record.kind() {
        CharKind::Letter => letter(record, c),
        CharKind::Punctuation => Ok(Unit::Punctuation(value(record, c)?)),
        CharKind::Space => Ok(Unit::Space(value(record, c)?)),
        CharKind::Barrier => Ok(Unit::Barrier),
        kind => Err(FormatError::Unknown { field: "kind of a character in a spelling", value: kind as u32 }),
    }
}

fn letter(record: CharRecord, c: char) -> Result<Unit, FormatError> {
    Ok(Unit::Letter(value(record, c)?, record.class()))
}

fn value(record: CharRecord, c: char) -> Result<char, FormatError> {
    match record.value() {
        0 => Ok(c),
        value => to_char(value),
    }
}

fn to_letter(value: u32) -> Result<Unit, FormatError> {
    Ok(Unit::Letter(to_char(value)?, 0))
}

fn to_char(value: u32) -> Result<char, FormatError> {
    char::from_u32(value).ok_or(FormatError::Unknown { field: "character of the tokenizer section", value })
}

impl Tables<'_> {
    /// The record of a character. The first block stays in memory.
    async fn record<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<CharRecord, Error<S::Error>> {
        let (key, place) = (u32::from(c) / BLOCK_CHARS, (u32::from(c) % BLOCK_CHARS) as usize * CharRecord::LEN);
        let mut bytes = [0; CharRecord::LEN];
        if key == 0 {
            if !self.known.has_first {
                let at = self.block_at(reader, 0).await?;
                reader.read(at, self.first).await.map_err(Error::Source)?;
                self.known.has_first = true;
            }
            bytes.copy_from_slice(&self.first[place..place + CharRecord::LEN]);
        } else {
            let at = match self.known.found {
                Some((found, at)) if found == key => at,
                _ => self.block_at(reader, key).await?,
            };
            self.known.found = Some((key, at));
            reader.read(at + place as u64, &mut bytes).await.map_err(Error::Source)?;
        }
        Ok(CharRecord::parse(bytes))
    }

    /// The offset of a block in the file.
    async fn block_at<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        key: u32,
    ) -> Result<u64, Error<S::Error>> {
        let mut number = [0; 2];
        reader.read(self.tokenizer.offset + INDEX_AT + 2 * u64::from(key), &mut number).await.map_err(Error::Source)?;
        let number = u16::from_le_bytes(number);
        in_range("block of a character", number.into(), 0, u64::from(self.header.blocks) - 1)?;
        Ok(self.tokenizer.offset + BLOCKS_AT + u64::from(number) * SECTOR_LEN as u64)
    }

    /// A record of a spelling.
    async fn spelling<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        place: u32,
    ) -> Result<CharRecord, Error<S::Error>> {
        let count = self.header.spellings;
        if place >= count {
            let (field, value) = ("place of a spelling", place.into());
            return Err(FormatError::OutOfRange { field, value, min: 0, max: count.saturating_sub(1).into() }.into());
        }
        let mut bytes = [0; CharRecord::LEN];
        let at = self.tokenizer.offset + self.header.spellings_at() + u64::from(place) * CharRecord::LEN as u64;
        reader.read(at, &mut bytes).await.map_err(Error::Source)?;
        Ok(CharRecord::parse(bytes))
    }
}
