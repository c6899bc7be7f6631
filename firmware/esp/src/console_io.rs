//! The console on a UART at 115,200 baud.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};
use esp_hal::Blocking;
use esp_hal::gpio::interconnect::{PeripheralInput, PeripheralOutput};
use esp_hal::uart::{Config, Instance, Uart};

use crate::platform::{self, BAUD, Input};

/// The serial line. Bytes lost to noise or to a full buffer are ignored.
pub struct Console {
    uart: Uart<'static, Blocking>,
    input: Input,
}

impl Console {
    /// The console on a UART and two pins.
    pub fn new(
        uart: impl Instance + 'static,
        rx: impl PeripheralInput<'static>,
        tx: impl PeripheralOutput<'static>,
    ) -> Self {
        let config = Config::default().with_baudrate(BAUD);
        let uart = Uart::new(uart, config).expect("every chip's clock can make that");
        Self { uart: uart.with_rx(rx).with_tx(tx), input: Input::default() }
    }
}

impl ErrorType for Console {
    type Error = Infallible;
}

impl Read for Console {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.input.read(&mut self.uart, buf))
    }
}

impl ReadReady for Console {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.input.is_ready(&mut self.uart))
    }
}

impl Write for Console {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        platform::enter();
        // Without flow control, the FIFO always drains at the chip's own clock.
        loop {
            if let Ok(len) = self.uart.write(buf) {
                return Ok(len);
            }
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        // The only possible error, a break on the line, concerns the sender and not this chip.
        let _ = self.uart.flush();
        Ok(())
    }
}
