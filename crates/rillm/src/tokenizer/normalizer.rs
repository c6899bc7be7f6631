//! Normalization form C, for a few characters at a time.

use super::Tokenizer;
use super::layout::{ByteLevelHeader, NormalizerEntry, TableHeader};
use super::unicode::is_normal_start;
use crate::error::Error;
use crate::format::{FormatError, in_range};
use crate::source::SectorReader;
use crate::source::WeightSource;

/// Maximum number of decomposed characters that are ordered and composed together.
const MARKS: usize = 32;
/// Maximum number of characters of a canonical decomposition, and of its steps.
const PARTS: usize = 4;
const STEPS: u64 = 8;

// Hangul syllables are composed arithmetically.
const S: u32 = 0xac00;
const L: u32 = 0x1100;
const V: u32 = 0x1161;
const T: u32 = 0x11a7;
const L_COUNT: u32 = 19;
const V_COUNT: u32 = 21;
const T_COUNT: u32 = 28;

/// A character and its canonical combining class.
#[derive(Clone, Copy)]
struct Mark {
    c: char,
    class: u8,
}

/// The normal form of a group: a character and the following ones that may interact with it. A group has at most 28
/// following characters; further ones form their own group.
pub(super) struct Normalizer {
    /// The length of the text from the group on, in bytes; 0 for no group.
    at: usize,
    /// Length of the group in the given text, in bytes.
    source_len: usize,
    bytes: [u8; 4 * MARKS],
    len: usize,
}

impl Normalizer {
    pub const NONE: Self = Self { at: 0, source_len: 0, bytes: [0; 4 * MARKS], len: 0 };

    /// Normalises the group at the start of `text`, unless it was the last one normalised. Returns the normal form and
    /// the number of bytes of `text` that it covers; `None` if the first character is unchanged.
    pub async fn of<S: WeightSource>(
        &mut self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        header: &ByteLevelHeader,
        text: &str,
    ) -> Result<Option<(&str, usize)>, Error<S::Error>> {
        let mut chars = text.chars();
        let starts = |c: Option<char>| c.is_none_or(is_normal_start);
        let Some(table) = header.normal.filter(|_| !(starts(chars.next()) && starts(chars.next()))) else {
            return Ok(None);
        };
        if self.at != text.len() {
            self.at = 0;
            self.read(tokenizer, reader, Forms { at: header.normal_at(), table }, text).await?;
            self.at = text.len();
        }
        let form = core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default();
        Ok(Some((form, self.source_len)))
    }

    async fn read<S: WeightSource>(
        &mut self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        forms: Forms,
        text: &str,
    ) -> Result<(), Error<S::Error>> {
        let mut marks = [Mark { c: '\0', class: 0 }; MARKS];
        let mut len = 0;
        self.source_len = 0;
        for c in text.chars() {
            if self.source_len > 0 && (is_normal_start(c) || len + PARTS > MARKS) {
                break;
            }
            len += forms.decompose(tokenizer, reader, c, &mut marks[len..]).await?;
            self.source_len += c.len_utf8();
        }
        order(&mut marks[..len]);
        let len = forms.compose(tokenizer, reader, &mut marks[..len]).await?;
        self.len = 0;
        for mark in &marks[..len] {
            self.len += mark.c.encode_utf8(&mut self.bytes[self.len..]).len();
        }
        Ok(())
    }
}

/// The table of normal forms: the offset of its buckets in the section, and their number.
#[derive(Clone, Copy)]
struct Forms {
    at: u64,
    table: TableHeader,
}

impl Forms {
    /// Writes the canonical decomposition of a character to `out` and returns its number of characters.
    async fn decompose<S: WeightSource>(
        self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        c: char,
        out: &mut [Mark],
    ) -> Result<usize, Error<S::Error>> {
        let mut stack = [c; PARTS];
        let (mut depth, mut len) = (1_usize, 0);
        for steps in 1.. {
            let Some(top) = depth.checked_sub(1) else { break };
            in_range("steps of a canonical decomposition", steps, 1, STEPS)?;
            depth = top;
            let (class, [first, second]) = self.parts(tokenizer, reader, stack[top]).await?;
            let Some(first) = first else {
                in_range("length of a canonical decomposition", len as u64 + 1, 1, PARTS.min(out.len()) as u64)?;
                out[len] = Mark { c: stack[top], class };
                len += 1;
                continue;
            };
            for part in [second, Some(first)].into_iter().flatten() {
                in_range("length of a canonical decomposition", depth as u64 + 1, 1, PARTS as u64)?;
                stack[depth] = part;
                depth += 1;
            }
        }
        Ok(len)
    }

    /// The combining class of a character, and its decomposition in one step.
    async fn parts<S: WeightSource>(
        self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<(u8, [Option<char>; 2]), Error<S::Error>> {
        let code_point = u32::from(c);
        if code_point < 0xc0 {
            return Ok((0, [None; 2]));
        }
        if let Some(syllable) = code_point.checked_sub(S).filter(|&syllable| syllable < L_COUNT * V_COUNT * T_COUNT) {
            let (lv, t) = (syllable / T_COUNT, syllable % T_COUNT);
            let parts = match t {
                0 => [L + lv / V_COUNT, V + lv % V_COUNT],
                _ => [S + lv * T_COUNT, T + t],
            };
            return Ok((0, parts.map(char::from_u32)));
        }
        let is_it =
            |entry: &NormalizerEntry| matches!(entry, NormalizerEntry::Char { code_point: c, .. } if *c == code_point);
        let hash = NormalizerEntry::char_hash(code_point);
        match tokenizer.find(reader, self.at, self.table, hash, is_it).await? {
            Some(NormalizerEntry::Char { class, parts, .. }) => {
                let mut found = [None; 2];
                for (slot, part) in found.iter_mut().zip(parts) {
                    if part != 0 {
                        *slot = Some(character("part of a canonical decomposition", part)?);
                    }
                }
                Ok((class, found))
            }
            _ => Ok((0, [None; 2])),
        }
    }

    /// Composes decomposed and ordered characters in place and returns their number.
    async fn compose<S: WeightSource>(
        self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        marks: &mut [Mark],
    ) -> Result<usize, Error<S::Error>> {
        let (mut len, mut starter) = (0, None);
        for place in 0..marks.len() {
            let mark = marks[place];
            if let Some(starter) = starter {
                // A mark of the same class, or a starter, separates it from its starter.
                let is_free = starter + 1 == len || marks[len - 1].class < mark.class;
                let starter: &mut Mark = &mut marks[starter];
                if is_free && let Some(c) = self.pair(tokenizer, reader, starter.c, mark.c).await? {
                    starter.c = c;
                    continue;
                }
            }
            if mark.class == 0 {
                starter = Some(len);
            }
            marks[len] = mark;
            len += 1;
        }
        Ok(len)
    }

    /// The composition of two characters.
    async fn pair<S: WeightSource>(
        self,
        tokenizer: &Tokenizer,
        reader: &mut SectorReader<'_, S>,
        first: char,
        second: char,
    ) -> Result<Option<char>, Error<S::Error>> {
        if is_normal_start(second) {
            return Ok(None);
        }
        let (first, second) = (u32::from(first), u32::from(second));
        if (L..L + L_COUNT).contains(&first) && (V..V + V_COUNT).contains(&second) {
            return Ok(char::from_u32(S + ((first - L) * V_COUNT + second - V) * T_COUNT));
        }
        let is_lv = (S..S + L_COUNT * V_COUNT * T_COUNT).contains(&first) && (first - S).is_multiple_of(T_COUNT);
        if is_lv && (T + 1..T + T_COUNT).contains(&second) {
            return Ok(char::from_u32(first + second - T));
        }
        let is_it = |entry: &NormalizerEntry| matches!(entry, NormalizerEntry::Pair { first: a, second: b, .. } if (*a, *b) == (first, second));
        let hash = NormalizerEntry::pair_hash(first, second);
        match tokenizer.find(reader, self.at, self.table, hash, is_it).await? {
            Some(NormalizerEntry::Pair { composed, .. }) => Ok(Some(character("character composed of two", composed)?)),
            _ => Ok(None),
        }
    }
}

/// Puts marks between starters into canonical order: a stable sort by class.
fn order(marks: &mut [Mark]) {
    for end in 1..marks.len() {
        for place in (1..=end).rev() {
            if marks[place].class == 0 || marks[place - 1].class <= marks[place].class {
                break;
            }
            marks.swap(place - 1, place);
        }
    }
}

/// The character with this number in the table.
fn character(field: &'static str, value: u32) -> Result<char, FormatError> {
    char::from_u32(value).ok_or(FormatError::Unknown { field, value })
}
