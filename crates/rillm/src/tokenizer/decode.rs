//! Decoding: tokens to text.

use core::str::Utf8Chunks;

use crate::format::TokenKind;

/// The most U+FFFD that one token can produce: for three pending bytes and one that does not continue them.
const REPLACEMENTS: &str = "\u{fffd}\u{fffd}\u{fffd}\u{fffd}";
const REPLACEMENT_LEN: usize = 3;

/// Converts a sequence of tokens to printable text, one token at a time.
///
/// If the vocabulary merges bytes ([`TokenKind::Part`]), the decoder prints a character once it is complete. Each
/// invalid UTF-8 sequence becomes one U+FFFD, as in `String::from_utf8_lossy` of all bytes together.
///
/// In other vocabularies, the decoder also prints a character spelled in byte tokens ([`TokenKind::Byte`]) once it is
/// complete. Each byte of invalid UTF-8 becomes one U+FFFD, and so does every byte token that directly follows. The
/// `tokenizers` library does the same, but also replaces the complete characters before them in the same run of byte
/// tokens, which this decoder has already printed.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Whether the next space is the text's first one, which is not printed.
    strip_space: bool,
    show_control_tokens: bool,
    /// The bytes of an incomplete character.
    pending: [u8; 4],
    pending_len: usize,
    /// Whether the pending bytes are from [`TokenKind::Part`] tokens.
    in_parts: bool,
    /// Whether the current run of byte tokens is invalid UTF-8.
    broken: bool,
    /// The character that the current token completes.
    whole: [u8; 4],
}

/// The text that a token completes: an iterator over pieces, to be printed in order.
#[derive(Clone, Debug)]
pub struct Printed<'a> {
    first: &'a str,
    rest: Utf8Chunks<'a>,
    broken: bool,
}

impl<'a> Printed<'a> {
    fn new(first: &'a str, rest: &'a [u8]) -> Self {
        Self { first, rest: rest.utf8_chunks(), broken: false }
    }
}

impl<'a> Iterator for Printed<'a> {
    type Item = &'a str;

    /// The next piece, never empty.
    fn next(&mut self) -> Option<&'a str> {
        if !self.first.is_empty() {
            return Some(core::mem::take(&mut self.first));
        }
        if core::mem::take(&mut self.broken) {
            return Some(&REPLACEMENTS[..REPLACEMENT_LEN]);
        }
        let chunk = self.rest.next()?;
        self.broken = !chunk.invalid().is_empty();
        if chunk.valid().is_empty() { self.next() } else { Some(chunk.valid()) }
    }
}

/// A decoder for text that continues earlier output, such as a prompt.
impl Default for Decoder {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Decoder {
    /// A decoder for the start of a text. With `strip_space`, the text's first space is not printed.
    ///
    /// [`Tokenizer::decoder`](super::Tokenizer::decoder) sets this for a file's tokenizer.
    pub const fn new(strip_space: bool) -> Self {
        Self {
            strip_space,
            show_control_tokens: false,
            pending: [0; 4],
            pending_len: 0,
            in_parts: false,
            broken: false,
            whole: [0; 4],
        }
    }

    /// Also prints marks such as `<s>`, which are omitted by default.
    #[must_use]
    pub const fn show_control_tokens(mut self) -> Self {
        self.show_control_tokens = true;
        self
    }

    /// Takes the next token's kind and text and returns the text that it completes, which is often empty.
    pub fn push<'a>(&'a mut self, kind: TokenKind, text: &'a [u8]) -> Printed<'a> {
        match kind {
            TokenKind::Control | TokenKind::Unknown if !self.show_control_tokens => Printed::new("", b""),
            TokenKind::Byte if text.len() == 1 => Printed::new(self.push_byte(text[0]), b""),
            TokenKind::Part => self.push_part(text),
            _ => {
                let unfinished = self.finish();
                self.strip_space &= unfinished.is_empty();
                Printed::new(unfinished, self.strip(text))
            }
        }
    }

    /// Ends the text, or a run of bytes in it, and returns the text for an incomplete character: one U+FFFD if its
    /// bytes are from [`TokenKind::Part`] tokens, otherwise one for each byte.
    pub fn finish(&mut self) -> &'static str {
        let count = if self.in_parts { self.pending_len.min(1) } else { self.pending_len };
        self.pending_len = 0;
        (self.broken, self.in_parts) = (false, false);
        &REPLACEMENTS[..REPLACEMENT_LEN * count]
    }

    fn push_part<'a>(&'a mut self, mut text: &'a [u8]) -> Printed<'a> {
        let mut first = 0..0;
        let mut first_broken = "";
        self.in_parts = true;
        while let (1.., Some((&byte, rest))) = (self.pending_len, text.split_first()) {
            self.whole = self.pending;
            self.whole[self.pending_len] = byte;
            match core::str::from_utf8(&self.whole[..self.pending_len + 1]) {
                Ok(_) => {
                    first = 0..self.pending_len + 1;
                    self.pending_len = 0;
                    text = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.pending = self.whole;
                    self.pending_len += 1;
                    text = rest;
                }
                // The byte may start a character.
                Err(_) => {
                    first_broken = &REPLACEMENTS[..REPLACEMENT_LEN];
                    self.pending_len = 0;
                }
            }
        }
        if self.pending_len == 0 {
            let end = unfinished_at(text);
            self.pending_len = text.len() - end;
            self.pending[..self.pending_len].copy_from_slice(&text[end..]);
            text = &text[..end];
        }
        let first = core::str::from_utf8(&self.whole[first]).unwrap_or("");
        Printed::new(if first_broken.is_empty() { first } else { first_broken }, text)
    }

    fn push_byte(&mut self, byte: u8) -> &str {
        self.pending[self.pending_len] = byte;
        self.pending_len += 1;
        let pending = &self.pending[..self.pending_len];
        self.broken |= core::str::from_utf8(pending).is_err_and(|error| error.error_len().is_some());
        if self.broken {
            let invalid = self.finish();
            (self.broken, self.strip_space) = (true, false);
            return invalid;
        }
        let len = self.pending_len;
        let Ok(whole) = core::str::from_utf8(&self.pending[..len]) else {
            return "";
        };
        self.pending_len = 0;
        if self.strip_space {
            self.strip_space = false;
            return whole.strip_prefix(' ').unwrap_or(whole);
        }
        whole
    }

    fn strip<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        if !self.strip_space || text.is_empty() {
            return text;
        }
        self.strip_space = false;
        text.strip_prefix(b" ").unwrap_or(text)
    }
}

/// The start of an incomplete character at the end of `text`, or the length of `text`.
fn unfinished_at(text: &[u8]) -> usize {
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        let invalid = chunk.invalid();
        at += chunk.valid().len() + invalid.len();
        let unfinished = core::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if at == text.len() && unfinished {
            return at - invalid.len();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn decode(decoder: &mut Decoder, tokens: &[(TokenKind, &[u8])]) -> String {
        let mut text = String::new();
        for &(kind, bytes) in tokens {
            text.extend(decoder.push(kind, bytes));
        }
        text + decoder.finish()
    }

    const TEXT: TokenKind = TokenKind::Text;
    const BYTE: TokenKind = TokenKind::Byte;

    #[test]
    fn the_first_space_goes_and_no_other() {
        let tokens: [(_, &[u8]); 4] = [(TokenKind::Control, b"<s>"), (TEXT, b""), (TEXT, b"  a"), (TEXT, b" b")];
        assert_eq!(decode(&mut Decoder::new(true), &tokens), " a b");
        assert_eq!(decode(&mut Decoder::new(false), &tokens), "  a b");
        assert_eq!(decode(&mut Decoder::new(true).show_control_tokens(), &tokens), "<s>  a b");
        assert_eq!(decode(&mut Decoder::new(true), &[(BYTE, b" "), (TEXT, b" a")]), " a");
    }

    #[test]
    fn characters_in_bytes_come_out_whole() {
        let mut decoder = Decoder::new(true);
        for byte in [0xf0, 0x9f, 0xa6] {
            assert!(decoder.push(BYTE, &[byte]).eq([""; 0]));
        }
        assert!(decoder.push(BYTE, &[0x99]).eq(["🦙"]));
        assert!(decoder.push(TEXT, b" a").eq([" a"]));
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn every_byte_of_a_broken_run_is_replaced() {
        let tokens: [(_, &[u8]); 6] =
            [(BYTE, &[0xe5]), (BYTE, &[0x8f]), (BYTE, b"A"), (BYTE, b"B"), (TEXT, b" a"), (BYTE, &[0xe5])];
        assert_eq!(decode(&mut Decoder::new(true), &tokens), "\u{fffd}\u{fffd}\u{fffd}\u{fffd} a\u{fffd}");
        assert_eq!(decode(&mut Decoder::new(true), &[(BYTE, &[0xe5]), (TEXT, b" a")]), "\u{fffd} a");
    }

    #[test]
    fn damaged_text_is_no_panic() {
        assert_eq!(decode(&mut Decoder::new(true), &[(TEXT, &[0xff])]), "\u{fffd}");
        assert_eq!(decode(&mut Decoder::new(true), &[(BYTE, b"ab")]), "ab");
    }

    proptest::proptest! {
        /// Bytes decode to the same text for every division into tokens and with marks between them.
        #[test]
        fn parts_are_decoded_as_one_text(
            bytes in "([a-e]|é|国|🦙){0,6}",
            damage in proptest::collection::vec((0..24_usize, proptest::num::u8::ANY), 0..5),
            cuts in proptest::collection::vec(1..6_usize, 24),
        ) {
            let mut bytes = bytes.into_bytes();
            for (at, byte) in damage {
                bytes.insert(at.min(bytes.len()), byte);
            }
            let (mut decoder, mut text, mut rest) = (Decoder::new(false), String::new(), &bytes[..]);
            for cut in cuts.into_iter().cycle() {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                text.extend(decoder.push(TokenKind::Part, part));
                text.extend(decoder.push(TokenKind::Control, b"<s>"));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            assert_eq!(text + decoder.finish(), String::from_utf8_lossy(&bytes));
        }
    }
}
