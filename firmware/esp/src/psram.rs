//! The PSRAM: external memory for the engine.

use core::slice;
use core::sync::atomic::{Ordering, fence};

use esp_hal::peripherals::PSRAM;
use esp_hal::psram::{Psram, PsramConfig};

#[cfg(feature = "esp32")]
use crate::platform;

/// The first revision that may use it for anything, as its major number, and the first for weights alone. In between, a read
/// of what one of the last instructions has written may get something else (docs.espressif.com, ESP32 errata, CPU-3.9): fine
/// for what is written once and only read from then on. Before, ESP-IDF leaves it alone, too.
#[cfg(feature = "esp32")]
const FOR_ANYTHING: u8 = 3;
#[cfg(feature = "esp32")]
const FOR_WEIGHTS: u8 = 1;
/// From one word that is tried to the next. Between the writing and the reading of one the cache, of 32 KiB, has to go round.
const STEP: usize = 1 << 10;
/// Twice as much as the cache holds, and bytes of one of its lines.
const UPPER: usize = 64 << 10;
const LINE: usize = 32;

/// Why there is none.
#[cfg_attr(not(feature = "esp32"), expect(dead_code, reason = "not every chip has all of them"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A chip of this revision.
    Unreliable {
        /// Its major number.
        revision: u8,
    },
    /// A chip in a package whose pins for it are not known.
    Package,
    /// What is written to it does not come back.
    Silent,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreliable { revision } => {
                write!(f, "left alone: chips of revision {revision} get wrong bytes from it now and then")
            }
            Self::Package => f.write_str("left alone: nobody knows which pins it has in this chip's package"),
            Self::Silent => write!(f, "none that answers; fine if this board has none"),
        }
    }
}

/// Whether nothing but weights may lie in it.
#[cfg(feature = "esp32")]
pub fn for_weights_alone() -> bool {
    platform::revision() < FOR_ANYTHING
}

/// Whether nothing but weights may lie in it.
#[cfg(not(feature = "esp32"))]
pub fn for_weights_alone() -> bool {
    false
}

/// External memory at its address, whatever of it there really is.
pub struct Mapped(Psram);

/// Maps it, for both cores' caches or one. The second core must not run.
///
/// # Errors
/// The chip is too old.
pub fn map(psram: Option<PSRAM<'static>>, two_cores: bool) -> Result<Option<Mapped>, Error> {
    psram.map(|psram| start(psram, two_cores)).transpose()
}

#[cfg(feature = "esp32")]
fn start(psram: PSRAM<'static>, two_cores: bool) -> Result<Mapped, Error> {
    use esp_hal::psram::{PsramCacheSpeed, PsramSize, PsramVaddrMode};

    /// Bytes that the chip can map.
    const MAPPED: usize = 4 << 20;

    let revision = platform::revision();
    if revision < FOR_WEIGHTS {
        return Err(Error::Unreliable { revision });
    }
    if !platform::has_known_package() {
        return Err(Error::Package);
    }
    // With a cache for each core, neither would see what the other has written; in this mode each cache is for half of the
    // addresses, and both cores use both.
    let psram_vaddr_mode = if two_cores { PsramVaddrMode::LowHigh } else { PsramVaddrMode::Normal };
    // The flash stays at the clock that espflash has chosen; esp-hal's default would double it from here on.
    let cache_speed = PsramCacheSpeed::PsramCacheF40mS40m;
    let config = PsramConfig { size: PsramSize::Size(MAPPED), cache_speed, psram_vaddr_mode };
    Ok(Mapped(Psram::new(psram, config)))
}

/// Of the size that it says it has, eight lines wide or four, at 80 MHz. The cores share a cache.
#[cfg(feature = "esp32s3")]
fn start(psram: PSRAM<'static>, _: bool) -> Result<Mapped, Error> {
    use esp_hal::psram::{FlashFreq, SpiRamFreq};

    // The flash stays at the clock that espflash has chosen.
    let (ram_frequency, flash_frequency) = (SpiRamFreq::Freq80m, FlashFreq::FlashFreq40m);
    let config = PsramConfig { ram_frequency, flash_frequency, ..PsramConfig::default() };
    Ok(Mapped(Psram::new(psram, config)))
}

/// Of the size that it says it has.
#[cfg(feature = "esp32p4")]
fn start(psram: PSRAM<'static>, _: bool) -> Result<Mapped, Error> {
    // For the PSRAM's sake esp-hal sets all regulators, and turns the card's off, which the SD host had turned on.
    let pmu = esp_hal::peripherals::PMU::regs();
    let [card, analog] = [pmu.ext_ldo_p1_0p2a().read().bits(), pmu.ext_ldo_p1_0p2a_ana().read().bits()];
    let psram = Psram::new(psram, PsramConfig::default());
    // SAFETY: what these registers have held before.
    unsafe {
        pmu.ext_ldo_p1_0p2a_ana().write(|w| w.bits(analog));
        pmu.ext_ldo_p1_0p2a().write(|w| w.bits(card));
    }
    // What a card wants that has power again.
    esp_hal::delay::Delay::new().delay_millis(2);
    Ok(Mapped(psram))
}

/// As much of it as holds what is written to it. The second core, if there is to be one, must run.
///
/// # Errors
/// None does.
pub fn memory(psram: Mapped) -> Result<&'static mut [u8], Error> {
    let (start, mapped) = psram.0.raw_parts();
    let words = start.cast::<u32>();
    let places = || (0..mapped).step_by(STEP);
    let is_high = |&place: &usize| place >= mapped / 2;
    let mark = |place: usize| place as u32 ^ 0x5aa5_c33c;
    // SAFETY: the words lie in what is mapped, which only this function knows of.
    let len = unsafe {
        // From the top down: where a smaller memory appears several times, its own addresses are written last.
        places().rev().filter(is_high).for_each(|place| words.byte_add(place).write_volatile(mark(place)));
        // On the ESP32 each half has a cache of its own: what that of the upper one holds goes out before the lower is written.
        (mapped - UPPER..mapped).step_by(LINE).for_each(|place| _ = words.byte_add(place).read_volatile());
        let low = places().rev().filter(|place| !is_high(place));
        low.for_each(|place| words.byte_add(place).write_volatile(mark(place)));
        fence(Ordering::SeqCst);
        places().find(|&place| words.byte_add(place).read_volatile() != mark(place)).unwrap_or(mapped)
    };
    if len == 0 {
        return Err(Error::Silent);
    }
    // SAFETY: there is memory, it is lent once, as there is one `Psram`, and any bytes are a `u8`.
    Ok(unsafe { slice::from_raw_parts_mut(start, len) })
}
