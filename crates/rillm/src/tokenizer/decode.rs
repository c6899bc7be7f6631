//! Tokens to text.

use crate::format::TokenKind;

/// U+FFFD as often as one token can call for it: three bytes that waited and the one that did not fit.
const REPLACEMENTS: &str = "\u{fffd}\u{fffd}\u{fffd}\u{fffd}";
const REPLACEMENT_LEN: usize = 3;

/// Turns tokens, one after the other, into text that can be printed at once.
///
/// A character that is spelled in byte tokens comes out when it is whole. Bytes that are no UTF-8 come out as one U+FFFD
/// each, and so does every byte token that directly follows them. The `tokenizers` library does the same, save that it
/// takes back the whole characters before them in the same run of byte tokens, which here are printed already.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The next space is the one that the text starts with, and is not printed.
    strip_space: bool,
    show_control_tokens: bool,
    /// The bytes so far of a character that is not whole.
    pending: [u8; 4],
    pending_len: usize,
    /// The run of byte tokens at hand is no UTF-8.
    broken: bool,
}

impl Decoder {
    /// A decoder at the start of a text, which loses its first space where `strip_space`.
    ///
    /// [`Tokenizer::decoder`](super::Tokenizer::decoder) knows which. For text that goes on after what was printed
    /// already, it is false.
    pub const fn new(strip_space: bool) -> Self {
        Self { strip_space, show_control_tokens: false, pending: [0; 4], pending_len: 0, broken: false }
    }

    /// Prints marks such as `<s>`, which are otherwise left out, as they are written.
    #[must_use]
    pub const fn show_control_tokens(mut self) -> Self {
        self.show_control_tokens = true;
        self
    }

    /// Takes the next token, as its embedding record describes it, and returns the text that it completes: two pieces
    /// to be printed in this order, either of them often empty. Text that is not UTF-8 comes out as one U+FFFD.
    pub fn push<'a>(&'a mut self, kind: TokenKind, text: &'a [u8]) -> [&'a str; 2] {
        match kind {
            TokenKind::Control | TokenKind::Unknown if !self.show_control_tokens => ["", ""],
            TokenKind::Byte if text.len() == 1 => [self.push_byte(text[0]), ""],
            _ => {
                let unfinished = self.finish();
                let text = core::str::from_utf8(text).unwrap_or("\u{fffd}");
                self.strip_space &= unfinished.is_empty();
                [unfinished, self.strip(text)]
            }
        }
    }

    /// Ends a run of byte tokens: bytes of a character that never became whole are one U+FFFD each.
    pub fn finish(&mut self) -> &'static str {
        let unfinished = &REPLACEMENTS[..REPLACEMENT_LEN * self.pending_len];
        self.pending_len = 0;
        self.broken = false;
        unfinished
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

    fn strip<'a>(&mut self, text: &'a str) -> &'a str {
        if !self.strip_space || text.is_empty() {
            return text;
        }
        self.strip_space = false;
        text.strip_prefix(' ').unwrap_or(text)
    }
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
        assert_eq!(decoder.push(BYTE, &[0xf0]), ["", ""]);
        assert_eq!(decoder.push(BYTE, &[0x9f]), ["", ""]);
        assert_eq!(decoder.push(BYTE, &[0xa6]), ["", ""]);
        assert_eq!(decoder.push(BYTE, &[0x99]), ["🦙", ""]);
        assert_eq!(decoder.push(TEXT, b" a"), ["", " a"]);
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
}
