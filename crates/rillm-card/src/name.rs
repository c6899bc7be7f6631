//! Names of files: 8.3 and long ones.

use core::fmt::{self, Write};

use crate::volume::u16_at;

/// A name, as a directory has it: UTF-16, printed with a replacement character for what is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    units: &'a [u16],
}

impl Name<'_> {
    /// Upper and lower case of A to Z are the same.
    pub(crate) fn is(&self, name: &str) -> bool {
        let fold = |unit: u16| if (0x41..=0x5a).contains(&unit) { unit + 0x20 } else { unit };
        self.units.iter().copied().map(fold).eq(name.encode_utf16().map(fold))
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
        char::decode_utf16(self.units.iter().copied())
            .try_for_each(|c| f.write_char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
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
            // What lies above ASCII depends on a code page that nobody notes.
            self.units[self.len] = match byte {
                byte if !byte.is_ascii() => char::REPLACEMENT_CHARACTER as u16,
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
