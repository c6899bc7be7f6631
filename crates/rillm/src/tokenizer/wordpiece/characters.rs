//! A text as the vocabulary spells it: one character after the other, with what the file makes of each.

use super::Tables;
use crate::counted::SectorReader;
use crate::error::Error;
use crate::format::{FormatError, in_range};
use crate::source::{SECTOR_LEN, WeightSource};
use crate::tokenizer::layout::wordpiece::{
    BLOCK_CHARS, BLOCKS_AT, CharKind, CharRecord, INDEX_AT, INDEX_ENTRIES, MAX_SPELLING,
};

const HANGUL: u32 = 0xac00;
const HANGUL_LEADING: u32 = 0x1100;
const HANGUL_VOWEL: u32 = 0x1161;
/// One before the first, which stands for none.
const HANGUL_TRAILING: u32 = 0x11a7;
const HANGUL_VOWELS: u32 = 21;
const HANGUL_TRAILINGS: u32 = 28;
const HANGUL_SYLLABLES: u32 = 19 * HANGUL_VOWELS * HANGUL_TRAILINGS;

/// A character of the text as the vocabulary spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A part of a word, with its canonical combining class.
    Letter(char, u8),
    /// A word by itself.
    Punctuation(char),
    /// Between words.
    Space(char),
    /// Letters are not put in order across this place.
    Barrier,
}

impl Unit {
    /// The character. A barrier has none.
    pub fn char(self) -> Option<char> {
        match self {
            Self::Letter(c, _) | Self::Punctuation(c) | Self::Space(c) => Some(c),
            Self::Barrier => None,
        }
    }
}

/// What is left of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Characters<'a> {
    /// The rest of what a character became, the last one first.
    queue: [Unit; MAX_SPELLING],
    queued: usize,
    /// The text as it was given.
    rest: &'a str,
}

impl<'a> Characters<'a> {
    pub fn new(rest: &'a str) -> Self {
        Self { queue: [Unit::Barrier; MAX_SPELLING], queued: 0, rest }
    }

    pub fn is_empty(&self) -> bool {
        self.queued == 0 && self.rest.is_empty()
    }

    /// Takes the next unit. Letters come in the order of the text, with the classes to put them in order by.
    pub async fn next<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        tables: &mut Tables<'_>,
    ) -> Result<Option<Unit>, Error<S::Error>> {
        loop {
            if self.queued > 0 {
                self.queued -= 1;
                return Ok(Some(self.queue[self.queued]));
            }
            let mut chars = self.rest.chars();
            let Some(c) = chars.next() else { return Ok(None) };
            let record = tables.record(reader, c).await?;
            match record.kind() {
                CharKind::Dropped => {}
                CharKind::Ideograph => self.push([Unit::Space(' '), letter(record, c)?, Unit::Space(' ')]),
                CharKind::Spelled => {
                    let len = usize::from(record.class());
                    in_range("length of a spelling", len as u64, 1, MAX_SPELLING as u64)?;
                    for place in (0..len as u32).rev() {
                        let part = tables.spelling(reader, record.value() + place).await?;
                        self.push([unit(part, '\0')?]);
                    }
                }
                CharKind::Hangul => {
                    let syllable = u32::from(c).wrapping_sub(HANGUL);
                    in_range("Hangul syllable", syllable.into(), 0, u64::from(HANGUL_SYLLABLES) - 1)?;
                    let trailing = syllable % HANGUL_TRAILINGS;
                    if trailing > 0 {
                        self.push([Unit::Letter(to_char(HANGUL_TRAILING + trailing)?, 0)]);
                    }
                    let vowel = syllable / HANGUL_TRAILINGS % HANGUL_VOWELS;
                    let leading = syllable / HANGUL_TRAILINGS / HANGUL_VOWELS;
                    self.push([
                        Unit::Letter(to_char(HANGUL_VOWEL + vowel)?, 0),
                        Unit::Letter(to_char(HANGUL_LEADING + leading)?, 0),
                    ]);
                }
                _ => self.push([unit(record, c)?]),
            }
            self.rest = chars.as_str();
        }
    }

    /// Puts units before the rest, the last one first. A character becomes [`MAX_SPELLING`] at most.
    fn push<const N: usize>(&mut self, units: [Unit; N]) {
        self.queue[self.queued..self.queued + N].copy_from_slice(&units);
        self.queued += N;
    }
}

/// The unit of a record that stands for one.
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

fn to_char(value: u32) -> Result<char, FormatError> {
    char::from_u32(value).ok_or(FormatError::Unknown { field: "character of the tokenizer section", value })
}

impl Tables<'_> {
    /// What becomes of a character. The first block is kept in memory.
    async fn record<S: WeightSource>(
        &mut self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<CharRecord, Error<S::Error>> {
        let (key, place) = (u32::from(c) / BLOCK_CHARS, (u32::from(c) % BLOCK_CHARS) as usize * CharRecord::LEN);
        let mut bytes = [0; CharRecord::LEN];
        if key == 0 {
            if !self.has_first {
                let at = self.block_at(reader, 0).await?;
                reader.read(at, self.first).await.map_err(Error::Source)?;
                self.has_first = true;
            }
            bytes.copy_from_slice(&self.first[place..place + CharRecord::LEN]);
        } else {
            let at = match self.found {
                Some((found, at)) if found == key => at,
                _ => self.block_at(reader, key).await?,
            };
            self.found = Some((key, at));
            reader.read(at + place as u64, &mut bytes).await.map_err(Error::Source)?;
        }
        Ok(CharRecord::parse(bytes))
    }

    /// Where a block starts in the file.
    async fn block_at<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        key: u32,
    ) -> Result<u64, Error<S::Error>> {
        debug_assert!(key < INDEX_ENTRIES);
        let mut number = [0; 2];
        reader.read(self.offset + INDEX_AT + 2 * u64::from(key), &mut number).await.map_err(Error::Source)?;
        let number = u16::from_le_bytes(number);
        in_range("block of a character", number.into(), 0, u64::from(self.header.blocks) - 1)?;
        Ok(self.offset + BLOCKS_AT + u64::from(number) * SECTOR_LEN as u64)
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
        let at = self.offset + self.header.spellings_at() + u64::from(place) * CharRecord::LEN as u64;
        reader.read(at, &mut bytes).await.map_err(Error::Source)?;
        Ok(CharRecord::parse(bytes))
    }
}
