//! The console in the chip's USB port: a serial line and a debugger for the computer at its other end.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};
use esp_hal::Blocking;
use esp_hal::peripherals::USB_DEVICE;
use esp_hal::time::{Duration, Instant};
use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

/// How long a computer may take to fetch 64 bytes; it does so every millisecond.
const PATIENCE: Duration = Duration::from_millis(50);

/// The serial line in the USB port. What nobody fetches, because no computer is there or no terminal open, is lost: the board
/// goes on without one.
pub struct UsbConsole {
    usb: UsbSerialJtag<'static, Blocking>,
    /// A byte that has come.
    next: Option<u8>,
    /// Somebody fetched what was written last.
    heard: bool,
}

impl UsbConsole {
    /// The chip's only one.
    pub fn new(usb: USB_DEVICE<'static>) -> Self {
        Self { usb: UsbSerialJtag::new(usb), next: None, heard: true }
    }

    fn poll(&mut self) {
        if self.next.is_none() {
            self.next = self.usb.read_byte().ok();
        }
    }

    /// Tries for as long as a computer may take, and once where none did the last time.
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
        // Once: again, after the computer has fetched the bytes, it would send an empty packet and wait for that.
        let _ = self.usb.flush_tx_nb();
        self.try_for_long(|_| USB_DEVICE::regs().ep1_conf().read().serial_in_ep_data_free().bit_is_set());
        Ok(())
    }
}

/// Two serial lines as one: what is written goes to both, what is read comes from either.
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
        // Either takes at least a byte.
        self.0.write_all(buf)?;
        self.1.write_all(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.0.flush()?;
        self.1.flush()
    }
}
