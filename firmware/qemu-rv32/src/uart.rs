//! The serial line: the chip's UART0.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};

const BASE: usize = 0x1001_0000;
const TXDATA: *mut u32 = BASE as *mut u32;
const RXDATA: *mut u32 = (BASE + 0x04) as *mut u32;
const TXCTRL: *mut u32 = (BASE + 0x08) as *mut u32;
const RXCTRL: *mut u32 = (BASE + 0x0c) as *mut u32;
const PENDING: *mut u32 = (BASE + 0x14) as *mut u32;

/// Flag of TXDATA: no room. Flag of RXDATA: no byte received.
const NOT_NOW: u32 = 1 << 31;
const ENABLE: u32 = 1;
/// Flag of pending input: more bytes than the watermark of RXCTRL, which is 0.
const RECEIVED: u32 = 1 << 1;

const CTRL_D: u8 = 0x04;

/// The serial line. QEMU does not simulate a baud rate.
pub struct Uart(());

impl Uart {
    /// Switches the UART on.
    pub fn new() -> Self {
        // SAFETY: these are the UART's registers. Nobody else uses it: a trap that also writes never returns.
        unsafe {
            TXCTRL.write_volatile(ENABLE);
            RXCTRL.write_volatile(ENABLE);
        }
        Self(())
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    /// Waits for a byte. Ctrl-D ends the input.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let Some(slot) = buf.first_mut() else { return Ok(0) };
        loop {
            // SAFETY: a register of the UART.
            let data = unsafe { RXDATA.read_volatile() };
            if data & NOT_NOW == 0 {
                *slot = data as u8;
                return Ok(usize::from(*slot != CTRL_D));
            }
        }
    }
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        // SAFETY: a register of the UART.
        Ok(unsafe { PENDING.read_volatile() } & RECEIVED != 0)
    }
}

impl Write for Uart {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        for &byte in buf {
            // SAFETY: registers of the UART.
            unsafe {
                while TXDATA.read_volatile() & NOT_NOW != 0 {}
                TXDATA.write_volatile(byte.into());
            }
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl core::fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let Ok(_) = Write::write(self, text.as_bytes());
        Ok(())
    }
}
