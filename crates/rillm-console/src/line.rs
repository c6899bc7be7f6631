//! A line editor for any terminal. It sends no queries, and requires only `\r` and "erase to the end of the line".
//!
//! The display is right as long as the line fits the width of the terminal. The text is always right.

use embedded_io::{Read, ReadReady, Write};
use heapless::String;

use crate::screen::{INTERRUPTS, Screen};

/// Longest line in bytes.
pub const LINE_LEN: usize = 512;

const PROMPT: &str = "> ";
const BELL: &str = "\x07";

/// The current line and the previous one.
pub struct Line {
    keys: Keys,
    text: String<LINE_LEN>,
    /// Byte offset in `text`, at a character boundary.
    cursor: usize,
    before: String<LINE_LEN>,
}

/// The effect of a key on the display, or for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    Bell,
    /// A character was added at the end.
    Appended(char),
    /// A character of one column was removed from the end.
    Shortened,
    /// Only the cursor moved.
    Moved,
    Changed,
    Entered,
    Interrupted,
}

impl Line {
    pub const fn new() -> Self {
        Self { keys: Keys::new(), text: String::new(), cursor: 0, before: String::new() }
    }

    /// The entered line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prompts for a line. Returns `false` at the end of the input. An unfinished line before the end counts as
    /// entered.
    pub fn read<C: Read + ReadReady + Write>(&mut self, screen: &mut Screen<C>) -> Result<bool, C::Error> {
        if !self.text.is_empty() {
            core::mem::swap(&mut self.before, &mut self.text);
        }
        self.text.clear();
        self.cursor = 0;
        screen.print(PROMPT)?;
        loop {
            let Some(byte) = screen.read()? else {
                screen.print("\n")?;
                return Ok(!self.text.is_empty());
            };
            let Some(key) = self.keys.push(byte) else { continue };
            match self.press(key) {
                Effect::Nothing => {}
                Effect::Bell => screen.print(BELL)?,
                Effect::Appended(c) => screen.say(format_args!("{c}"))?,
                Effect::Shortened => screen.print("\x08 \x08")?,
                Effect::Moved => screen.say(format_args!("\r{PROMPT}{}", self.head()))?,
                Effect::Changed => {
                    screen.say(format_args!("\r{PROMPT}{}\x1b[K", self.text))?;
                    if self.cursor < self.text.len() {
                        screen.say(format_args!("\r{PROMPT}{}", self.head()))?;
                    }
                }
                Effect::Entered => {
                    screen.print("\n")?;
                    return Ok(true);
                }
                Effect::Interrupted => screen.say(format_args!("^C\n{PROMPT}"))?,
            }
        }
    }

    fn head(&self) -> &str {
        &self.text[..self.cursor]
    }

    fn press(&mut self, key: Key) -> Effect {
        let end = self.text.len();
        match key {
            Key::Char(c) => match self.text.insert(self.cursor, c) {
                Err(_) => Effect::Bell,
                Ok(()) => {
                    self.cursor += c.len_utf8();
                    if self.cursor == self.text.len() { Effect::Appended(c) } else { Effect::Changed }
                }
            },
            Key::Backspace => match self.head().chars().next_back() {
                None => Effect::Bell,
                Some(c) => {
                    self.cursor -= c.len_utf8();
                    self.text.remove(self.cursor);
                    if self.cursor == self.text.len() && c.is_ascii() { Effect::Shortened } else { Effect::Changed }
                }
            },
            Key::Delete if self.cursor < end => {
                self.text.remove(self.cursor);
                Effect::Changed
            }
            Key::Delete | Key::Unknown => Effect::Bell,
            Key::Left => {
                let step = self.head().chars().next_back().map_or(0, char::len_utf8);
                self.move_to(self.cursor - step)
            }
            Key::Right => {
                let step = self.text[self.cursor..].chars().next().map_or(0, char::len_utf8);
                self.move_to(self.cursor + step)
            }
            Key::Home => self.move_to(0),
            Key::End => self.move_to(end),
            Key::EraseLine => self.erase_from(0),
            Key::EraseWord => {
                let without_spaces = self.head().trim_end_matches(' ');
                self.erase_from(without_spaces.rfind(' ').map_or(0, |space| space + 1))
            }
            Key::Recall if self.before.is_empty() => Effect::Bell,
            Key::Recall => {
                core::mem::swap(&mut self.before, &mut self.text);
                self.cursor = self.text.len();
                Effect::Changed
            }
            Key::Enter => Effect::Entered,
            Key::Interrupt => {
                self.text.clear();
                self.cursor = 0;
                Effect::Interrupted
            }
        }
    }

    fn move_to(&mut self, cursor: usize) -> Effect {
        if cursor == self.cursor {
            return Effect::Nothing;
        }
        self.cursor = cursor;
        Effect::Moved
    }

    /// Erases the text between `start` and the cursor.
    fn erase_from(&mut self, start: usize) -> Effect {
        if start == self.cursor {
            return Effect::Nothing;
        }
        self.text.drain(start..self.cursor);
        self.cursor = start;
        Effect::Changed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Char(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    Home,
    End,
    /// Up or down: switches between the current and the previous line.
    Recall,
    EraseLine,
    EraseWord,
    Interrupt,
    Unknown,
}

/// The parser from bytes to keys.
struct Keys {
    state: State,
    /// The last byte was CR. A following LF belongs to the same line end.
    after_cr: bool,
    /// The bytes so far of an incomplete character.
    pending: [u8; 4],
    pending_len: usize,
}

#[derive(Clone, Copy)]
enum State {
    Plain,
    /// After ESC.
    Escape,
    /// After `ESC [` or `ESC O`, with the first number of the sequence.
    Sequence(u8),
}

impl Keys {
    const fn new() -> Self {
        Self { state: State::Plain, after_cr: false, pending: [0; 4], pending_len: 0 }
    }

    fn push(&mut self, byte: u8) -> Option<Key> {
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        match (self.state, byte) {
            // A control character ends an incomplete character or sequence.
            (_, ..0x20 | 0x7f) => {
                self.state = State::Plain;
                self.pending_len = 0;
                self.control(byte, after_cr)
            }
            (State::Plain, _) => self.character(byte),
            (State::Escape, b'[' | b'O') => {
                self.state = State::Sequence(0);
                None
            }
            (State::Sequence(number), b'0'..=b'9') => {
                self.state = State::Sequence(number.saturating_mul(10).saturating_add(byte - b'0'));
                None
            }
            // Other parameters, such as modifiers.
            (State::Sequence(_), 0x20..=0x3f) => None,
            (State::Escape, _) => {
                self.state = State::Plain;
                Some(Key::Unknown)
            }
            (State::Sequence(number), _) => {
                self.state = State::Plain;
                Some(match (byte, number) {
                    (b'A' | b'B', _) => Key::Recall,
                    (b'C', _) => Key::Right,
                    (b'D', _) => Key::Left,
                    (b'H', _) | (b'~', 1 | 7) => Key::Home,
                    (b'F', _) | (b'~', 4 | 8) => Key::End,
                    (b'~', 3) => Key::Delete,
                    _ => Key::Unknown,
                })
            }
        }
    }

    fn control(&mut self, byte: u8, after_cr: bool) -> Option<Key> {
        Some(match byte {
            _ if INTERRUPTS.contains(&byte) => Key::Interrupt,
            0x01 => Key::Home,
            0x05 => Key::End,
            0x08 | 0x7f => Key::Backspace,
            b'\r' => Key::Enter,
            b'\n' if !after_cr => Key::Enter,
            0x15 => Key::EraseLine,
            0x17 => Key::EraseWord,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            0 | b'\n' => return None,
            _ => Key::Unknown,
        })
    }

    fn character(&mut self, byte: u8) -> Option<Key> {
        // A byte that does not continue the character starts a new one.
        if byte & 0xc0 != 0x80 {
            self.pending_len = 0;
        }
        self.pending[self.pending_len] = byte;
        self.pending_len += 1;
        match core::str::from_utf8(&self.pending[..self.pending_len]) {
            Ok(text) => {
                self.pending_len = 0;
                text.chars().next().map(Key::Char)
            }
            Err(error) if error.error_len().is_none() => None,
            Err(_) => {
                self.pending_len = 0;
                Some(Key::Unknown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(bytes: &[u8]) -> Line {
        let mut line = Line::new();
        for &byte in bytes {
            if let Some(key) = line.keys.push(byte) {
                line.press(key);
            }
        }
        line
    }

    #[test]
    fn keys_edit_the_line() {
        for (bytes, text, head) in [
            (&b"abc"[..], "abc", "abc"),
            (b"abc\x08\x7fd", "ad", "ad"),
            (b"ac\x1b[Db", "abc", "ab"),
            (b"abc\x1b[H\x1b[3~", "bc", ""),
            (b"abc\x01x\x05y", "xabcy", "xabcy"),
            (b"abc\x1b[1~\x1bOC\x1b[1;5C\x1b[D", "abc", "a"),
            (b"one two  \x17", "one ", "one "),
            (b"one two\x15", "", ""),
            (b"one\x1b[D\x15", "e", ""),
            (b"a\xc3\xa9\x7f", "a", "a"),
            ("狐狸\x1b[D\x7f".as_bytes(), "狸", ""),
            (b"a\xe9b\xff\xc3c", "abc", "abc"),
            (b"a\x1bxb\x1b[99~\x1b[200~c", "abc", "abc"),
            (b"a\x03b", "b", "b"),
            (b"a\x18b", "b", "b"),
            (b"\x1b[D\x1b[C\x1b[3~\x7f\x1b[A", "", ""),
        ] {
            let line = typed(bytes);
            assert_eq!((line.text(), line.head()), (text, head), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_full_line_takes_no_more_and_loses_nothing() {
        let mut line = typed(&[b'x'; LINE_LEN - 1]);
        assert_eq!(line.press(Key::Char('é')), Effect::Bell);
        assert_eq!(line.press(Key::Char('y')), Effect::Appended('y'));
        assert_eq!(line.press(Key::Char('z')), Effect::Bell);
        assert_eq!((line.text().len(), line.text().ends_with("xy")), (LINE_LEN, true));
    }

    #[test]
    fn line_ends_of_every_kind_are_one() {
        let mut keys = Keys::new();
        let enters = b"\r\r\n\n\n\r\r\n".iter().filter(|&&byte| keys.push(byte) == Some(Key::Enter)).count();
        assert_eq!(enters, 6);
    }

    /// A terminal with one row of sufficient width, and the input typed at it.
    struct Terminal {
        typed: std::vec::IntoIter<u8>,
        row: std::vec::Vec<char>,
        column: usize,
        escape: std::string::String,
    }

    impl embedded_io::ErrorType for Terminal {
        type Error = core::convert::Infallible;
    }

    impl Read for Terminal {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
            Ok(self.typed.next().map(|byte| buf[0] = byte).map_or(0, |()| 1))
        }
    }

    impl ReadReady for Terminal {
        fn read_ready(&mut self) -> Result<bool, Self::Error> {
            Ok(true)
        }
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
            for c in core::str::from_utf8(bytes).expect("characters are written whole").chars() {
                match c {
                    _ if !self.escape.is_empty() || c == '\x1b' => {
                        self.escape.push(c);
                        if self.escape == "\x1b[K" {
                            self.row.truncate(self.column);
                            self.escape.clear();
                        }
                    }
                    '\r' => self.column = 0,
                    '\x08' => self.column -= 1,
                    // Keys do not end the line; the end of the input does.
                    '\n' | '\x07' => {}
                    c => {
                        if self.column == self.row.len() {
                            self.row.push(c);
                        } else {
                            self.row[self.column] = c;
                        }
                        self.column += 1;
                    }
                }
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn the_terminal_shows_the_line(
            keys in proptest::collection::vec(
                proptest::sample::select(&[
                    "a", "b", " ", "é", "x", "\x7f", "\x1b[3~", "\x1b[D", "\x1b[D", "\x1b[C", "\x01", "\x05", "\x1b[A",
                    "\x15", "\x17",
                ][..]),
                0..60,
            ),
        ) {
            let typed = keys.concat().into_bytes().into_iter();
            let terminal = Terminal { typed, row: Default::default(), column: 0, escape: Default::default() };
            let mut screen = Screen::new(terminal);
            let mut line = Line::new();
            line.text = "before".try_into().unwrap();
            line.read(&mut screen).unwrap();
            let shown: std::string::String = screen.io.row.iter().collect();
            let expected = std::format!("> {}", line.text());
            prop_assert_eq!(shown.trim_end(), expected.trim_end());
        }

        #[test]
        fn any_bytes_leave_a_line(bytes: std::vec::Vec<u8>) {
            let line = typed(&bytes);
            prop_assert!(line.text.is_char_boundary(line.cursor));
        }

        #[test]
        fn what_is_typed_is_the_line(text in "[^\\p{Cc}]{0,120}") {
            let line = typed(text.as_bytes());
            prop_assert_eq!(line.text(), text);
        }

        #[test]
        fn keys_in_any_order_leave_a_line(
            keys in proptest::collection::vec(
                prop_oneof![
                    any::<char>().prop_filter("printable", |c| !c.is_control()).prop_map(Key::Char),
                    proptest::sample::select(&[
                        Key::Backspace, Key::Delete, Key::Left, Key::Right, Key::Home, Key::End, Key::Recall,
                        Key::EraseLine, Key::EraseWord, Key::Interrupt, Key::Unknown,
                    ][..]),
                ],
                0..400,
            ),
        ) {
            let mut line = Line::new();
            line.before = "the line 之前".try_into().unwrap();
            for key in keys {
                line.press(key);
                prop_assert!(line.text.is_char_boundary(line.cursor));
            }
        }
    }
}
