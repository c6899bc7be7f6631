//! The engine's Unicode data, so that nothing depends on the Unicode version of the standard library.

#[rustfmt::skip]
mod tables;

/// The class of a character in the patterns that split text into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// General category L.
    Letter,
    /// General category N.
    Numeral,
    /// Carriage return and line feed.
    LineBreak,
    /// Other white space.
    Space,
    /// Anything else.
    Other,
    /// The end of the text.
    End,
}

/// The class of a character.
pub(super) fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Numeral,
        '\r' | '\n' => Class::LineBreak,
        ' ' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{a0}' | '\u{1680}' => Class::Space,
        '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Class::Space,
        '\0'..'\u{80}' => Class::Other,
        _ => match find(&tables::LETTERS_AND_NUMERALS, c) {
            Some(true) => Class::Numeral,
            Some(false) => Class::Letter,
            None => Class::Other,
        },
    }
}

/// Whether normalization form C leaves a character and the text before it unchanged. It may change them if the
/// character's combining class is not 0, if it may compose with the text before it, or if it never occurs in this form.
pub(super) fn is_normal_start(c: char) -> bool {
    c < '\u{300}' || find(&tables::NOT_NORMAL, c).is_none()
}

/// The mark of the range that contains a character. A range has its first character in the upper 21 bits, the number of
/// further characters in the next 10, and a mark in the last bit.
fn find(ranges: &[u32], c: char) -> Option<bool> {
    let after = ranges.partition_point(|range| range >> 11 <= u32::from(c));
    let range = *ranges.get(after.checked_sub(1)?)?;
    (u32::from(c) - (range >> 11) <= range >> 1 & 0x3ff).then_some(range & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, println};
    use unicode_normalization_alignments::{IsNormalized, char::canonical_combining_class, is_nfc_quick};

    fn characters() -> impl Iterator<Item = char> {
        '\0'..=char::MAX
    }

    fn expected_class(c: char, [letter, numeral, space]: &[Regex; 3]) -> Class {
        let is = |regex: &Regex| regex.is_match(c.encode_utf8(&mut [0; 4]));
        match c {
            '\r' | '\n' => Class::LineBreak,
            _ if is(space) => Class::Space,
            _ if is(letter) => Class::Letter,
            _ if is(numeral) => Class::Numeral,
            _ => Class::Other,
        }
    }

    fn expressions() -> [Regex; 3] {
        [r"\p{L}", r"\p{N}", r"\s"].map(|pattern| Regex::new(pattern).unwrap())
    }

    fn expected_normal_start(c: char) -> bool {
        canonical_combining_class(c) == 0 && is_nfc_quick([c].into_iter()) == IsNormalized::Yes
    }

    #[test]
    fn every_character() {
        let expressions = expressions();
        for c in characters() {
            assert_eq!(class(c), expected_class(c, &expressions), "{c:?}");
            assert_eq!(is_normal_start(c), expected_normal_start(c), "{c:?}");
        }
    }

    /// The ranges of the characters from U+0080 on that have a mark.
    fn ranges(mark: impl Fn(char) -> Option<bool>) -> Vec<u32> {
        let mut ranges: Vec<u32> = Vec::new();
        for c in characters().skip(0x80) {
            let Some(mark) = mark(c) else { continue };
            match ranges.last_mut() {
                Some(last)
                    if (*last >> 11) + (*last >> 1 & 0x3ff) + 1 == u32::from(c)
                        && *last >> 1 & 0x3ff < 0x3ff
                        && (*last & 1 != 0) == mark =>
                {
                    *last += 2;
                }
                _ => ranges.push(u32::from(c) << 11 | u32::from(mark)),
            }
        }
        ranges
    }

    /// Prints `unicode/tables.rs`: `cargo test -p rillm print_tables -- --ignored --nocapture | grep -v ^running > …`
    #[test]
    #[ignore = "prints a source file"]
    fn print_tables() {
        let expressions = expressions();
        let classes = ranges(|c| match expected_class(c, &expressions) {
            Class::Letter => Some(false),
            Class::Numeral => Some(true),
            _ => None,
        });
        let not_normal = ranges(|c| (!expected_normal_start(c)).then_some(false));
        println!("//! Made by the test `print_tables` of `unicode.rs`: ranges as `find` there reads them.");
        for (name, what, ranges) in [
            ("LETTERS_AND_NUMERALS", "Characters of the categories L and, marked, N, from U+0080 on.", classes),
            ("NOT_NORMAL", "Characters that may change in normalization form C.", not_normal),
        ] {
            println!("\n/// {what}\npub(super) static {name}: [u32; {}] = [", ranges.len());
            for line in ranges.chunks(10) {
                let line: String = line.iter().map(|range| format!(" 0x{range:08x},")).collect();
                println!("   {line}");
            }
            println!("];");
        }
    }
}
