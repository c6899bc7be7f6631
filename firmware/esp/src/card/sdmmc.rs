//! The chip's SD host as a bus for rillm-card's driver: its registers, and the memory that its DMA can access.

use core::ops::Range;

use esp_hal::Async;
use esp_hal::gpio::{Input, InputConfig, InputPin, Pull};
use esp_hal::peripherals::SDHOST;
use esp_hal::sdmmc::Slot as HostSlot;
use esp_hal::time::{Duration, Instant};
use rillm_card::{AlignedBlock, Host, Sdmmc};
use sdio::{
    BlockReadCommand, BlockWriteCommand, BusWidth, ByteReadCommand, ByteWriteCommand, ControlCommand, MmcBus, MmcError,
};
use static_cell::ConstStaticCell;

use super::micros;

const BLOCK_LEN: usize = 512;
/// Internal memory that DMA can access, as in esp-hal.
#[cfg(feature = "esp32")]
const DMA: Range<usize> = 0x3ffa_e000..0x4000_0000;
#[cfg(feature = "esp32s3")]
const DMA: Range<usize> = 0x3fc8_8000..0x3fd0_0000;
#[cfg(feature = "esp32p4")]
const DMA: Range<usize> = 0x4ff4_0000..0x4ffa_dfc0;
/// Alignment of buffers in bytes. A buffer that shares a cache line of the ESP32-P4 with other data is read in three
/// pieces, with at least one descriptor for each.
const ALIGNMENT: usize = if cfg!(feature = "esp32p4") { 64 } else { 4 };
/// Number of DMA descriptors of esp-hal, and bytes of each. A read within these, 16 KiB, needs only one interrupt, at
/// its end. A longer read fails if the interrupt that refills the descriptors is late, so the engine's reads are
/// limited to this length.
const DESCRIPTORS: usize = 4;
const DESCRIPTOR_LEN: usize = 4096;
const LONGEST: usize = DESCRIPTORS * DESCRIPTOR_LEN / BLOCK_LEN;
/// Blocks of the bounce buffer, for reads into memory that DMA cannot access. On the ESP32-P4 these are most reads of
/// the engine.
const BOUNCE: usize = if cfg!(feature = "esp32p4") { LONGEST } else { 16 };

/// Divisor of the clock for the data timeout. A card sends the first byte of a block within 100 ms.
const DATA_PART: u32 = 4;

#[repr(C, align(64))]
struct Bounce([AlignedBlock; BOUNCE]);

static BOUNCE_BLOCKS: ConstStaticCell<Bounce> =
    ConstStaticCell::new(Bounce([const { aligned::Aligned([0; BLOCK_LEN]) }; BOUNCE]));

/// A card on the SD host's slot of this number.
pub type SdmmcCard<'d, const SLOT: u8> = Sdmmc<'static, SdHost<'d, SLOT>>;

/// The card on a slot with its pins. With fewer than four data lines, one is used. Must be called only once.
pub fn sdmmc<const SLOT: u8>(slot: HostSlot<'_, SLOT, esp_hal::Blocking>) -> SdmmcCard<'_, SLOT> {
    Sdmmc::new(SdHost(slot.into_async()), &mut BOUNCE_BLOCKS.take().0)
}

/// Enables the chip's internal pull-up of a line, before the slot takes the pin. CMD and each data line need one, DATA3
/// even with one data line. The ESP32's SD host does not enable the pull-up of a pad that has it elsewhere, as all of
/// these pads do.
pub fn pull_up(pin: impl InputPin) {
    Input::new(pin, InputConfig::default().with_pull(Pull::Up));
}

/// A slot of the host. esp-hal's interrupt stores the result of a transfer for the next poll. Dropping the future
/// earlier stops DMA and empties the FIFO.
pub struct SdHost<'d, const SLOT: u8>(HostSlot<'d, SLOT, Async>);

impl<const SLOT: u8> Host for SdHost<'_, SLOT> {
    const LONGEST: usize = LONGEST;

    fn reset(&mut self) {
        let control = SDHOST::regs().ctrl();
        control.modify(|_, w| w.controller_reset().set_bit().fifo_reset().set_bit().dma_reset().set_bit());
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1) {
            let control = control.read();
            let under_way = [control.controller_reset().bit(), control.fifo_reset().bit(), control.dma_reset().bit()];
            if under_way == [false; 3] {
                break;
            }
        }
    }

    fn set_data_timeout(&mut self, hz: u32) {
        // SAFETY: the fields hold any 24-bit and 8-bit numbers of clocks; the second one is the timeout of a command's
        // response.
        SDHOST::regs()
            .tmout()
            .write(|w| unsafe { w.response_timeout().bits(0xff).data_timeout().bits(hz / DATA_PART) });
    }

    fn reaches(&self, buf: &[u8]) -> bool {
        let place = buf.as_ptr_range();
        place.start.addr().is_multiple_of(ALIGNMENT) && DMA.start <= place.start.addr() && place.end.addr() <= DMA.end
    }

    fn micros() -> u32 {
        micros()
    }
}

/// Forwards to esp-hal.
impl<const SLOT: u8> MmcBus for SdHost<'_, SLOT> {
    async fn send_command<'a, C: ControlCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        self.0.send_command(command).await
    }

    async fn read_blocks<'a, C: BlockReadCommand + 'a>(
        &mut self,
        command: C,
        auto_stop: bool,
    ) -> Result<C::Resp<'a>, MmcError> {
        self.0.read_blocks(command, auto_stop).await
    }

    async fn write_blocks<'a, C: BlockWriteCommand + 'a>(
        &mut self,
        command: C,
        auto_stop: bool,
    ) -> Result<C::Resp<'a>, MmcError> {
        self.0.write_blocks(command, auto_stop).await
    }

    async fn read_bytes<'a, C: ByteReadCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        self.0.read_bytes(command).await
    }

    async fn write_bytes<'a, C: ByteWriteCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        self.0.write_bytes(command).await
    }

    async fn init_idle(&mut self, hz: u32) -> Result<(), MmcError> {
        self.0.init_idle(hz).await
    }

    fn set_bus(&mut self, width: BusWidth, hz: u32) -> Result<(), MmcError> {
        self.0.set_bus(width, hz)
    }

    fn supports_mmc(&self) -> bool {
        self.0.supports_mmc()
    }

    fn supports_auto_stop(&self) -> bool {
        self.0.supports_auto_stop()
    }

    fn supports_bus_width(&self) -> BusWidth {
        self.0.supports_bus_width()
    }

    fn supports_frequency(&self) -> u32 {
        self.0.supports_frequency()
    }
}
