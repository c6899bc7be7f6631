//! The flash: how it is read, and the model in it, which is memory-mapped and used in place.

use core::slice;

use rillm::format::Header;
use rillm::{Bytes, SECTOR_LEN};
use rillm_boards::FlashMode;

/// Aligned for the multiplication kernel.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

/// The model that was built in. `model.x` places it at [`RILLM_MODEL`].
#[used]
#[unsafe(link_section = ".rillm.model")]
static BUILT_IN: Aligned<[u8; include_bytes!(env!("RILLM_MODEL_FILE")).len()]> =
    Aligned(*include_bytes!(env!("RILLM_MODEL_FILE")));

unsafe extern "C" {
    /// The beginning of the model, which may have been replaced since it was built in: the compiler knows nothing of its bytes.
    static RILLM_MODEL: [u8; SECTOR_LEN];
}

/// The model's file.
fn file() -> &'static [u8] {
    // SAFETY: the section of the model begins there, and a model has more than a sector.
    let first = unsafe { &*(&raw const RILLM_MODEL) };
    // A header that is none is for the console to complain of.
    let len = Header::parse(first).map_or(SECTOR_LEN, |header| header.file_len() as usize);
    // SAFETY: build.rs and `rillm flash-image` place whole files there, of which the bootloader maps every page. Nothing
    // writes to flash.
    unsafe { slice::from_raw_parts((&raw const RILLM_MODEL).cast(), len) }
}

/// The length of the model in bytes.
pub fn len() -> u64 {
    file().len() as u64
}

/// The model in flash.
pub fn model() -> Bytes<'static> {
    Bytes::lent(file())
}

/// How the bootloader has set up the flash for the cache.
#[cfg(any(feature = "esp32", feature = "esp32s3", feature = "esp32c3"))]
pub fn mode() -> Option<FlashMode> {
    /// Clock of the bus in MHz, which is divided for flash, by the two bits that select it.
    const BUS_MHZ: [u32; 4] = [80, 120, 160, 240];
    let spi = esp_hal::peripherals::SPI0::regs();
    let (clock, control) = (spi.clock().read(), spi.ctrl().read());
    #[cfg(feature = "esp32")]
    let (bus, before) = (BUS_MHZ[0], u32::from(clock.clkdiv_pre().bits()) + 1);
    #[cfg(not(feature = "esp32"))]
    let (bus, before) = (BUS_MHZ[spi.core_clk_sel().read().bits() as usize & 3], 1);
    let divisor = before * (u32::from(clock.clkcnt_n().bits()) + 1);
    let mhz = if clock.clk_equ_sysclk().bit() { bus } else { bus / divisor };
    let is_quad = control.fread_qio().bit() || control.fread_quad().bit();
    Some(FlashMode { lines: if is_quad { 4 } else { 2 }, mhz })
}

/// Unknown: these chips divide another clock.
#[cfg(not(any(feature = "esp32", feature = "esp32s3", feature = "esp32c3")))]
pub fn mode() -> Option<FlashMode> {
    None
}
