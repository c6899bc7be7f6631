//! File names: 8.3 names and long names.

use core::fmt::{self, Write};

use crate::volume::u16_at;

/// A file name in UTF-16, as in the directory. Invalid UTF-16 is printed as a replacement character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    units: &'a [u16],
}

impl Name<'_> {
    fn chars(&self) -> impl Iterator<Item = char> {
        char::decode_utf16(self.units.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Compares the name, ignoring case. Invalid UTF-16 equals a replacement character.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.chars().map(fold).eq(name.chars().map(fold))
    }

    fn ends_with(&self, end: &str) -> bool {
        let at = self.units.len().checked_sub(end.len());
        at.is_some_and(|at| Name { units: &self.units[at..] }.is(end))
    }

    fn starts_with(&self, start: &str) -> bool {
        self.units.get(..start.len()).is_some_and(|units| Name { units }.is(start))
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|c| f.write_char(c))
    }
}

/// The lower case of a letter; anything else unchanged.
///
/// Operating systems compare names by tables of Unicode's Basic Multilingual Plane, which take 12 KB in `core`. These
/// ranges cover the alphabets of Europe, where upper and lower case differ by a constant or are adjacent. Every other
/// letter is compared as it is.
fn fold(c: char) -> char {
    let distance = match c {
        'A'..='Z'
        | '\u{c0}'..='\u{d6}'
        | '\u{d8}'..='\u{de}'
        | '\u{391}'..='\u{3a1}'
        | '\u{3a3}'..='\u{3ab}'
        | '\u{410}'..='\u{42f}' => 0x20,
        '\u{386}' => 0x26,
        '\u{388}'..='\u{38a}' => 0x25,
        '\u{38c}' => 0x40,
        '\u{38e}' | '\u{38f}' => 0x3f,
        '\u{400}'..='\u{40f}' => 0x50,
        '\u{531}'..='\u{556}' => 0x30,
        // Latin Extended-A and Cyrillic: the capital letter is the even one, or the odd one.
        '\u{100}'..='\u{12f}'
        | '\u{132}'..='\u{137}'
        | '\u{14a}'..='\u{177}'
        | '\u{460}'..='\u{481}'
        | '\u{48a}'..='\u{4bf}'
        | '\u{4d0}'..='\u{52f}' => !(c as u32) & 1,
        '\u{139}'..='\u{148}' | '\u{179}'..='\u{17e}' | '\u{4c1}'..='\u{4ce}' => c as u32 & 1,
        _ => 0,
    };
    char::from_u32(c as u32 + distance).unwrap_or(c)
}

/// A file's long and short names.
pub(crate) struct Names<'a> {
    pub long: Option<Name<'a>>,
    pub short: Name<'a>,
}

impl<'a> Names<'a> {
    pub fn is(&self, name: &str) -> bool {
        self.short.is(name) || self.long.is_some_and(|long| long.is(name))
    }

    /// Whether the long name ends in `.rillm`, or, without a long name, the short name ends in `.RIL`. The files
    /// `._name.rillm` that macOS writes are no models.
    pub fn is_model(&self) -> bool {
        match self.long {
            Some(long) => long.ends_with(".rillm") && !long.starts_with("._"),
            None => self.short.ends_with(".ril"),
        }
    }

    pub fn best(&self) -> Name<'a> {
        self.long.unwrap_or(self.short)
    }
}

/// An 8.3 name.
pub(crate) struct ShortName {
    units: [u16; 12],
    len: usize,
    checksum: u8,
}

impl ShortName {
    /// The name in a directory's entry of 32 bytes.
    pub fn new(entry: &[u8; 32]) -> Self {
        let (base, extension) = entry[..11].split_at(8);
        let checksum = entry[..11].iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        let mut name = Self { units: [0; 12], len: 0, checksum };
        // Windows marks a part in lower case by a flag instead of a long name.
        name.push(base, entry[12] & 0x08 != 0);
        if extension.iter().any(|&byte| byte != b' ') {
            name.push(b".", false);
            name.push(extension, entry[12] & 0x10 != 0);
        }
        name
    }

    /// Appends a part, at most 12 bytes in all.
    fn push(&mut self, part: &[u8], lower_case: bool) {
        for &byte in part.trim_ascii_end() {
            // Bytes above ASCII depend on an unknown code page. A first byte of 5 stands for 0xe5, which marks a
            // deleted file.
            self.units[self.len] = match byte {
                byte if !byte.is_ascii() || byte == 5 => char::REPLACEMENT_CHARACTER as u16,
                byte if lower_case => byte.to_ascii_lowercase().into(),
                byte => byte.into(),
            };
            self.len += 1;
        }
    }

    pub fn name(&self) -> Name<'_> {
        Name { units: &self.units[..self.len] }
    }

    /// The checksum that the entries of the long name contain.
    pub fn checksum(&self) -> u8 {
        self.checksum
    }
}

/// UTF-16 units of a long name in one entry.
const PIECE: usize = 13;
/// Most pieces of a long name.
const PIECES: u8 = 20;

/// A long name, assembled from the entries before the file's own. The last piece comes first.
pub(crate) struct LongName {
    units: [u16; PIECE * PIECES as usize],
    len: usize,
    /// The piece that was read last; `None` before the first valid piece. Piece 1 completes the name.
    piece: Option<u8>,
    checksum: u8,
}

impl LongName {
    pub fn new() -> Self {
        Self { units: [0; _], len: 0, piece: None, checksum: 0 }
    }

    pub fn clear(&mut self) {
        self.piece = None;
    }

    /// Takes a piece.
    pub fn push(&mut self, entry: &[u8; 32]) {
        const LAST: u8 = 0x40;
        let (piece, checksum) = (entry[0] & 0x3f, entry[13]);
        let is_last = entry[0] & LAST != 0;
        let follows = is_last || (self.piece == piece.checked_add(1) && self.checksum == checksum);
        if !(1..=PIECES).contains(&piece) || !follows {
            self.clear();
            return;
        }
        (self.piece, self.checksum) = (Some(piece), checksum);
        let end = usize::from(piece) * PIECE;
        let places = [1..11, 14..26, 28..32].into_iter().flat_map(|bytes| bytes.step_by(2));
        let units = &mut self.units[end - PIECE..end];
        for (unit, at) in units.iter_mut().zip(places) {
            *unit = u16_at(entry, at);
        }
        if is_last {
            // A zero ends the name, unless the piece is full.
            self.len = end - PIECE + units.iter().position(|&unit| unit == 0).unwrap_or(PIECE);
        }
    }

    /// The name, if it is complete and belongs to the short name with this checksum.
    pub fn of(&self, checksum: u8) -> Option<Name<'_>> {
        let complete = self.piece == Some(1) && self.checksum == checksum;
        complete.then_some(Name { units: &self.units[..self.len] })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;

    use super::fold;

    #[test]
    fn letters_are_folded_as_unicode_has_them_or_not_at_all() {
        let mut folded = 0;
        for c in (0..0x11_0000).filter_map(char::from_u32) {
            if fold(c) != c {
                assert!(c.to_lowercase().eq([fold(c)]), "{c} {:04x}", c as u32);
                folded += 1;
            }
        }
        // Every capital of these blocks but two, whose partners lie elsewhere.
        let left: String = ('\u{80}'..'\u{17f}')
            .chain('\u{391}'..='\u{3ab}')
            .chain('\u{400}'..='\u{556}')
            .filter(|&c| c.to_lowercase().len() == 1 && !c.to_lowercase().eq([c]) && fold(c) == c)
            .collect();
        assert_eq!(left, "\u{178}\u{4c0}");
        assert!(folded > 300, "{folded}");
    }
}
