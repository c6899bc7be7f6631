//! The SD card on the SPI bus.

use core::cell::RefCell;

use embedded_hal_bus::spi::RefCellDevice;
use embedded_sdmmc::SdCard;
use embedded_sdmmc::sdcard::spi::AcquireOpts;
use rillm_card::{BlockingDevice, stop_sending};

use crate::options::Options;
use crate::spi::{ChipSelect, NoDelay, Spi};

/// Number of attempts of the driver to wake a card.
const ACQUIRE_RETRIES: u32 = 50;

/// The bus, with the fault of the card if there is one.
#[cfg(feature = "faults")]
pub type Bus = crate::faults::Faulty<Spi>;
#[cfg(not(feature = "faults"))]
pub type Bus = Spi;

type Driver<'b> = SdCard<RefCellDevice<'b, Bus, ChipSelect, NoDelay>, NoDelay>;
/// The card, with the function that recovers it after an error.
pub type CardDevice<'b> = BlockingDevice<Driver<'b>, fn(&Driver<'b>)>;

/// The bus to the card.
#[cfg_attr(not(feature = "faults"), expect(unused_variables, reason = "they are about faults"))]
pub fn bus(options: &Options) -> RefCell<Bus> {
    let spi = Spi::new();
    #[cfg(feature = "faults")]
    let spi = crate::faults::Faulty::new(spi, options.fault);
    RefCell::new(spi)
}

/// The card, which is initialised at its first read.
pub fn device<'b>(bus: &'b RefCell<Bus>, options: &Options) -> CardDevice<'b> {
    let Ok(device) = RefCellDevice::new(bus, ChipSelect, NoDelay);
    let acquire = AcquireOpts { use_crc: options.crc, acquire_retries: ACQUIRE_RETRIES };
    let driver = SdCard::new_with_options(device, NoDelay, acquire);
    BlockingDevice::new(driver, recover as fn(&Driver<'b>))
}

/// Makes the driver initialise the card again.
fn recover(driver: &Driver<'_>) {
    driver.spi(stop_sending);
    driver.mark_card_uninit();
}

/// Reports the card's traffic, and whether its fault has occurred, as a line with a JSON object: without the fault a test proves
/// nothing.
#[cfg(feature = "faults")]
pub fn report(bus: &Bus, out: &mut crate::uart::Uart) {
    use core::fmt::Write;

    let (blocks, initialised) = bus.traffic();
    let fault = match bus.has_struck() {
        None => "null",
        Some(true) => "true",
        Some(false) => "false",
    };
    // A failed write of the last line cannot be reported.
    let _ = write!(out, "card: {{\"blocks\":{blocks},\"initialised\":{initialised},\"struck\":{fault}}}\r\n");
}
