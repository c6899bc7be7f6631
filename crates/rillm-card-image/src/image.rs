//! Card images: a partition table, and one FAT32 partition with files in its root directory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use anyhow::{Context, Result, ensure};
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume};
use fscommon::StreamSlice;
use rillm_generate::number::Bytes;

use crate::surrogates::StandIns;

const SECTOR: u64 = 512;
/// Start of the partition in bytes: the erase unit of cards, and the alignment that formatters use.
const PARTITION: u64 = 4 << 20;
/// Smallest image in bytes: the partition's offset and the clusters that FAT32 requires.
const LEAST: u64 = 37 << 20;
const SMALLEST: u64 = 64 << 20;
const LARGEST: u64 = 1 << 40;
/// FAT32 requires at least 65,525 clusters. A few more cover drivers that count differently.
const LEAST_CLUSTERS: u64 = 65_600;

/// A file to put on a card.
pub struct Content {
    /// File name on the card.
    pub name: String,
    /// Length in bytes.
    pub len: u32,
    /// The contents, `len` bytes.
    pub bytes: Box<dyn Read>,
}

/// The layout of an image.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Length of the image in bytes, a multiple of the sector length.
    pub size: u64,
    /// Length of a cluster in bytes.
    pub cluster_len: u32,
}

impl Layout {
    /// A layout of `size` bytes, or without one of the smallest power of two that holds `contents`.
    ///
    /// # Errors
    /// The size is out of range, or has no room for the contents. The message names `rillm card`'s option.
    pub fn new(size: Option<u64>, contents: &[Content]) -> Result<Self> {
        let all = contents.iter().map(|content| u64::from(content.len)).sum();
        match size {
            Some(size) => {
                ensure!(size <= LARGEST, "an image has 1024G at most; use a smaller --size");
                let layout =
                    Some(size).filter(|&size| size >= LEAST).and_then(|size| Self::of_size(size / SECTOR * SECTOR));
                let layout = layout.with_context(|| {
                    format!("FAT32 takes 37M at least and does not fit into {}; use --size 64M", Bytes(size))
                })?;
                let (all, size) = (Bytes(all), Bytes(size));
                ensure!(layout.holds(contents), "the models, {all}, do not fit into {size}; use a larger --size");
                Ok(layout)
            }
            None => {
                let mut sizes = (SMALLEST.ilog2()..=LARGEST.ilog2()).filter_map(|log| Self::of_size(1 << log));
                let layout = sizes.find(|layout| layout.holds(contents));
                layout.with_context(|| format!("the models, {}, fit no card", Bytes(all)))
            }
        }
    }

    /// The layout with the largest clusters that still gives FAT32 enough of them. A device finds a file faster among
    /// fewer clusters.
    fn of_size(size: u64) -> Option<Self> {
        let fits = |cluster_len: &u32| Self { size, cluster_len: *cluster_len }.clusters() >= LEAST_CLUSTERS;
        let cluster_len = (0..7).rev().map(|log| 512 << log).find(fits)?;
        Some(Self { size, cluster_len })
    }

    /// Clusters of the file system, rounded down: each one takes its own length and an entry of 4 bytes in both FATs.
    fn clusters(&self) -> u64 {
        self.size.saturating_sub(PARTITION + 64 * SECTOR) / (u64::from(self.cluster_len) + 8)
    }

    fn holds(&self, contents: &[Content]) -> bool {
        let clusters = |len: u64| len.div_ceil(self.cluster_len.into());
        let entries = |name: &str| 1 + name.encode_utf16().count().div_ceil(13) as u64;
        let directory = 32 * (1 + contents.iter().map(|content| entries(&content.name)).sum::<u64>());
        let files = contents.iter().map(|content| clusters(content.len.into()));
        clusters(directory) + files.sum::<u64>() <= self.clusters()
    }
}

/// Writes an image to an empty file. `progress` receives the name of the current file and the number of bytes just
/// written. If it breaks, writing stops and the image is incomplete.
///
/// The same files, size and label give the same bytes.
///
/// # Errors
/// A file cannot be read or written, or its name is none for a card.
///
/// # Panics
/// If the label has more than 11 bytes.
pub fn write(
    image: &mut File,
    layout: &Layout,
    contents: &mut [Content],
    label: &str,
    mut progress: impl FnMut(&str, u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    image.set_len(layout.size)?;
    let id = identity(label, contents);
    write_partition_table(image, layout, id)?;

    let mut label_bytes = [b' '; 11];
    label_bytes[..label.len()].copy_from_slice(label.as_bytes());
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(layout.cluster_len)
        .fat_type(FatType::Fat32)
        .volume_id(id)
        .volume_label(label_bytes);
    let stand_ins = StandIns::new(contents.iter().map(|content| &*content.name));
    let stand_ins = stand_ins.context("the names have characters of every kind of private use; rename a file")?;
    let mut partition = StreamSlice::new(&mut *image, PARTITION, layout.size)?;
    format_volume(&mut partition, options)?;
    let card = FileSystem::new(partition, FsOptions::new().time_provider(&NoClock))?;
    let root = card.root_dir();
    let mut buffer = vec![0; 256 << 10];
    for Content { name, len, bytes } in contents {
        let created = root.create_file(&stand_ins.instead_of(name));
        let mut file = created.with_context(|| format!("a card cannot hold a file called {name}; rename it"))?;
        let mut left = *len as usize;
        while left > 0 {
            let piece = &mut buffer[..left.min(256 << 10)];
            bytes.read_exact(piece).with_context(|| format!("cannot read {name}"))?;
            file.write_all(piece)?;
            left -= piece.len();
            if progress(name, piece.len() as u64).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        file.flush()?;
    }
    drop(root);
    card.unmount()?;
    stand_ins.put_back(image, PARTITION)?;
    Ok(ControlFlow::Continue(()))
}

/// A clock that stands at FAT's first day, so that equal inputs give equal images.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// The disk signature, from a checksum of the label and the files: two cards in one computer need different ones.
fn identity(label: &str, contents: &[Content]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(label.as_bytes());
    for content in contents {
        hasher.update(content.name.as_bytes());
        hasher.update(&content.len.to_le_bytes());
    }
    hasher.finalize()
}

/// Writes a partition table with one partition, from [`PARTITION`] to the end of the image.
fn write_partition_table(image: &mut File, layout: &Layout, id: u32) -> Result<()> {
    const FAT32: u8 = 0x0c;
    // Cylinder, head and sector of a block beyond the range of such addresses.
    const BY_NUMBER: [u8; 3] = [0xfe, 0xff, 0xff];
    let first = (PARTITION / SECTOR) as u32;
    let count = (layout.size / SECTOR) as u32 - first;
    let mut table = [0; SECTOR as usize];
    table[440..444].copy_from_slice(&id.to_le_bytes());
    table[447..450].copy_from_slice(&BY_NUMBER);
    table[450] = FAT32;
    table[451..454].copy_from_slice(&BY_NUMBER);
    table[454..458].copy_from_slice(&first.to_le_bytes());
    table[458..462].copy_from_slice(&count.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    image.seek(SeekFrom::Start(0))?;
    Ok(image.write_all(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(lens: &[u32]) -> Vec<Content> {
        let content =
            |(index, &len)| Content { name: format!("{index}.rillm"), len, bytes: Box::new(std::io::empty()) };
        lens.iter().enumerate().map(content).collect()
    }

    fn size(lens: &[u32]) -> u64 {
        Layout::new(None, &contents(lens)).expect("a card").size >> 20
    }

    #[test]
    fn the_smallest_power_of_two() {
        assert_eq!(size(&[1]), 64);
        assert_eq!(size(&[50 << 20]), 64);
        assert_eq!(size(&[60 << 20]), 128);
        assert_eq!(size(&[20 << 20, 20 << 20, 20 << 20]), 128);
        assert_eq!(size(&[u32::MAX]), 8192);
    }

    #[test]
    fn clusters_are_as_large_as_fat32_lets_them_be() {
        for (mib, cluster_len) in [(40, 512), (64, 512), (128, 1024), (256, 2048), (1 << 10, 8192), (1 << 20, 32_768)] {
            let layout = Layout::new(Some(mib << 20), &contents(&[1])).expect("a card");
            assert_eq!(layout.cluster_len, cluster_len, "{mib} MiB");
            assert!(layout.clusters() >= LEAST_CLUSTERS);
        }
    }

    #[test]
    fn sizes_that_do_not_do() {
        let error = |size, lens: &[u32]| Layout::new(Some(size), &contents(lens)).expect_err("an error").to_string();
        for size in [0, 1, LEAST - 1] {
            assert!(error(size, &[1]).contains("FAT32 takes 37M at least"), "{size}");
        }
        assert!(Layout::new(Some(LEAST), &contents(&[1])).is_ok());
        assert!(error(2 << 40, &[1]).contains("smaller"));
        assert!(error(64 << 20, &[62 << 20]).contains("larger"));
        // Every size that is accepted has room: a file of all clusters but the directory's.
        let layout = Layout::new(Some(64 << 20), &contents(&[1])).expect("a card");
        let all = (layout.clusters() - 1) as u32 * layout.cluster_len;
        assert!(layout.holds(&contents(&[all])));
        assert!(!layout.holds(&contents(&[all + 1])));
    }

    #[test]
    fn a_full_card() {
        let layout = Layout::new(Some(40 << 20), &contents(&[1])).expect("a card");
        let len = (layout.clusters() - 1) as u32 * layout.cluster_len;
        let bytes = Box::new(std::io::repeat(1));
        let mut image = tempfile::tempfile().expect("a file");
        let mut written = 0;
        let progress = |_: &str, bytes| {
            written += bytes;
            ControlFlow::Continue(())
        };
        let mut contents = [Content { name: "full.rillm".to_owned(), len, bytes }];
        write(&mut image, &layout, &mut contents, "RILLM", progress)
            .expect("an image")
            .continue_value()
            .expect("whole");
        assert_eq!(written, u64::from(len));
    }
}
