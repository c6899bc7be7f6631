//! Asynchronous block devices: drivers that implement block-device-driver's `BlockDevice`.

use aligned::{Aligned, Alignment};
use block_device_driver::{BlockDevice, slice_to_blocks_mut};

use crate::blocks::Blocks;
use crate::volume::BLOCK_LEN;

/// An asynchronous driver as [`Blocks`]: the `BlockDevice` of `sdio`, which esp-hal and embassy use, or any other
/// implementation of block-device-driver's `BlockDevice`.
///
/// A read goes straight into a buffer with the alignment that the driver requires (4 bytes for `sdio`), which the
/// engine's buffers have. A buffer with another alignment takes two reads, the second one for the last block, through
/// the stack.
#[derive(Debug)]
pub struct AsyncDevice<D, R> {
    device: D,
    recover: R,
}

impl<D, R> AsyncDevice<D, R>
where
    D: BlockDevice<BLOCK_LEN>,
    R: AsyncFnMut(&mut D) -> Result<(), D::Error>,
{
    /// `recover` reinitialises the card after an error. For a card on an SD host use `Sdmmc`: `reacquire` of `sdio`'s
    /// `BlockDevice` cannot reinitialise a card that has had an address.
    pub const fn new(device: D, recover: R) -> Self {
        Self { device, recover }
    }

    /// The driver.
    pub const fn device(&mut self) -> &mut D {
        &mut self.device
    }
}

impl<D, R> Blocks for AsyncDevice<D, R>
where
    D: BlockDevice<BLOCK_LEN>,
    R: AsyncFnMut(&mut D) -> Result<(), D::Error>,
{
    type Error = D::Error;

    async fn count(&mut self) -> Result<u32, D::Error> {
        let blocks = self.device.size().await? / BLOCK_LEN as u64;
        Ok(u32::try_from(blocks).unwrap_or(u32::MAX))
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), D::Error> {
        let short_of_aligned = buf.as_ptr().addr().wrapping_neg() % D::Align::ALIGN;
        if short_of_aligned == 0 {
            return self.device.read(first, slice_to_blocks_mut(buf)).await;
        }
        let Some(body_len) = buf.len().checked_sub(BLOCK_LEN) else {
            return Ok(());
        };
        if body_len > 0 {
            // The buffer has one more block behind the body, and no alignment is larger than a block.
            let aligned = short_of_aligned..short_of_aligned + body_len;
            self.device.read(first, slice_to_blocks_mut(&mut buf[aligned.clone()])).await?;
            buf.copy_within(aligned, 0);
        }
        let mut block = [Aligned::<D::Align, _>([0; BLOCK_LEN])];
        self.device.read(first + (body_len / BLOCK_LEN) as u32, &mut block).await?;
        buf[body_len..].copy_from_slice(&*block[0]);
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), D::Error> {
        (self.recover)(&mut self.device).await
    }
}
