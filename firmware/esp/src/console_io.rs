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
        Self { uart: uart.with_rx(rx).with_tx(tx) }
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
        loop {
            if let Ok(len) = self.uart.read(buf) {
                return Ok(len);
            }
        }
    }
}

impl ReadReady for Console {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        #[cfg(feature = "simulator")]
        return Ok(crate::simulator::read_ready());
        #[cfg(not(feature = "simulator"))]
        Ok(self.uart.read_ready())
    }
}

impl Write for Console {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        #[cfg(feature = "simulator")]
        crate::simulator::forget_windows();
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
