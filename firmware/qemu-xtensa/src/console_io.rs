//! The console on the emulator's standard input and output.

use embedded_io::{ErrorType, Read, ReadReady, Write};

use crate::simcall::{self, Refused, STDIN, STDOUT};

const CTRL_D: u8 = 0x04;

/// The console. Its speed is that of the host.
pub struct ConsoleIo;

impl ErrorType for ConsoleIo {
    type Error = Refused;
}

impl Read for ConsoleIo {
    /// Waits for a byte; the emulator stops meanwhile. Ctrl-D or the end of the host's input ends the input.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Refused> {
        // Only one byte: if a buffer crosses a page of the emulator, a read waits until it is full.
        let Some(slot) = buf.first_mut() else { return Ok(0) };
        let len = simcall::read(STDIN, core::slice::from_mut(slot))?;
        Ok(if *slot == CTRL_D { 0 } else { len })
    }
}

impl ReadReady for ConsoleIo {
    fn read_ready(&mut self) -> Result<bool, Refused> {
        simcall::readable(STDIN)
    }
}

impl Write for ConsoleIo {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Refused> {
        simcall::write(STDOUT, buf)
    }

    fn flush(&mut self) -> Result<(), Refused> {
        Ok(())
    }
}

impl core::fmt::Write for ConsoleIo {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}
