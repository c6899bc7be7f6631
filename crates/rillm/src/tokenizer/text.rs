//! The text as the vocabulary spells it.

use super::layout::SPACE_MARK;

/// What is left of a text, seen with U+2581 for every space and perhaps one more before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// A U+2581 stands before `rest`.
    pub prefix: bool,
    /// The text as it was given.
    pub rest: &'a str,
    /// Bytes of what `rest` starts with that are taken already, where bytes are merged: of a character, or of the
    /// normal form of several.
    pub taken: u8,
}

impl<'a> Text<'a> {
    pub const EMPTY: Self = Self { prefix: false, rest: "", taken: 0 };

    pub fn is_empty(&self) -> bool {
        !self.prefix && self.rest.is_empty()
    }

    /// The first character as the vocabulary has it.
    pub fn peek(&self) -> Option<char> {
        if self.prefix {
            return Some(SPACE_MARK);
        }
        self.rest.chars().next().map(|c| if c == ' ' { SPACE_MARK } else { c })
    }

    /// The first character as it was given, a space of the one that stands before `rest`.
    pub fn first(&self) -> Option<char> {
        if self.prefix { Some(' ') } else { self.rest.chars().next() }
    }

    /// Without the first character.
    pub fn skip(self) -> Self {
        if self.prefix {
            return Self { prefix: false, ..self };
        }
        let mut chars = self.rest.chars();
        chars.next();
        Self { prefix: false, rest: chars.as_str(), taken: 0 }
    }

    /// What stands before `end`, which is what is left of this text further on.
    pub fn until(self, end: Self) -> Self {
        let rest = &self.rest[..self.rest.len().saturating_sub(end.rest.len())];
        Self { prefix: self.prefix && !end.prefix, rest, ..self }
    }
}
