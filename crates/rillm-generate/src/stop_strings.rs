//! Stop strings, found in a text that arrives in pieces.

use core::fmt;

/// Largest number of stop strings.
pub const MOST_STOP_STRINGS: usize = 4;
/// Longest stop string in bytes.
pub const LONGEST_STOP_STRING: usize = 64;

/// Why stop strings were rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StopError {
    /// A string is empty.
    Empty,
    /// A string is longer than [`LONGEST_STOP_STRING`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// There are more than [`MOST_STOP_STRINGS`] strings.
    TooMany {
        /// Number of strings.
        count: usize,
    },
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a stop string is empty; give it a character"),
            Self::TooLong { len } => {
                write!(f, "a stop string has {len} bytes and may have {LONGEST_STOP_STRING}; give the beginning of it")
            }
            Self::TooMany { count } => {
                write!(f, "there are {count} stop strings and may be {MOST_STOP_STRINGS}; give the likeliest ones")
            }
        }
    }
}

impl core::error::Error for StopError {}

/// A filter between a text and its output. It passes on the text that certainly lies before a stop string, and nothing
/// after one.
///
/// The first complete stop string ends the text. If several are complete at once, the longest one counts.
#[derive(Clone, Debug, Default)]
pub struct StopStrings<'s> {
    strings: &'s [&'s str],
    /// For each string, the length of its longest prefix that the text so far ends with.
    matched: [usize; MOST_STOP_STRINGS],
    found: bool,
}

impl<'s> StopStrings<'s> {
    /// A filter for these strings. Without strings, the default, all text passes at once.
    ///
    /// # Errors
    /// A string is empty or too long, or there are too many.
    pub fn new(strings: &'s [&'s str]) -> Result<Self, StopError> {
        if strings.len() > MOST_STOP_STRINGS {
            return Err(StopError::TooMany { count: strings.len() });
        }
        for string in strings {
            match string.len() {
                0 => return Err(StopError::Empty),
                len if len > LONGEST_STOP_STRING => return Err(StopError::TooLong { len }),
                _ => {}
            }
        }
        Ok(Self { strings, ..Self::default() })
    }

    /// Takes the next pieces of the text. Returns text that was held back and is final now, and the number of final
    /// bytes of the pieces.
    pub(crate) fn push<'a>(&mut self, pieces: impl Iterator<Item = &'a str>) -> (&'s str, usize) {
        if self.found {
            return ("", 0);
        }
        let held = self.held();
        let mut len = held.len();
        let mut certain = None;
        for byte in pieces.flat_map(str::bytes) {
            len += 1;
            for (string, matched) in self.strings.iter().zip(&mut self.matched) {
                *matched = advance(string.as_bytes(), *matched, byte);
            }
            let complete = self.strings.iter().zip(self.matched).filter(|(string, matched)| string.len() == *matched);
            certain = complete.map(|(string, _)| len - string.len()).min();
            self.found = certain.is_some();
            if self.found {
                break;
            }
        }
        // Text and strings consist of whole characters, so all these offsets are character boundaries.
        let certain = certain.unwrap_or_else(|| len - self.held().len());
        (&held[..certain.min(held.len())], certain.saturating_sub(held.len()))
    }

    /// Ends the text. Returns what was held back, unless a stop string was found.
    pub(crate) fn finish(&mut self) -> &'s str {
        let held = if self.found { "" } else { self.held() };
        self.matched = [0; MOST_STOP_STRINGS];
        held
    }

    /// Whether a stop string has ended the text.
    pub(crate) fn found(&self) -> bool {
        self.found
    }

    /// The end of the text so far that may start a stop string.
    fn held(&self) -> &'s str {
        let longest = self.strings.iter().zip(self.matched).max_by_key(|(_, matched)| *matched);
        longest.map_or("", |(string, matched)| &string[..matched])
    }
}

/// The length of the longest prefix of `string` that a text ends with after `byte`, if it was `matched` before. Is not
/// called after a complete match.
fn advance(string: &[u8], matched: usize, byte: u8) -> usize {
    let fits = |len: &usize| string[len - 1] == byte && string[..len - 1] == string[matched + 1 - len..matched];
    (1..=matched + 1).rev().find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use core::ops::RangeInclusive;

    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// The text that passes, the text that `finish` returns, and whether a stop string was found.
    fn through(strings: &[&str], pieces: &[&str]) -> (String, String, bool) {
        let mut stops = StopStrings::new(strings).unwrap();
        let mut text = String::new();
        for piece in pieces {
            let (held, len) = stops.push([*piece].into_iter());
            text.extend([held, &piece[..len]]);
        }
        let before = text.clone();
        text.push_str(stops.finish());
        assert_eq!(stops.finish(), "");
        (text, before, stops.found())
    }

    #[test]
    fn a_stop_string_ends_the_text_before_it() {
        for (strings, pieces, expected) in [
            (&["User:"][..], &["Hello ", "Us", "er", ": what", " else"][..], ("Hello ", true)),
            (&["User:"], &["Hello ", "Use", "less"], ("Hello Useless", false)),
            (&["User:"], &["Hello Us"], ("Hello Us", false)),
            (&["aab"], &["a", "a", "a", "a", "b"], ("aa", true)),
            (&["abac"], &["ab", "ababac"], ("abab", true)),
            (&["b", "abc"], &["xa", "bc"], ("xa", true)),
            (&["User:", "\nUser:"], &["Hi\n", "User:"], ("Hi", true)),
            (&["狐狸", "狸"], &["小狐", "犬狐狸"], ("小狐犬", true)),
            // Both characters begin with the same byte.
            (&["è"], &["é", "è"], ("é", true)),
            (&[], &["anything"], ("anything", false)),
        ] {
            let (text, _, found) = through(strings, pieces);
            assert_eq!((&text[..], found), expected, "{strings:?} {pieces:?}");
        }
    }

    #[test]
    fn no_more_is_held_back_than_may_begin_a_stop_string() {
        let before = |strings: &[&str], pieces: &[&str]| through(strings, pieces).1;
        assert_eq!(before(&["User:"], &["Hello Us"]), "Hello ");
        assert_eq!(before(&["User:"], &["Hello Us", "u"]), "Hello Usu");
        assert_eq!(before(&["aab", "ba"], &["xaa", "a"]), "xa");
    }

    #[test]
    fn what_is_refused() {
        let long = "x".repeat(LONGEST_STOP_STRING + 1);
        assert_eq!(StopStrings::new(&[&long]).unwrap_err(), StopError::TooLong { len: LONGEST_STOP_STRING + 1 });
        assert_eq!(StopStrings::new(&["a", ""]).unwrap_err(), StopError::Empty);
        assert_eq!(
            StopStrings::new(&["a"; MOST_STOP_STRINGS + 1]).unwrap_err(),
            StopError::TooMany { count: MOST_STOP_STRINGS + 1 }
        );
        assert!(StopStrings::new(&[&long[1..]; MOST_STOP_STRINGS]).is_ok());
    }

    /// The same by definition: looks at every prefix of the text.
    fn by_definition(strings: &[&str], text: &str) -> (String, bool) {
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let complete = strings.iter().filter(|string| text[..end].ends_with(**string));
            if let Some(longest) = complete.map(|string| string.len()).max() {
                return (text[..end - longest].into(), true);
            }
        }
        (text.into(), false)
    }

    /// Any text of these characters. (A regex strategy would be parsed anew for each case.)
    fn text(chars: &str, len: RangeInclusive<usize>) -> impl Strategy<Value = String> {
        let chars: Vec<char> = chars.chars().collect();
        prop::collection::vec(prop::sample::select(chars), len).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 30_000, ..ProptestConfig::default() })]

        #[test]
        fn any_text_in_any_pieces(
            strings in prop::collection::vec(text("abé狐", 1..=4), 0..=MOST_STOP_STRINGS),
            pieces in prop::collection::vec(text("abé狐è", 0..=6), 0..8),
        ) {
            let strings: Vec<&str> = strings.iter().map(String::as_str).collect();
            let whole: String = pieces.concat();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (text, before, found) = through(&strings, &pieces);
            prop_assert_eq!((text.clone(), found), by_definition(&strings, &whole));
            // The held-back text may start a stop string.
            let held = &text[before.len()..];
            prop_assert!(held.is_empty() || strings.iter().any(|string| string.starts_with(held)));
        }
    }
}
