//! File names with characters outside the Basic Multilingual Plane, such as emoji. FAT stores each one as two UTF-16
//! surrogates, which the crate `fatfs` cannot write. Code units of the Private Use Area stand in for them until the
//! file system is complete.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom, Write};

/// Number of surrogate code units.
const COUNT: u16 = 0x800;
const FIRST: u16 = 0xd800;
/// Starts of blocks of [`COUNT`] units in the Private Use Area.
const PRIVATE: [u16; 3] = [0xe000, 0xe800, 0xf000];
const SECTOR: u64 = 512;

/// A block of private-use units in place of the surrogates.
#[derive(Clone, Copy, Debug)]
pub struct StandIns {
    first: u16,
}

impl StandIns {
    /// A block that none of the names uses. None if every block is in use.
    pub fn new<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<Self> {
        let used =
            |first: u16| names.clone().flat_map(str::encode_utf16).any(|unit| (first..first + COUNT).contains(&unit));
        PRIVATE.into_iter().find(|&first| !used(first)).map(|first| Self { first })
    }

    /// The name with stand-ins for surrogates.
    pub fn instead_of(self, name: &str) -> String {
        let stand_in = |unit| if (FIRST..FIRST + COUNT).contains(&unit) { unit - FIRST + self.first } else { unit };
        let units: Vec<_> = name.encode_utf16().map(stand_in).collect();
        String::from_utf16_lossy(&units)
    }

    /// Replaces the stand-ins by surrogates in the root directory of the FAT32 file system at the byte offset `start`.
    pub fn put_back(self, image: &mut File, start: u64) -> Result<()> {
        let mut boot = [0; SECTOR as usize];
        read_at(image, start, &mut boot)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let (reserved, fats, fat_len) = (u16_at(14), u64::from(boot[16]), u16_at(36) | u16_at(38) << 16);
        let fat = start + reserved * SECTOR;
        let data = fat + fats * fat_len * SECTOR;
        let mut entries = vec![0; usize::from(boot[13]) * SECTOR as usize];
        let mut cluster = u16_at(44) | u16_at(46) << 16;
        while (2..0x0fff_fff7).contains(&cluster) {
            let at = data + (cluster - 2) * entries.len() as u64;
            read_at(image, at, &mut entries)?;
            entries.chunks_exact_mut(32).for_each(|entry| self.put_into(entry));
            image.seek(SeekFrom::Start(at))?;
            image.write_all(&entries)?;
            let mut next = [0; 4];
            read_at(image, fat + cluster * 4, &mut next)?;
            cluster = u64::from(u32::from_le_bytes(next) & 0x0fff_ffff);
        }
        Ok(())
    }

    /// Replaces the stand-ins in a directory entry, if the entry is part of a long name.
    fn put_into(self, entry: &mut [u8]) {
        const LONG_NAME: u8 = 0x0f;
        if entry[11] != LONG_NAME {
            return;
        }
        for at in [1..11, 14..26, 28..32].into_iter().flat_map(|units| units.step_by(2)) {
            let unit = u16::from_le_bytes([entry[at], entry[at + 1]]);
            if (self.first..self.first + COUNT).contains(&unit) {
                entry[at..at + 2].copy_from_slice(&(unit - self.first + FIRST).to_le_bytes());
            }
        }
    }
}

fn read_at(image: &mut File, at: u64, bytes: &mut [u8]) -> Result<()> {
    image.seek(SeekFrom::Start(at))?;
    image.read_exact(bytes)
}
