//! The block cache: the one block of a file system structure that was read last.

use crate::blocks::{Blocks, Retrying};
use crate::error::Error;
use crate::volume::BLOCK_LEN;

/// A cache of one block, for reads of file system structures.
pub(crate) struct BlockCache<'a, B> {
    card: &'a mut Retrying<B>,
    bytes: [u8; BLOCK_LEN],
    held: Option<u32>,
}

impl<'a, B: Blocks> BlockCache<'a, B> {
    pub fn new(card: &'a mut Retrying<B>) -> Self {
        Self { card, bytes: [0; BLOCK_LEN], held: None }
    }

    /// The block with this number, read from the card unless it is the cached one.
    pub async fn block(&mut self, block: u32) -> Result<&[u8; BLOCK_LEN], Error<B::Error>> {
        if self.held != Some(block) {
            self.held = None;
            self.card.read(block, &mut self.bytes).await?;
            self.held = Some(block);
        }
        Ok(&self.bytes)
    }

    pub async fn count(&mut self) -> Result<u32, Error<B::Error>> {
        self.card.count().await
    }
}
