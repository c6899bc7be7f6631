//! The layout of a FAT file system on a card.

use crate::block_cache::BlockCache;
use crate::blocks::Blocks;
use crate::error::Error;
use crate::partitions::GPT;
use crate::search::PartitionId;

/// Bytes of a block.
pub(crate) const BLOCK_LEN: usize = 512;

/// The layout of a file system, in blocks of the card.
///
/// Every block of every cluster lies on the card, so block numbers below do not overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    pub kind: FatKind,
    pub root: Root,
    /// The first block of the active file allocation table.
    pub fat: u32,
    /// The first block of cluster 2, which is the first cluster.
    pub data: u32,
    pub blocks_per_cluster: u32,
    pub last_cluster: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FatKind {
    Fat16,
    Fat32,
}

/// Where the root directory lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    Blocks { first: u32, count: u32 },
    Chain { cluster: u32 },
}

impl Volume {
    /// Reads the file system that starts at block `start` of a card of `count` blocks.
    pub async fn open<B: Blocks>(
        cache: &mut BlockCache<'_, B>,
        start: u64,
        partition: PartitionId,
        count: u32,
    ) -> Result<Self, Error<B::Error>> {
        let start = match u32::try_from(start) {
            Ok(start) if start < count => start,
            _ => return Err(Error::CardTooSmall { needed: start.saturating_add(1), found: count }),
        };
        let block = cache.block(start).await?;
        match &block[3..11] {
            b"EXFAT   " => return Err(Error::ExFat),
            b"NTFS    " => return Err(Error::Ntfs),
            _ if starts_file_system(block) => {}
            _ if matches!(partition, PartitionId::Mbr { kind: GPT, .. }) => return Err(Error::Gpt),
            _ => return Err(Error::NotFat { block: start, partition }),
        }
        let (volume, end) = Self::parse(block, start)?;
        if end > u64::from(count) {
            return Err(Error::CardTooSmall { needed: end, found: count });
        }
        Ok(volume)
    }

    /// Parses the boot sector at block `start`. Returns the file system and the block after its last.
    fn parse<E>(block: &[u8; BLOCK_LEN], start: u32) -> Result<(Self, u64), Error<E>> {
        let sector_len = u16_at(block, 11);
        if usize::from(sector_len) != BLOCK_LEN {
            return Err(Error::SectorLen { found: sector_len });
        }
        if !block[13].is_power_of_two() {
            return Err(Error::ClusterLen { found: block[13] });
        }
        let blocks_per_cluster = u32::from(block[13]);
        let reserved = non_zero("number of reserved sectors", u16_at(block, 14).into())?;
        let fats = non_zero("number of tables", block[16].into())?;
        let root_blocks = u32::from(u16_at(block, 17)).div_ceil(16);
        let total = match u16_at(block, 19) {
            0 => non_zero("number of sectors", u32_at(block, 32))?,
            total => total.into(),
        };
        let (kind, fat_len) = match u16_at(block, 22) {
            0 => (FatKind::Fat32, non_zero("length of a table", u32_at(block, 36))?),
            len => (FatKind::Fat16, len.into()),
        };

        let fats_len = u64::from(fats) * u64::from(fat_len);
        let data = u64::from(reserved) + fats_len + u64::from(root_blocks);
        let clusters = u64::from(total).saturating_sub(data) / u64::from(blocks_per_cluster);
        if clusters == 0 {
            return Err(Error::BootSector { field: "number of sectors", found: total });
        }
        if kind == FatKind::Fat16 && clusters < 4085 {
            return Err(Error::Fat12);
        }
        let entry_len = if kind == FatKind::Fat16 { 2 } else { 4 };
        let most = if kind == FatKind::Fat16 { 0xfff5 } else { 0x0fff_fff5 };
        // Clusters without an entry in the table do not exist.
        let entries = u64::from(fat_len) * (BLOCK_LEN as u64 / entry_len);
        let last_cluster = (clusters + 1).min(entries - 1).min(most) as u32;

        let (root, active) = match kind {
            FatKind::Fat16 => {
                let first = u64::from(start) + u64::from(reserved) + fats_len;
                (Root::Blocks { first: first as u32, count: root_blocks }, 0)
            }
            FatKind::Fat32 => {
                let cluster = u32_at(block, 44);
                if !(2..=last_cluster).contains(&cluster) {
                    return Err(Error::BootSector { field: "cluster of the root directory", found: cluster });
                }
                // The tables are copies of each other, unless this flag selects one.
                let flags = u16_at(block, 40);
                (Root::Chain { cluster }, if flags & 0x80 == 0 { 0 } else { u32::from(flags & 0x0f) })
            }
        };
        if active >= fats {
            return Err(Error::BootSector { field: "table in use", found: active });
        }
        let fat = u64::from(start) + u64::from(reserved) + u64::from(active) * u64::from(fat_len);
        // Numbers are truncated only if the end lies past 2^32, which the caller rejects.
        let volume = Self {
            kind,
            root,
            fat: fat as u32,
            data: (u64::from(start) + data) as u32,
            blocks_per_cluster,
            last_cluster,
        };
        Ok((volume, u64::from(start) + u64::from(total)))
    }

    /// The first block of a cluster that [`check`](Self::check) accepted.
    pub fn block_of(&self, cluster: u32) -> u32 {
        self.data + (cluster - 2) * self.blocks_per_cluster
    }

    /// Returns `cluster` if a cluster has this number.
    pub fn check<E>(&self, cluster: u32) -> Result<u32, Error<E>> {
        if (2..=self.last_cluster).contains(&cluster) {
            Ok(cluster)
        } else {
            Err(Error::ChainOutside { cluster, last: self.last_cluster })
        }
    }

    /// The cluster after `cluster` in its chain; `None` at the end.
    pub async fn next<B: Blocks>(
        &self,
        cache: &mut BlockCache<'_, B>,
        cluster: u32,
    ) -> Result<Option<u32>, Error<B::Error>> {
        let (entry, bad) = match self.kind {
            FatKind::Fat16 => {
                let block = cache.block(self.fat + cluster / 256).await?;
                (u16_at(block, (cluster % 256) as usize * 2).into(), 0xfff7)
            }
            FatKind::Fat32 => {
                let block = cache.block(self.fat + cluster / 128).await?;
                (u32_at(block, (cluster % 128) as usize * 4) & 0x0fff_ffff, 0x0fff_fff7)
            }
        };
        match entry {
            0 => Err(Error::ChainFree { cluster }),
            entry if entry == bad => Err(Error::ChainBad { cluster }),
            entry if entry > bad => Ok(None),
            entry => self.check(entry).map(Some),
        }
    }
}

/// Whether a block begins with a jump instruction and has a sector length, as a boot sector has and a partition table
/// has not. exFAT stores its sector length elsewhere.
pub(crate) fn starts_file_system(block: &[u8; BLOCK_LEN]) -> bool {
    let jump = matches!(block[0], 0xeb | 0xe9);
    let sector_len = u16_at(block, 11);
    let fat = sector_len.is_power_of_two() && (128..=4096).contains(&sector_len);
    has_signature(block) && jump && (fat || &block[3..11] == b"EXFAT   ")
}

pub(crate) fn has_signature(block: &[u8; BLOCK_LEN]) -> bool {
    block[510..] == [0x55, 0xaa]
}

fn non_zero<E>(field: &'static str, value: u32) -> Result<u32, Error<E>> {
    if value == 0 { Err(Error::BootSector { field, found: 0 }) } else { Ok(value) }
}

/// The number at `at`, which lies in `bytes`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The number at `at`, which lies in `bytes`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The number at `at`, which lies in `bytes`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
