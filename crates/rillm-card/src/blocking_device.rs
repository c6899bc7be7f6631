//! Blocking block devices: drivers that implement embedded-sdmmc's `BlockDevice`.

use core::mem::{align_of, offset_of, size_of};
use core::slice;

use embedded_hal::spi::{Operation, SpiDevice};
use embedded_sdmmc_types::{Block, BlockDevice, BlockIdx};

use crate::blocks::Blocks;

/// A blocking driver as [`Blocks`]: embedded-sdmmc's `SdCard`, or any other implementation of its `BlockDevice`. Reads
/// go straight into the caller's buffer, several blocks by one command.
#[derive(Debug)]
pub struct BlockingDevice<D, R> {
    device: D,
    recover: R,
}

impl<D: BlockDevice, R: FnMut(&D)> BlockingDevice<D, R> {
    /// `recover` prepares the driver to reinitialise the card after an error. For `SdCard` it calls [`stop_sending`]
    /// and `mark_card_uninit`.
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

/// Tells a card over SPI to stop sending. Call it before the card is initialised again.
///
/// After an error in a read of several blocks, such as a wrong CRC, the card goes on to send the next block. `SdCard`
/// does not stop it and takes the data for answers. The same happens when the chip is reset in the middle of a single
/// block. A card sends a single block to its end, so this function waits for that.
pub fn stop_sending<SPI: SpiDevice>(spi: &mut SPI) {
    const STOP_TRANSMISSION: [u8; 6] = [0x40 | 12, 0, 0, 0, 0, 0x61];
    /// Bytes of a block with its token and its checksum.
    const PASSING: usize = 1 + Block::LEN + 2;
    // An error of the bus shows up again in the next command.
    let _ = spi.write(&STOP_TRANSMISSION);
    // The card sends a stuff byte, the answer within 8 bytes, and busy bytes; or the rest of a block.
    for _ in 0..PASSING.div_ceil(16) {
        let _ = spi.transaction(&mut [Operation::TransferInPlace(&mut [0xff; 16])]);
    }
}

/// The whole blocks of `buf`.
pub(crate) fn as_blocks(buf: &mut [u8]) -> &mut [Block] {
    // `Block` has one field and no `repr`. This assertion fails if a compiler lays it out differently from its field.
    const { assert!(size_of::<Block>() == Block::LEN && align_of::<Block>() == 1 && offset_of!(Block, contents) == 0) };
    let (blocks, _) = buf.as_chunks_mut::<{ Block::LEN }>();
    // SAFETY: by the assertion a `Block` is its field, 512 bytes of any value at any address: the slice is as long, as
    // aligned and as valid as the one of arrays, whose unique borrow it takes over.
    unsafe { slice::from_raw_parts_mut(blocks.as_mut_ptr().cast::<Block>(), blocks.len()) }
}
