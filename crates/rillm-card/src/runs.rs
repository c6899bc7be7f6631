//! Where a file's blocks lie.

use crate::blocks::{Blocks, Window};
use crate::error::Error;
use crate::volume::{BLOCK_LEN, Volume};

/// Blocks that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub first: u32,
    pub len: u32,
}

/// A file's runs in its order. None of them overlap.
#[derive(Debug)]
pub(crate) struct Runs<const N: usize> {
    runs: [Run; N],
    len: usize,
}

impl<const N: usize> Runs<N> {
    /// Follows the chain of clusters from `cluster` on for a file of `len` bytes, at least 1.
    ///
    /// No cluster is taken twice, so that this ends on any card.
    pub async fn of<B: Blocks>(
        window: &mut Window<'_, B>,
        volume: &Volume,
        cluster: u32,
        len: u32,
    ) -> Result<Self, Error<B::Error>> {
        let expected = len.div_ceil(BLOCK_LEN as u32).div_ceil(volume.blocks_per_cluster);
        let mut runs = Self { runs: [Run { first: 0, len: 0 }; N], len: 0 };
        let mut cluster = volume.check(cluster)?;
        let mut found = 0;
        loop {
            let block = volume.block_of(cluster);
            if runs.contain(block) {
                return Err(Error::ChainLoop { cluster });
            }
            if found == expected {
                // The chain goes on: room that some systems reserve behind a file.
                return Ok(runs);
            }
            runs.push(Run { first: block, len: volume.blocks_per_cluster }).ok_or(Error::TooManyRuns { most: N })?;
            found += 1;
            match volume.next(window, cluster).await? {
                Some(next) => cluster = next,
                None if found == expected => return Ok(runs),
                None => return Err(Error::ChainShort { found, expected }),
            }
        }
    }

    fn contain(&self, block: u32) -> bool {
        self.iter().any(|run| block.checked_sub(run.first).is_some_and(|at| at < run.len))
    }

    /// Appends a run, to the last one where it follows upon it; none without room.
    fn push(&mut self, run: Run) -> Option<()> {
        if let Some(last) = self.runs[..self.len].last_mut().filter(|last| last.first + last.len == run.first) {
            last.len += run.len;
        } else {
            *self.runs.get_mut(self.len)? = run;
            self.len += 1;
        }
        Some(())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs[..self.len].iter()
    }
}
