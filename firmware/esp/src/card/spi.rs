//! A card over SPI: four wires, on any chip.
//!
//! Reads block. A chip waits for a block at 20 MHz about fifteen times as long as it multiplies with it (0.5 µs a byte, by the
//! figure of 1.67 MB/s that others measured, and 8 cycles, by that of esp-dsp for a RISC-V core without vectors), so that doing
//! both at a time would bring a few percent, and take a task's turn for each byte in which the card is asked whether the next
//! block begins. For the same reason the bus has no DMA: what it would save of a block is what it costs for these bytes.
//!
//! Every block's checksum is looked at. Computing it takes 17 instructions a byte, a fifth of the time of a block; without it, a
//! bit that flips on a long wire is noticed by the check of all weights, up to 64 tokens later, and a clock that is too fast for
//! the wires not at all while the mode is chosen.

use embedded_hal_bus::spi::ExclusiveDevice;
use embedded_sdmmc::embedded_sdmmc_types::sdcard::CardType;
use embedded_sdmmc::sdcard::spi::AcquireOpts;
use embedded_sdmmc::{Block, BlockDevice, BlockIdx, SdCard, SdCardError};
use esp_hal::delay::Delay;
use esp_hal::gpio::interconnect::PeripheralOutput;
use esp_hal::gpio::{Input, InputConfig, InputPin, Level, Output, OutputConfig, OutputPin, Pull};
use esp_hal::spi::master::{Config, Instance, Spi};
use esp_hal::time::Rate;
use rillm_card::{Blocking, Blocks, Found, Mode, Slot, stop_sending};

/// 80 MHz, which the bus divides, has nothing between 20 MHz and 26.7, and cards take 25 at most.
const MODES: [Mode; 3] = [mode(20), mode(10), mode(4)];
/// For a card that is not initialised.
const SLOW_KHZ: u32 = 400;
/// Bytes for the 74 clocks that a card wants before its first command, its chip select high.
const WAKE: [u8; 10] = [0xff; 10];
/// How often the driver asks for a card again. It asks 10,000 bytes long, 0.4 s.
const ACQUIRE_RETRIES: u32 = 1;
/// Blocks of a sample.
const SAMPLE: usize = 8;

type Device<'d> = ExclusiveDevice<Spi<'d, esp_hal::Blocking>, Output<'d>, Delay>;
type Driver<'d> = SdCard<Device<'d>, Delay>;

/// A card on an SPI bus of its own.
pub struct SpiCard<'d> {
    card: Blocking<Driver<'d>, fn(&Driver<'d>)>,
    mode: Mode,
}

impl<'d> SpiCard<'d> {
    /// The card on these pins. The chip's own resistor pulls MISO up, which an empty slot leaves alone.
    pub fn new(
        spi: impl Instance + 'd,
        sck: impl PeripheralOutput<'d>,
        mosi: impl PeripheralOutput<'d>,
        miso: impl InputPin + 'd,
        cs: impl OutputPin + 'd,
    ) -> Self {
        let miso = Input::new(miso, InputConfig::default().with_pull(Pull::Up)).peripheral_input();
        let bus = Spi::new(spi, config(SLOW_KHZ)).expect("a clock that all chips make");
        let bus = bus.with_sck(sck).with_mosi(mosi).with_miso(miso);
        let Ok(device) = ExclusiveDevice::new(bus, Output::new(cs, Level::High, OutputConfig::default()), Delay::new());
        let options = AcquireOpts { use_crc: true, acquire_retries: ACQUIRE_RETRIES };
        let driver = SdCard::new_with_options(device, Delay::new(), options);
        Self { card: Blocking::new(driver, |_| ()), mode: MODES[0] }
    }

    fn driver(&self) -> &Driver<'d> {
        self.card.device()
    }

    fn initialise(&self) -> Result<Found, SdCardError> {
        let driver = self.driver();
        driver.spi(|device| {
            set_clock(device, SLOW_KHZ)?;
            device.bus_mut().write(&WAKE).map_err(|_| SdCardError::Transport)?;
            stop_sending(device);
            Ok(())
        })?;
        driver.mark_card_uninit();
        let high_capacity = match driver.num_bytes() {
            Err(SdCardError::CardNotFound) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
            Ok(_) => matches!(driver.get_card_type(), Some(CardType::SdhcSdxc)),
        };
        driver.spi(|device| set_clock(device, self.mode.hz / 1000))?;
        Ok(Found::Card { high_capacity })
    }
}

const fn mode(mhz: u32) -> Mode {
    Mode { lines: "SPI", hz: mhz * 1_000_000 }
}

fn config(khz: u32) -> Config {
    Config::default().with_frequency(Rate::from_khz(khz))
}

fn set_clock(device: &mut Device<'_>, khz: u32) -> Result<(), SdCardError> {
    device.bus_mut().apply_config(&config(khz)).map_err(|_| SdCardError::Transport)
}

impl Blocks for SpiCard<'_> {
    type Error = SdCardError;

    async fn count(&mut self) -> Result<u32, SdCardError> {
        self.card.count().await
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), SdCardError> {
        self.card.read(first, buf).await
    }

    async fn recover(&mut self) -> Result<(), SdCardError> {
        match self.initialise()? {
            Found::Nothing => Err(SdCardError::CardNotFound),
            Found::Card { .. } => Ok(()),
        }
    }
}

impl Slot for SpiCard<'_> {
    fn modes(&self) -> &'static [Mode] {
        &MODES
    }

    async fn begin(&mut self, mode: Mode) -> Result<Found, SdCardError> {
        self.mode = mode;
        self.initialise()
    }

    async fn sample(&mut self, first: u32) -> Result<u32, SdCardError> {
        let mut blocks = core::array::from_fn::<_, SAMPLE, _>(|_| Block::new());
        self.driver().read(&mut blocks, BlockIdx(first))?;
        Ok(SAMPLE as u32)
    }
}
