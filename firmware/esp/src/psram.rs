//! PSRAM: external memory for the engine.

use core::slice;
use core::sync::atomic::{Ordering, fence};

use esp_hal::peripherals::PSRAM;
use esp_hal::psram::{Psram, PsramConfig};

#[cfg(any(feature = "esp32", feature = "esp32s3"))]
use rillm_boards::FlashMode;

#[cfg(any(feature = "esp32", feature = "esp32s3"))]
use crate::flash;
#[cfg(feature = "esp32")]
use crate::platform;

/// The lowest major revisions that can use PSRAM: for everything, and for weights only. On revisions in between, a read
/// shortly after a write to the same address may return something else (docs.espressif.com, ESP32 errata, CPU-3.9).
/// This does no harm to data that is written once and only read later. ESP-IDF does not use PSRAM on earlier revisions
/// either.
#[cfg(feature = "esp32")]
const FOR_ANYTHING: u8 = 3;
#[cfg(feature = "esp32")]
const FOR_WEIGHTS: u8 = 1;
/// Distance in bytes between tested words. Writing them all must evict the cache of 32 KiB before the first one is
/// read.
const STEP: usize = 1 << 10;
/// Bytes to read in order to evict the cache, twice its size, and bytes of a cache line.
const UPPER: usize = 64 << 10;
const LINE: usize = 32;

/// The PSRAM of esp-hal.
pub type Peripheral = PSRAM<'static>;

/// Why there is no PSRAM.
#[cfg_attr(not(feature = "esp32"), expect(dead_code, reason = "not every chip has all of them"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The chip's revision is too old.
    Unreliable {
        /// The major revision.
        revision: u8,
    },
    /// The pins of PSRAM are unknown for the chip's package.
    Package,
    /// The memory does not hold what is written to it.
    Silent,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreliable { revision } => {
                write!(f, "not used: chips of revision {revision} sometimes read wrong bytes from it")
            }
            Self::Package => f.write_str("not used: its pins in this chip's package are unknown"),
            Self::Silent => write!(f, "none found, as expected on a board without it"),
        }
    }
}

/// Whether the memory can hold only weights.
#[cfg(feature = "esp32")]
pub fn for_weights_alone() -> bool {
    platform::revision() < FOR_ANYTHING
}

/// Whether the memory can hold only weights.
#[cfg(not(feature = "esp32"))]
pub fn for_weights_alone() -> bool {
    false
}

/// PSRAM that is mapped. Its actual size is unknown.
pub struct Mapped(Psram);

/// Maps the PSRAM for one core or for both. The second core must not run yet.
///
/// # Errors
/// The chip's revision or package does not support PSRAM.
pub fn map(psram: Option<Peripheral>, two_cores: bool) -> Result<Option<Mapped>, Error> {
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
    // With separate caches, the cores would not see each other's writes. In this mode each cache serves half of the
    // addresses, for both cores.
    let psram_vaddr_mode = if two_cores { PsramVaddrMode::LowHigh } else { PsramVaddrMode::Normal };
    // The flash keeps the clock of its image. esp-hal would set another one.
    let cache_speed = match flash::mode() {
        Some(FlashMode { mhz: 80, .. }) => PsramCacheSpeed::PsramCacheF80mS40m,
        _ => PsramCacheSpeed::PsramCacheF40mS40m,
    };
    let config = PsramConfig { size: PsramSize::Size(MAPPED), cache_speed, psram_vaddr_mode };
    Ok(Mapped(Psram::new(psram, config)))
}

/// Starts the PSRAM with the size that it reports, octal or quad, at 80 MHz. The cores share a cache.
#[cfg(feature = "esp32s3")]
fn start(psram: PSRAM<'static>, _: bool) -> Result<Mapped, Error> {
    use esp_hal::psram::{FlashFreq, SpiRamFreq};

    // The flash keeps the clock of its image.
    let flash_frequency = match flash::mode() {
        Some(FlashMode { mhz: 80, .. }) => FlashFreq::FlashFreq80m,
        _ => FlashFreq::FlashFreq40m,
    };
    let config = PsramConfig { ram_frequency: SpiRamFreq::Freq80m, flash_frequency, ..PsramConfig::default() };
    Ok(Mapped(Psram::new(psram, config)))
}

/// Starts the PSRAM with the size that it reports.
#[cfg(feature = "esp32p4")]
fn start(psram: PSRAM<'static>, _: bool) -> Result<Mapped, Error> {
    // esp-hal sets all regulators for the PSRAM, and switches off that of the card, which the SD host had switched on.
    let pmu = esp_hal::peripherals::PMU::regs();
    let [card, analog] = [pmu.ext_ldo_p1_0p2a().read().bits(), pmu.ext_ldo_p1_0p2a_ana().read().bits()];
    let psram = Psram::new(psram, PsramConfig::default());
    // SAFETY: restores the previous values of these registers.
    unsafe {
        pmu.ext_ldo_p1_0p2a_ana().write(|w| w.bits(analog));
        pmu.ext_ldo_p1_0p2a().write(|w| w.bits(card));
    }
    // The card's power-up time.
    esp_hal::delay::Delay::new().delay_millis(2);
    Ok(Mapped(psram))
}

/// Measures how much of the mapped memory works. The second core must be running, if it is used.
///
/// # Errors
/// The memory does not hold what is written to it.
pub fn memory(psram: Mapped) -> Result<&'static mut [u8], Error> {
    let (start, mapped) = psram.0.raw_parts();
    let words = start.cast::<u32>();
    let places = || (0..mapped).step_by(STEP);
    let is_high = |&place: &usize| place >= mapped / 2;
    let mark = |place: usize| place as u32 ^ 0x5aa5_c33c;
    // SAFETY: the words are in mapped memory, which only this function uses.
    let len = unsafe {
        // Downwards: if a smaller memory appears at several addresses, the lowest ones are written last.
        places().rev().filter(is_high).for_each(|place| words.byte_add(place).write_volatile(mark(place)));
        // On the ESP32 each half has its own cache. The upper one must be written back before the lower half is
        // written.
        (mapped - UPPER..mapped).step_by(LINE).for_each(|place| _ = words.byte_add(place).read_volatile());
        let low = places().rev().filter(|place| !is_high(place));
        low.for_each(|place| words.byte_add(place).write_volatile(mark(place)));
        fence(Ordering::SeqCst);
        places().find(|&place| words.byte_add(place).read_volatile() != mark(place)).unwrap_or(mapped)
    };
    if len == 0 {
        return Err(Error::Silent);
    }
    // SAFETY: the memory works and is lent once, since there is one `Psram`. Any byte is a valid `u8`.
    Ok(unsafe { slice::from_raw_parts_mut(start, len) })
}
