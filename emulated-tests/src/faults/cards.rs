//! Defective cards, made by changing the image of a good one.

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fatfs::{Dir, FileSystem, FsOptions};
use rillm::format::crc32;

/// Length in bytes of an extent of the file in many extents.
const FRAGMENT: usize = 64 << 10;
/// The board's report of the number of extents of [`FRAGMENT`] bytes, for the bundled model.
pub const FRAGMENTS: &str = "28 fragments";
/// Byte offset of the first partition's type in a partition table; the number of its first block follows.
const PARTITION_TYPE: usize = 450;
const PARTITION_START: usize = 454;
const TABLE: std::ops::Range<usize> = 446..510;
const BLOCK: usize = 512;
/// Byte offset of the format's version in a model's header, which ends with its checksum.
const VERSION: usize = 8;

/// The contents of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardContents {
    /// The model.
    Whole,
    /// The model, cut off after this many bytes.
    Cut(u64),
    /// The model without this many bytes at its end.
    CutBy(u64),
    /// The model in many extents.
    InFragments,
    /// A file that cannot be used, and the model after it.
    After(Unusable),
    /// A file that cannot be used, and no other one.
    Alone(Unusable),
    /// A file system with another file.
    NoModel,
    /// A partition table without a partition.
    NoPartition,
    /// A partition that starts with the signature of exFAT.
    ExFat,
    /// Only zeros.
    Erased,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its header has a byte that differs from the checksum.
    Damaged,
    /// It is of another version of the format.
    OtherVersion,
}

impl Unusable {
    /// Name of the file.
    pub const NAME: &str = "unusable.rillm";

    /// Changes a model's file.
    fn change(self, model: &mut [u8]) -> Result<()> {
        let (header, crc) =
            model.get_mut(..BLOCK).and_then(|block| block.split_last_chunk_mut()).context("no header")?;
        match self {
            // The last byte before the checksum.
            Self::Damaged => header[header.len() - 1] ^= 1,
            Self::OtherVersion => {
                header[VERSION] ^= 2;
                *crc = crc32(header).to_le_bytes();
            }
        }
        Ok(())
    }
}

impl CardContents {
    /// Writes the image to `path`. `whole` is the image of a good card with the file `name`.
    ///
    /// # Errors
    /// `whole` has no such file, or the image cannot be written.
    pub fn write(self, whole: &[u8], name: &str, path: &Path) -> Result<PathBuf> {
        let mut image = whole.to_vec();
        self.change(&mut image, name)?;
        write_sparse(&image, path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_owned())
    }

    /// Writes the file that replaces a card to `path`, or no file.
    ///
    /// # Errors
    /// `model` cannot be read, the file cannot be written, or the case does not exist without a card.
    pub fn write_file(self, model: &Path, path: &Path) -> Result<PathBuf> {
        if self == Self::NoModel {
            return Ok(path.with_extension("missing"));
        }
        let Self::Cut(len) = self else { bail!("a file cannot be {self:?}") };
        let bytes = fs::read(model).with_context(|| format!("cannot read {}", model.display()))?;
        let first = bytes.get(..len as usize).context("the model is shorter than that")?;
        fs::write(path, first).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_owned())
    }

    fn change(self, image: &mut [u8], name: &str) -> Result<()> {
        match self {
            Self::Whole => Ok(()),
            Self::Cut(len) => on_partition(image, |root| Ok(cut(root, name, len)?)),
            Self::CutBy(bytes) => on_partition(image, |root| {
                let len = root.open_file(name)?.seek(SeekFrom::End(0))?;
                Ok(cut(root, name, len.saturating_sub(bytes))?)
            }),
            Self::InFragments => on_partition(image, |root| {
                let mut model = Vec::new();
                root.open_file(name)?.read_to_end(&mut model)?;
                root.remove(name)?;
                let (mut file, mut other) = (root.create_file(name)?, root.create_file("other.txt")?);
                for piece in model.chunks(FRAGMENT) {
                    file.write_all(piece)?;
                    other.write_all(&[b'-'; BLOCK])?;
                }
                Ok(())
            }),
            Self::After(unusable) | Self::Alone(unusable) => on_partition(image, |root| {
                let mut model = Vec::new();
                root.open_file(name)?.read_to_end(&mut model)?;
                root.remove(name)?;
                let mut changed = model.clone();
                unusable.change(&mut changed)?;
                root.create_file(Unusable::NAME)?.write_all(&changed)?;
                if matches!(self, Self::After(_)) {
                    root.create_file(name)?.write_all(&model)?;
                }
                Ok(())
            }),
            Self::NoModel => on_partition(image, |root| {
                root.create_file("other.txt")?.write_all(b"no model")?;
                Ok(root.remove(name)?)
            }),
            Self::NoPartition => {
                image[TABLE].fill(0);
                Ok(())
            }
            Self::ExFat => {
                let start = partition(image)?;
                image[PARTITION_TYPE] = 0x07;
                let block = &mut image[start..][..BLOCK];
                // Jump and name, then zeros in place of FAT's fields. The signature stays.
                block[..90].fill(0);
                block[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
                Ok(())
            }
            Self::Erased => {
                image.fill(0);
                Ok(())
            }
        }
    }
}

type Root<'a, 'i> = Dir<'a, Cursor<&'i mut [u8]>>;

fn cut(root: &Root<'_, '_>, name: &str, len: u64) -> std::io::Result<()> {
    let mut file = root.open_file(name)?;
    file.seek(SeekFrom::Start(len))?;
    file.truncate()
}

/// Byte offset of the partition in the image.
fn partition(image: &[u8]) -> Result<usize> {
    let block = image.get(PARTITION_START..).and_then(|rest| rest.first_chunk()).context("the image is too short")?;
    Ok(u32::from_le_bytes(*block) as usize * BLOCK)
}

/// Changes the root directory of the file system in the image.
fn on_partition(image: &mut [u8], change: impl FnOnce(&Root<'_, '_>) -> Result<()>) -> Result<()> {
    let start = partition(image)?;
    let bytes = image.get_mut(start..).context("the image ends before its partition")?;
    let files = FileSystem::new(Cursor::new(bytes), FsOptions::new())?;
    change(&files.root_dir())?;
    Ok(files.unmount()?)
}

/// Writes a sparse file with holes for zeros.
fn write_sparse(bytes: &[u8], path: &Path) -> std::io::Result<()> {
    const HOLE: usize = 64 << 10;
    let mut file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (at, piece) in bytes.chunks(HOLE).enumerate().filter(|(_, piece)| piece.iter().any(|&byte| byte != 0)) {
        file.seek(SeekFrom::Start((at * HOLE) as u64))?;
        file.write_all(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::{FatType, FormatVolumeOptions, format_volume};

    const NAME: &str = "a model.rillm";

    /// A card of 40 MiB with a file of 3.5 extents.
    fn whole() -> Vec<u8> {
        let mut image = vec![0; 40 << 20];
        image[PARTITION_TYPE] = 0x0c;
        image[PARTITION_START..][..4].copy_from_slice(&8_u32.to_le_bytes());
        let options = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(512);
        format_volume(Cursor::new(&mut image[8 * BLOCK..]), options).expect("a file system");
        on_partition(&mut image, |root| Ok(root.create_file(NAME)?.write_all(&model())?)).expect("a file");
        image
    }

    fn model() -> Vec<u8> {
        (0..FRAGMENT * 7 / 2).map(|at| (at / BLOCK) as u8 | 1).collect()
    }

    /// The bytes of the changed card, and those of its file.
    fn changed(card: CardContents) -> (Vec<u8>, Vec<u8>) {
        let (mut image, mut bytes) = (whole(), Vec::new());
        card.change(&mut image, NAME).expect("a change");
        on_partition(&mut image, |root| Ok(_ = root.open_file(NAME)?.read_to_end(&mut bytes)?)).expect("a file");
        (image, bytes)
    }

    #[test]
    fn a_cut_file_has_its_first_bytes() {
        assert!(changed(CardContents::Cut(700)).1 == model()[..700]);
        assert!(changed(CardContents::CutBy(512)).1 == model()[..model().len() - 512]);
        assert!(changed(CardContents::Cut(0)).1.is_empty());
    }

    #[test]
    fn a_file_in_pieces_is_the_same_file_with_something_between_them() {
        let model = model();
        for (card, expected) in [(CardContents::Whole, 0), (CardContents::InFragments, 4)] {
            let (image, bytes) = changed(card);
            assert!(bytes == model);
            let blocks = image.chunks_exact(BLOCK).skip(1);
            let ends = image.chunks_exact(BLOCK).zip(blocks).filter(|(block, next)| {
                **next == [b'-'; BLOCK] && model.chunks(FRAGMENT).any(|piece| piece.ends_with(block))
            });
            assert_eq!(ends.count(), expected, "{card:?}");
        }
    }

    #[test]
    fn a_card_without_the_model_has_another_file() {
        let mut image = whole();
        CardContents::NoModel.change(&mut image, NAME).expect("a change");
        on_partition(&mut image, |root| {
            let names: Vec<_> =
                root.iter().map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
            assert_eq!(names, ["other.txt"]);
            Ok(())
        })
        .expect("a directory");
    }

    #[test]
    fn a_file_that_cannot_be_used_comes_first() {
        for (card, expected) in [
            (CardContents::After(Unusable::Damaged), &[Unusable::NAME, NAME][..]),
            (CardContents::Alone(Unusable::OtherVersion), &[Unusable::NAME]),
        ] {
            let mut image = whole();
            card.change(&mut image, NAME).expect("a change");
            on_partition(&mut image, |root| {
                let names: Vec<_> =
                    root.iter().map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
                assert_eq!(names, expected);
                Ok(())
            })
            .expect("a directory");
        }
    }

    #[test]
    fn zeros_are_holes() {
        let path = std::env::temp_dir().join(format!("rillm-sparse-{}", std::process::id()));
        let mut bytes = vec![0; 200_000];
        bytes[150_000] = 1;
        write_sparse(&bytes, &path).expect("a file");
        let read = std::fs::read(&path).expect("a file");
        std::fs::remove_file(&path).expect("it was there");
        assert!(read == bytes);
    }
}
