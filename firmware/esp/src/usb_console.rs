//! The console on the chip's USB port, which provides a serial line and a debugger.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};
use esp_hal::Blocking;
use esp_hal::peripherals::USB_DEVICE;
use esp_hal::time::{Duration, Instant};
use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

/// Longest wait for a computer to fetch 64 bytes. It normally does so every millisecond.
const PATIENCE: Duration = Duration::from_millis(50);

/// The serial line on the USB port. Without a computer or an open terminal, output is discarded and the board
/// continues.
pub struct UsbConsole {
    usb: UsbSerialJtag<'static, Blocking>,
    /// A received byte.
    next: Option<u8>,
    /// Whether the last output was fetched.
    heard: bool,
}

impl UsbConsole {
    /// The chip's only USB serial port.
    pub fn new(usb: USB_DEVICE<'static>) -> Self {
        Self { usb: UsbSerialJtag::new(usb), next: None, heard: true }
    }

    fn poll(&mut self) {
        if self.next.is_none() {
            self.next = self.usb.read_byte().ok();
        }
    }

    /// Repeats `attempt` until it succeeds or the wait is over. Tries only once if the last output was not fetched.
    fn try_for_long(&mut self, mut attempt: impl FnMut(&mut UsbSerialJtag<'static, Blocking>) -> bool) {
        let start = Instant::now();
        loop {
            if attempt(&mut self.usb) {
                self.heard = true;
                return;
            }
            if !self.heard || start.elapsed() > PATIENCE {
                self.heard = false;
                return;
            }
        }
    }
}

impl ErrorType for UsbConsole {
    type Error = Infallible;
}

impl Read for UsbConsole {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let Some(slot) = buf.first_mut() else { return Ok(0) };
        loop {
            self.poll();
            if let Some(byte) = self.next.take() {
                *slot = byte;
                return Ok(1);
            }
        }
    }
}

impl ReadReady for UsbConsole {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        self.poll();
        Ok(self.next.is_some())
    }
}

impl Write for UsbConsole {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        for &byte in buf {
            self.try_for_long(|usb| usb.write_byte_nb(byte).is_ok());
        }
        self.flush()?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        // Only once: a second flush would send an empty packet and wait until the computer has fetched it.
        let _ = self.usb.flush_tx_nb();
        self.try_for_long(|_| USB_DEVICE::regs().ep1_conf().read().serial_in_ep_data_free().bit_is_set());
        Ok(())
    }
}

/// Two serial lines as one: output goes to both, input comes from either.
pub struct Both<A, B>(pub A, pub B);

impl<A, B> ErrorType for Both<A, B> {
    type Error = Infallible;
}

impl<A, B> Read for Both<A, B>
where
    A: Read<Error = Infallible> + ReadReady,
    B: Read<Error = Infallible> + ReadReady,
{
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            if self.0.read_ready()? {
                return self.0.read(buf);
            }
            if self.1.read_ready()? {
                return self.1.read(buf);
            }
        }
    }
}

impl<A: ReadReady<Error = Infallible>, B: ReadReady<Error = Infallible>> ReadReady for Both<A, B> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.read_ready()? || self.1.read_ready()?)
    }
}

impl<A: Write<Error = Infallible>, B: Write<Error = Infallible>> Write for Both<A, B> {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        // Either line accepts at least one byte.
        self.0.write_all(buf)?;
        self.1.write_all(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.0.flush()?;
        self.1.flush()
    }
}
