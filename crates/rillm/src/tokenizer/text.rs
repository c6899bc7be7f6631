//! The text in the vocabulary's spelling.

use super::layout::SPACE_MARK;

/// The rest of a text, with U+2581 in place of every space and possibly one more before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// Whether a U+2581 stands before `rest`.
    pub prefix: bool,
    /// The rest of the text as given.
    pub rest: &'a str,
    /// For byte merging: the number of bytes already consumed of the first character of `rest`, or of the normal form
    /// of several characters.
    pub taken: u8,
}

impl<'a> Text<'a> {
    pub const EMPTY: Self = Self { prefix: false, rest: "", taken: 0 };

    pub fn is_empty(&self) -> bool {
        !self.prefix && self.rest.is_empty()
    }

    /// The first character in the vocabulary's spelling.
    pub fn peek(&self) -> Option<char> {
        if self.prefix {
            return Some(SPACE_MARK);
        }
        self.rest.chars().next().map(|c| if c == ' ' { SPACE_MARK } else { c })
    }

    /// The first character as given; a space for the prefix before `rest`.
    pub fn first(&self) -> Option<char> {
        if self.prefix { Some(' ') } else { self.rest.chars().next() }
    }

    /// The text without its first character.
    pub fn skip(self) -> Self {
        if self.prefix {
            return Self { prefix: false, ..self };
        }
        let mut chars = self.rest.chars();
        chars.next();
        Self { prefix: false, rest: chars.as_str(), taken: 0 }
    }

    /// The text before `end`, which is a later rest of this text.
    pub fn until(self, end: Self) -> Self {
        let rest = &self.rest[..self.rest.len().saturating_sub(end.rest.len())];
        Self { prefix: self.prefix && !end.prefix, rest, ..self }
    }
}
