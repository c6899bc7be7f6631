//! The byte console: what is typed, what is printed, and what was typed ahead.

use core::fmt;

use embedded_io::{Read, ReadReady, Write, WriteFmtError};
use heapless::Deque;

/// Ctrl-C, and Ctrl-X for terminals that end on Ctrl-C themselves, as espflash's does.
pub const INTERRUPTS: [u8; 2] = [0x03, 0x18];
/// Bytes that may be typed while a text is being written. What is more waits where it is, and Ctrl-C behind it, too.
const AHEAD_LEN: usize = 128;

/// A byte console that knows lines.
pub struct Screen<C> {
    pub io: C,
    ahead: Deque<u8, AHEAD_LEN>,
    ended: bool,
}

impl<C: Read + ReadReady + Write> Screen<C> {
    pub const fn new(io: C) -> Self {
        Self { io, ahead: Deque::new(), ended: false }
    }

    /// The next byte, waiting for it; none at the end of the input.
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

    /// Whether Ctrl-C was typed. It takes with it what was typed before it; everything else is kept for later.
    pub fn interrupted(&mut self) -> Result<bool, C::Error> {
        while !self.ended && !self.ahead.is_full() && self.io.read_ready()? {
            match self.read_on()? {
                Some(byte) if INTERRUPTS.contains(&byte) => {
                    self.ahead.clear();
                    return Ok(true);
                }
                // There is room: the loop has just asked.
                Some(byte) => _ = self.ahead.push_back(byte),
                None => {}
            }
        }
        Ok(false)
    }

    /// Prints, with `\r\n` for every `\n`.
    pub fn say(&mut self, text: fmt::Arguments<'_>) -> Result<(), C::Error> {
        match Lines(&mut self.io).write_fmt(text) {
            Err(WriteFmtError::Other(error)) => Err(error),
            // A `Display` of someone else's that failed: what it has printed so far has to do.
            Ok(()) | Err(WriteFmtError::FmtError) => self.io.flush(),
        }
    }

    /// Prints the same text as it is.
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
