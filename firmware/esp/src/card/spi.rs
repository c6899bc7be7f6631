//! An SPI bus of the chip's, below rillm-card's driver.
//!
//! It has no DMA: what that would save of a block is what it costs for the bytes by which a card is asked whether the next block
//! begins. The bus makes its clock itself, so that every transaction has an end, whatever the card does.

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};
use embedded_hal_bus::spi::ExclusiveDevice;
use esp_hal::delay::Delay;
use esp_hal::gpio::interconnect::PeripheralOutput;
use esp_hal::gpio::{Input, InputConfig, InputPin, Level, Output, OutputConfig, OutputPin, Pull};
use esp_hal::spi::master::{Config, Instance, Spi};
use esp_hal::time::Rate;
use rillm_card::{SpiCard, SpiHost};

use super::micros;

/// Until the card says otherwise.
const SLOW: u32 = 400_000;
/// Bytes of 80 clocks.
const WAKE: [u8; 10] = [0xff; 10];

type Device<'d> = ExclusiveDevice<Spi<'d, esp_hal::Blocking>, Output<'d>, Delay>;

/// The card on these pins. The chip's own resistor pulls MISO up, which an empty slot leaves alone.
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

/// 80 MHz, which the bus divides, has nothing between 20 MHz and 26.7.
fn config(hz: u32) -> Config {
    Config::default().with_frequency(Rate::from_hz(hz))
}

/// A slot's bus and chip select.
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
