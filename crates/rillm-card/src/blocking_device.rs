//! Cards that block: drivers of embedded-sdmmc's `BlockDevice`.

use core::mem::{align_of, offset_of, size_of};
use core::slice;

use embedded_hal::spi::{Operation, SpiDevice};
use embedded_sdmmc_types::{Block, BlockDevice, BlockIdx};

use crate::blocks::Blocks;

/// A blocking driver: embedded-sdmmc's `SdCard`, or any other of its `BlockDevice`s. Reads go straight into the caller's
/// buffer, several blocks by one command.
#[derive(Debug)]
pub struct BlockingDevice<D, R> {
    device: D,
    recover: R,
}

impl<D: BlockDevice, R: FnMut(&D)> BlockingDevice<D, R> {
    /// `recover` brings the card back after an error: with `SdCard` it calls [`stop_sending`] and `mark_card_uninit`.
    pub const fn new(device: D, recover: R) -> Self {
        Self { device, recover }
    }

    /// The driver.
    pub const fn device(&self) -> &D {
        &self.device
    }
}

impl<D: BlockDevice, R: FnMut(&D)> Blocks for BlockingDevice<D, R> {
    type Error = D::Error;

    async fn count(&mut self) -> Result<u32, D::Error> {
        Ok(self.device.num_blocks()?.0)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), D::Error> {
        self.device.read(as_blocks(buf), BlockIdx(first))
    }

    async fn recover(&mut self) -> Result<(), D::Error> {
        (self.recover)(&self.device);
        Ok(())
    }
}

/// Tells a card over SPI to stop sending, where it does. To be called before the card is initialised anew.
///
/// A read of several blocks that ends with an error, as a block with a wrong CRC does, leaves the card sending the next one.
/// `SdCard` does not stop it, and takes what it sends for answers. So it does where a program was reset in the middle of a
/// single block, which a card sends to its end: that passes by.
pub fn stop_sending<SPI: SpiDevice>(spi: &mut SPI) {
    const STOP_TRANSMISSION: [u8; 6] = [0x40 | 12, 0, 0, 0, 0, 0x61];
    /// A block with its token and its checksum.
    const PASSING: usize = 1 + Block::LEN + 2;
    // What is wrong with the bus, the next command meets again.
    let _ = spi.write(&STOP_TRANSMISSION);
    // A byte of nothing, the answer, which has up to 8 bytes of time, and some of being busy; or the rest of a block.
    for _ in 0..PASSING.div_ceil(16) {
        let _ = spi.transaction(&mut [Operation::TransferInPlace(&mut [0xff; 16])]);
    }
}

/// The whole blocks of `buf`.
pub(crate) fn as_blocks(buf: &mut [u8]) -> &mut [Block] {
    // `Block` has one field and no `repr`. A compiler that put anything but the field's bytes into it would end here.
    const { assert!(size_of::<Block>() == Block::LEN && align_of::<Block>() == 1 && offset_of!(Block, contents) == 0) };
    let (blocks, _) = buf.as_chunks_mut::<{ Block::LEN }>();
    // SAFETY: by the assertion a `Block` is its field, 512 bytes of any value at any address: the slice is as long, as
    // aligned and as valid as the one of arrays, whose unique borrow it takes over.
    unsafe { slice::from_raw_parts_mut(blocks.as_mut_ptr().cast::<Block>(), blocks.len()) }
}
