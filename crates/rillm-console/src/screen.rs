//! The byte console: output, input, and type-ahead.

use core::fmt;

use embedded_io::{Read, ReadReady, Write, WriteFmtError};
use heapless::Deque;

/// Ctrl-C, and Ctrl-X for terminals that use Ctrl-C themselves, such as espflash's.
pub const INTERRUPTS: [u8; 2] = [0x03, 0x18];
/// Length in bytes of the type-ahead buffer, filled while a text is generated. Further bytes wait in `io`, Ctrl-C
/// included.
const AHEAD_LEN: usize = 128;

/// A byte console with line breaks.
pub struct Screen<C> {
    pub io: C,
    ahead: Deque<u8, AHEAD_LEN>,
    ended: bool,
}

impl<C: Read + ReadReady + Write> Screen<C> {
    pub const fn new(io: C) -> Self {
        Self { io, ahead: Deque::new(), ended: false }
    }

    /// Waits for the next byte and reads it. None at the end of the input.
    pub fn read(&mut self) -> Result<Option<u8>, C::Error> {
        match self.ahead.pop_front() {
            Some(byte) => Ok(Some(byte)),
            None => self.read_on(),
        }
    }

    fn read_on(&mut self) -> Result<Option<u8>, C::Error> {
        let mut byte = [0];
        self.ended = self.ended || self.io.read(&mut byte)? == 0;
        Ok((!self.ended).then_some(byte[0]))
    }

    /// Whether Ctrl-C was typed. It discards the input before it. All other input is kept.
    pub fn interrupted(&mut self) -> Result<bool, C::Error> {
        while !self.ended && !self.ahead.is_full() && self.io.read_ready()? {
            match self.read_on()? {
                Some(byte) if INTERRUPTS.contains(&byte) => {
                    self.ahead.clear();
                    return Ok(true);
                }
                // The loop's condition guarantees room.
                Some(byte) => _ = self.ahead.push_back(byte),
                None => {}
            }
        }
        Ok(false)
    }

    /// Prints formatted text, with `\r\n` for every `\n`.
    pub fn say(&mut self, text: fmt::Arguments<'_>) -> Result<(), C::Error> {
        match Lines(&mut self.io).write_fmt(text) {
            Err(WriteFmtError::Other(error)) => Err(error),
            // A `Display` of the caller failed. Its output so far stays.
            Ok(()) | Err(WriteFmtError::FmtError) => self.io.flush(),
        }
    }

    /// Prints a string in the same way.
    pub fn print(&mut self, text: &str) -> Result<(), C::Error> {
        self.say(format_args!("{text}"))
    }
}

struct Lines<'a, W>(&'a mut W);

impl<W: Write> embedded_io::ErrorType for Lines<'_, W> {
    type Error = W::Error;
}

impl<W: Write> Write for Lines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, W::Error> {
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if index > 0 {
                self.0.write_all(b"\r\n")?;
            }
            self.0.write_all(line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), W::Error> {
        self.0.flush()
    }
}
