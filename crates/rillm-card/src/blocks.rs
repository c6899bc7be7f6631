//! Blocks of a card: the seam to its driver, and reads that are tried again.

use core::future::Future;

use crate::error::Error;

/// How often an operation that failed is tried again before its error is the caller's.
pub const RETRIES: u32 = 3;

/// A card, as far as this crate needs one. `BlockingDevice` and `AsyncDevice` make one of a driver.
pub trait Blocks {
    /// The driver's error.
    type Error;

    /// Blocks of 512 bytes that the card has; `u32::MAX` where it has more, or where nobody knows. Asked once, after a
    /// read.
    fn count(&mut self) -> impl Future<Output = Result<u32, Self::Error>>;

    /// Fills `buf`, a whole, non-zero number of blocks of any alignment, with the blocks from `first` on. The future may be
    /// dropped before it is ready; the transfer must have stopped when the drop returns.
    fn read(&mut self, first: u32, buf: &mut [u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// Brings the card back after an error: the next operation may expect it initialised, or initialise it itself.
    fn recover(&mut self) -> impl Future<Output = Result<(), Self::Error>>;
}

impl<B: Blocks> Blocks for &mut B {
    type Error = B::Error;

    async fn count(&mut self) -> Result<u32, B::Error> {
        (**self).count().await
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), B::Error> {
        (**self).read(first, buf).await
    }

    async fn recover(&mut self) -> Result<(), B::Error> {
        (**self).recover().await
    }
}

/// A card whose operations are tried again.
#[derive(Debug)]
pub(crate) struct Retrying<B> {
    pub blocks: B,
    pub retries: u32,
}

impl<B: Blocks> Retrying<B> {
    pub fn new(blocks: B) -> Self {
        Self { blocks, retries: 0 }
    }

    pub async fn count(&mut self) -> Result<u32, Error<B::Error>> {
        self.tried(async |blocks: &mut B| blocks.count().await).await
    }

    pub async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Error<B::Error>> {
        self.tried(async |blocks: &mut B| blocks.read(first, buf).await).await
    }

    async fn tried<T>(
        &mut self,
        mut attempt: impl AsyncFnMut(&mut B) -> Result<T, B::Error>,
    ) -> Result<T, Error<B::Error>> {
        let mut result = attempt(&mut self.blocks).await;
        for _ in 0..RETRIES {
            if result.is_ok() {
                break;
            }
            self.retries = self.retries.saturating_add(1);
            result = match self.blocks.recover().await {
                Ok(()) => attempt(&mut self.blocks).await,
                Err(error) => Err(error),
            };
        }
        result.map_err(Error::Device)
    }
}
