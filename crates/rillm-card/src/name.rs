//! Names of files: 8.3 and long ones.

use core::fmt::{self, Write};

use crate::volume::u16_at;

/// A name, as a directory has it: UTF-16, printed with a replacement character for what is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    units: &'a [u16],
}

impl Name<'_> {
    fn chars(&self) -> impl Iterator<Item = char> {
        char::decode_utf16(self.units.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Upper and lower case are the same, and a replacement character is what is printed as one.
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

/// The lower case of a letter, and anything else as it is.
///
/// Systems that write FAT compare names by tables of all of Unicode's lower basic plane, of 12 KB in `core`. These ranges are
/// those of Europe's alphabets, where the cases lie a constant apart or next to each other; every other letter is compared
/// as it is written.
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

/// What a file is called.
pub(crate) struct Names<'a> {
    pub long: Option<Name<'a>>,
    pub short: Name<'a>,
}

impl<'a> Names<'a> {
    pub fn is(&self, name: &str) -> bool {
        self.short.is(name) || self.long.is_some_and(|long| long.is(name))
    }

    /// The long name ends in `.rillm`; without one the short name ends in what is left of that. What macOS writes beside a
    /// file, `._name.rillm`, is no model.
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
        // Windows marks a part that is all in lower case here instead of writing a long name.
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
            // What lies above ASCII depends on a code page that nobody notes; 5 is its 0xe5, which marks a deleted file.
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

    /// What the pieces of the long name carry if they belong to this one.
    pub fn checksum(&self) -> u8 {
        self.checksum
    }
}

/// Units of a long name in one entry.
const PIECE: usize = 13;
/// Pieces of a long name.
const PIECES: u8 = 20;

/// A long name, put together from the entries before the file's own: the last piece comes first.
pub(crate) struct LongName {
    units: [u16; PIECE * PIECES as usize],
    len: usize,
    /// The piece that was read last; nothing, or nonsense, has been read where it is none. Piece 1 completes the name.
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

    /// The name, if all of it came and it belongs to a short one of this checksum.
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
