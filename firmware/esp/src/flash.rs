//! The flash: how it is read, and the model in it, which is memory-mapped and used in place.

use rillm::Bytes;
use rillm_boards::FlashMode;

/// Aligned for the multiplication kernel.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("RILLM_MODEL_FILE")));

/// The length in bytes of the model that was built in.
pub fn len() -> u64 {
    MODEL.0.len() as u64
}

/// The model that was built in.
pub fn model() -> Bytes<'static> {
    Bytes::lent(&MODEL.0)
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
