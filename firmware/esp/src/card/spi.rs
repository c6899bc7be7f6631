//! An SPI bus of the chip for rillm-card's driver.
//!
//! It does not use DMA: the time saved on a block would be lost on the single bytes that poll for the start of the next
//! block. The chip generates the clock, so every transaction ends, whatever the card does.

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};
use embedded_hal_bus::spi::ExclusiveDevice;
use esp_hal::delay::Delay;
use esp_hal::gpio::interconnect::PeripheralOutput;
use esp_hal::gpio::{Input, InputConfig, InputPin, Level, Output, OutputConfig, OutputPin, Pull};
use esp_hal::spi::master::{Config, Instance, Spi};
use esp_hal::time::Rate;
use rillm_card::{SpiCard, SpiHost};

use super::micros;

/// Clock in Hz until the card is initialised.
const SLOW: u32 = 400_000;
/// 80 clocks with the line high.
const WAKE: [u8; 10] = [0xff; 10];

type Device<'d> = ExclusiveDevice<Spi<'d, esp_hal::Blocking>, Output<'d>, Delay>;

/// The card on these pins. An internal pull-up keeps MISO high when the slot is empty.
pub fn spi<'d>(
    spi: impl Instance + 'd,
    sck: impl PeripheralOutput<'d>,
    mosi: impl PeripheralOutput<'d>,
    miso: impl InputPin + 'd,
    cs: impl OutputPin + 'd,
) -> SpiCard<SpiSlot<'d>> {
    let miso = Input::new(miso, InputConfig::default().with_pull(Pull::Up)).peripheral_input();
    let bus = Spi::new(spi, config(SLOW)).expect("a clock that all chips make");
    let bus = bus.with_sck(sck).with_mosi(mosi).with_miso(miso);
    let Ok(device) = ExclusiveDevice::new(bus, Output::new(cs, Level::High, OutputConfig::default()), Delay::new());
    SpiCard::new(SpiSlot(device))
}

/// The bus divides 80 MHz; there is no step between 20 MHz and 26.7.
fn config(hz: u32) -> Config {
    Config::default().with_frequency(Rate::from_hz(hz))
}

/// The bus and the chip select of a slot.
pub struct SpiSlot<'d>(Device<'d>);

impl ErrorType for SpiSlot<'_> {
    type Error = <Device<'static> as ErrorType>::Error;
}

impl SpiDevice for SpiSlot<'_> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Self::Error> {
        self.0.transaction(operations)
    }
}

impl SpiHost for SpiSlot<'_> {
    fn set_clock(&mut self, hz: u32) -> Result<(), Self::Error> {
        self.0.bus_mut().apply_config(&config(hz)).expect("a clock that all chips make");
        Ok(())
    }

    fn wake(&mut self) -> Result<(), Self::Error> {
        use embedded_hal_bus::spi::DeviceError;
        self.0.bus_mut().write(&WAKE).map_err(DeviceError::Spi)
    }

    fn micros() -> u32 {
        micros()
    }
}
