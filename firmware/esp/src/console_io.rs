//! The console: a serial line at 115,200 baud.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};
use esp_hal::Blocking;
use esp_hal::gpio::interconnect::{PeripheralInput, PeripheralOutput};
use esp_hal::uart::{Config, Instance, Uart};

/// A simulated line is as slow as a real one.
const BAUD: u32 = if cfg!(feature = "simulator") { 5_000_000 } else { 115_200 };

/// The serial line. A byte that is lost, because the line was noisy or its buffer full, is passed over.
pub struct Console {
    uart: Uart<'static, Blocking>,
    /// A byte that has come.
    #[cfg(not(feature = "simulator"))]
    next: Option<u8>,
}

impl Console {
    /// That of a UART and its two pins.
    pub fn new(
        uart: impl Instance + 'static,
        rx: impl PeripheralInput<'static>,
        tx: impl PeripheralOutput<'static>,
    ) -> Self {
        let config = Config::default().with_baudrate(BAUD);
        let uart = Uart::new(uart, config).expect("every chip's clock can make that");
        Self {
            uart: uart.with_rx(rx).with_tx(tx),
            #[cfg(not(feature = "simulator"))]
            next: None,
        }
    }

    /// Takes a byte, if there is one. A buffer that overflowed is empty afterwards: only a byte at hand can be promised.
    #[cfg(not(feature = "simulator"))]
    fn poll(&mut self) {
        let mut byte = [0];
        if self.next.is_none() && self.uart.read_buffered(&mut byte) == Ok(1) {
            self.next = Some(byte[0]);
        }
    }
}

impl ErrorType for Console {
    type Error = Infallible;
}

impl Read for Console {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        #[cfg(feature = "simulator")]
        return Ok(crate::simulator::read(buf));
        #[cfg(not(feature = "simulator"))]
        {
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
}

impl ReadReady for Console {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        #[cfg(feature = "simulator")]
        return Ok(crate::simulator::read_ready());
        #[cfg(not(feature = "simulator"))]
        {
            self.poll();
            Ok(self.next.is_some())
        }
    }
}

impl Write for Console {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        #[cfg(feature = "simulator")]
        crate::simulator::forget_windows();
        // There is no flow control: room comes by the chip's own clock, whoever listens.
        loop {
            if let Ok(len) = self.uart.write(buf) {
                return Ok(len);
            }
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        // What it could fail of, a line that is held low, concerns what was sent, not this chip.
        let _ = self.uart.flush();
        Ok(())
    }
}
