//! The SD card: from the SPI bus to the model's file.

use core::cell::RefCell;

use embedded_hal_bus::spi::RefCellDevice;
use embedded_sdmmc::sdcard::spi::AcquireOpts;
use embedded_sdmmc::{SdCard, SdCardError};
use rillm_card::{Blocking, CardFile, Error, stop_sending};

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
pub type Card<'b> = Blocking<Driver<'b>, fn(&Driver<'b>)>;

/// The bus to the card.
#[cfg_attr(not(feature = "faults"), expect(unused_variables, reason = "they are about faults"))]
pub fn bus(options: &Options<'_>) -> RefCell<Bus> {
    let spi = Spi::new();
    #[cfg(feature = "faults")]
    let spi = crate::faults::Faulty::new(spi, options.fault);
    RefCell::new(spi)
}

/// Initialises the card and opens a file: the one of that name, without a name the one of the options, otherwise the
/// first model.
///
/// # Errors
/// The card's error.
pub async fn open<'b>(
    bus: &'b RefCell<Bus>,
    options: &Options<'_>,
    name: Option<&str>,
) -> Result<CardFile<Card<'b>>, Error<SdCardError>> {
    let Ok(device) = RefCellDevice::new(bus, ChipSelect, NoDelay);
    let acquire = AcquireOpts { use_crc: options.crc, acquire_retries: ACQUIRE_RETRIES };
    let driver = SdCard::new_with_options(device, NoDelay, acquire);
    CardFile::open(Blocking::new(driver, recover as fn(&Driver<'b>)), name.or(options.file)).await
}

/// Makes the driver initialise the card again.
fn recover(driver: &Driver<'_>) {
    driver.spi(stop_sending);
    driver.mark_card_uninit();
}

/// Reports the card's traffic, and whether its fault has occurred: without the fault a test proves nothing.
#[cfg(feature = "faults")]
pub fn report(bus: &Bus, out: &mut crate::uart::Uart) {
    use core::fmt::Write;

    let (blocks, initialised) = bus.traffic();
    let fault = match bus.has_struck() {
        None => "",
        Some(true) => ", the fault has struck",
        Some(false) => ", the fault has not struck",
    };
    // A failed write of the last line cannot be reported.
    let _ = write!(out, "card: {blocks} blocks sent, initialised {initialised} times{fault}\r\n");
}
