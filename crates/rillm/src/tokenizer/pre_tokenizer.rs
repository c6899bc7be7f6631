//! The split of text into words before any merge: the patterns of GPT-2, Llama 3 and Qwen 2 as state machines over
//! characters.
//!
//! [The file format] lists the patterns. Each state is a position in their alternatives, tried in order.
//!
//! [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md

use super::layout::PreTokenizer;
use super::unicode::{Class, class};

/// The search for the end of a word. Characters go in until the end is known.
pub(super) struct Scan {
    pre_tokenizer: PreTokenizer,
    state: State,
    /// Bytes of the characters so far.
    len: usize,
    /// The start of the last character, in bytes.
    last: usize,
    /// The end of the last line break, in bytes; 0 without one.
    line_end: usize,
}

#[derive(Clone, Copy)]
enum State {
    Start,
    /// One character that may belong to the following letters: a space, other white space, or anything else.
    Blank,
    Space,
    Other,
    /// An apostrophe, possibly with the first of the two letters of 're, 've and 'll.
    Apostrophe,
    Contraction(char),
    Letters,
    /// This number of numerals, at most 255.
    Numerals(u8),
    Others,
    /// Line breaks after other characters.
    LineBreaks,
    Spaces,
}

impl Scan {
    pub fn new(pre_tokenizer: PreTokenizer) -> Self {
        Self { pre_tokenizer, state: State::Start, len: 0, last: 0, line_end: 0 }
    }

    /// Takes the next character, or `None` at the end of the text. Returns the word's length in bytes once it is known:
    /// at the end of the text at the latest, and not 0 after a character.
    pub fn push(&mut self, c: Option<char>) -> Option<usize> {
        let class = match (c.map_or(Class::End, class), self.state) {
            // If numerals are split off first, the pattern does not see them.
            (Class::Numeral, State::Start | State::Numerals(_)) => Class::Numeral,
            (Class::Numeral, _)
                if matches!(self.pre_tokenizer, PreTokenizer::DigitsGpt2 | PreTokenizer::NumbersGpt2) =>
            {
                Class::End
            }
            (class, _) => class,
        };
        match self.step(self.state, c, class) {
            Ok(state) => {
                self.state = state;
                self.last = self.len;
                self.len += c.map_or(0, char::len_utf8);
                if class == Class::LineBreak {
                    self.line_end = self.len;
                }
                None
            }
            Err(len) => Some(len),
        }
    }

    /// The state after a character that belongs to the word, or the word's length.
    fn step(&self, state: State, c: Option<char>, class: Class) -> Result<State, usize> {
        let gpt2 =
            matches!(self.pre_tokenizer, PreTokenizer::Gpt2 | PreTokenizer::DigitsGpt2 | PreTokenizer::NumbersGpt2);
        let cased = |c: char| if gpt2 { c } else { folded(c) };
        match (state, class) {
            (State::Start, Class::Letter) | (State::Letters, Class::Letter) => Ok(State::Letters),
            (State::Start, Class::Numeral) => Ok(State::Numerals(1)),
            (State::Start, Class::Space) if c == Some(' ') => Ok(State::Blank),
            (State::Start, Class::Space) if !gpt2 => Ok(State::Space),
            (State::Start, Class::Space | Class::LineBreak) => Ok(State::Spaces),
            (State::Start, Class::Other) if c == Some('\'') => Ok(State::Apostrophe),
            (State::Start, Class::Other) => Ok(if gpt2 { State::Others } else { State::Other }),

            (State::Blank | State::Space | State::Other, Class::Letter) => Ok(State::Letters),
            (State::Blank, Class::Other) => Ok(State::Others),
            (State::Blank, Class::Numeral) if gpt2 => Ok(State::Numerals(1)),
            (State::Blank | State::Space, _) => self.step(State::Spaces, c, class),
            (State::Other, _) => self.step(State::Others, c, class),

            (State::Apostrophe, _) => match c.map(cased) {
                Some('s' | 't' | 'm' | 'd') => Err(self.len + c.map_or(0, char::len_utf8)),
                Some(first @ ('r' | 'v' | 'l')) => Ok(State::Contraction(first)),
                _ => self.step(if gpt2 { State::Others } else { State::Other }, c, class),
            },
            (State::Contraction(first), _) => match (first, c.map(cased)) {
                ('r' | 'v', Some('e')) | ('l', Some('l')) => Err(self.len + 1),
                // The letter after the apostrophe starts a new word.
                _ if gpt2 => Err(self.last),
                _ => self.step(State::Letters, c, class),
            },

            (State::Numerals(count), Class::Numeral) => {
                let most = match self.pre_tokenizer {
                    PreTokenizer::Gpt2 | PreTokenizer::NumbersGpt2 => u8::MAX,
                    PreTokenizer::Llama3 => 3,
                    PreTokenizer::DigitsGpt2 | PreTokenizer::Qwen2 => 1,
                };
                if count < most || most == u8::MAX {
                    Ok(State::Numerals(count.saturating_add(1)))
                } else {
                    Err(self.len)
                }
            }
            (State::Others, Class::Other) => Ok(State::Others),
            (State::Others | State::LineBreaks, Class::LineBreak) if !gpt2 => Ok(State::LineBreaks),
            (State::Spaces, Class::Space | Class::LineBreak) => Ok(State::Spaces),
            (State::Spaces, _) if !gpt2 && self.line_end > 0 => Err(self.line_end),
            // The last space belongs to the following word.
            (State::Spaces, class) if class != Class::End && self.last > 0 => Err(self.last),
            (
                State::Start | State::Letters | State::Numerals(_) | State::Others | State::LineBreaks | State::Spaces,
                _,
            ) => Err(self.len),
        }
    }
}

/// A letter in lower case, as far as the patterns need it.
fn folded(c: char) -> char {
    if c == '\u{17f}' { 's' } else { c.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fancy_regex::Regex;
    use std::string::String;
    use std::sync::LazyLock;
    use std::vec;
    use std::vec::Vec;

    const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    fn words(pre_tokenizer: PreTokenizer, text: &str) -> Vec<&str> {
        let (mut words, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let mut scan = Scan::new(pre_tokenizer);
            let len = rest.chars().map(Some).chain([None]).find_map(|c| scan.push(c)).unwrap();
            let (word, after) = rest.split_at(len);
            words.push(word);
            rest = after;
        }
        words
    }

    /// The regular expressions of the patterns, applied in sequence.
    fn expressions(pre_tokenizer: PreTokenizer) -> Vec<Regex> {
        let qwen2 = LLAMA3.replace("{1,3}", "");
        let patterns = match pre_tokenizer {
            PreTokenizer::Gpt2 => vec![GPT2],
            PreTokenizer::Llama3 => vec![LLAMA3],
            PreTokenizer::Qwen2 => vec![qwen2.as_str()],
            PreTokenizer::DigitsGpt2 => vec![r"\p{N}|\P{N}+", GPT2],
            PreTokenizer::NumbersGpt2 => vec![r"\p{N}+|\P{N}+", GPT2],
        };
        patterns.into_iter().map(|pattern| Regex::new(pattern).unwrap()).collect()
    }

    fn assert_same(text: &str) {
        static EXPRESSIONS: LazyLock<[Vec<Regex>; 5]> = LazyLock::new(|| PreTokenizer::ALL.map(expressions));
        for (pre_tokenizer, expressions) in PreTokenizer::ALL.into_iter().zip(&*EXPRESSIONS) {
            let mut expected = vec![text];
            for expression in expressions {
                let pieces = expected.into_iter();
                expected = pieces.flat_map(|piece| expression.find_iter(piece).map(|m| m.unwrap().as_str())).collect();
            }
            assert_eq!(words(pre_tokenizer, text), expected, "{pre_tokenizer:?} {text:?}");
        }
    }

    /// Tests all texts of up to four characters that the patterns distinguish.
    #[test]
    fn every_short_text() {
        let alphabet = ['\'', ' ', '\u{a0}', '\n', 's', 'R', 'e', 'l', '\u{17f}', '7', '!', '\u{301}'];
        for mut number in 0..12_usize.pow(4) {
            let mut text = String::new();
            while number > 0 {
                text.push(alphabet[number % 12]);
                number /= 12;
            }
            assert_same(&text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text(text in "([' \u{a0}\n\r\tsSreEvVlLmdtT\u{17f}K\u{212a}09½!.,_\u{301}é国]|.){0,24}") {
            assert_same(&text);
        }

        #[test]
        fn any_runs(runs in proptest::collection::vec((0..8_usize, 1..9_usize), 0..12)) {
            let parts = [" ", "\n", "\t", "ab", "12", "!?", "'", "\r\n"];
            let text: String = runs.iter().map(|&(part, count)| parts[part].repeat(count)).collect();
            assert_same(&text);
        }
    }
}
