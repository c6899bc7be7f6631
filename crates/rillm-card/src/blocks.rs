//! The interface to a card's driver, and retries of its reads.

use core::future::Future;

use crate::error::Error;

/// How often an operation that failed is retried before its error is returned.
pub const RETRIES: u32 = 3;

/// A read-only block device. `BlockingDevice` and `AsyncDevice` implement it for drivers of other crates.
pub trait Blocks {
    /// The driver's error.
    type Error;

    /// The number of 512-byte blocks of the card; `u32::MAX` if there are more or if the number is unknown. Called
    /// once, after a read.
    fn count(&mut self) -> impl Future<Output = Result<u32, Self::Error>>;

    /// Reads the blocks from `first` on into `buf`, whose length is a whole, non-zero number of blocks and whose
    /// alignment is any. The future may be dropped before it is ready; the transfer must have stopped when the drop
    /// returns.
    fn read(&mut self, first: u32, buf: &mut [u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// Recovers from an error: reinitialises the card now, or at the next operation.
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

/// A block device whose operations are retried.
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
