//! The image of a board's flash.

use rillm::SECTOR_LEN;
use rillm::format::Header;

use crate::Error;
use crate::application::Application;

/// Where ESP-IDF and espflash put the partition table.
const TABLE: usize = 0x8000;
const TABLE_LEN: usize = 0xc00;
const ENTRY_LEN: usize = 32;
const ENTRY_MAGIC: [u8; 2] = [0xaa, 0x50];
/// The type of a partition with an application.
const APPLICATION: u8 = 0;

/// The image of a board's flash from address 0 on: bootloader, partition table, and rillm's firmware with a model.
#[derive(Debug)]
pub struct FlashImage<'a> {
    /// What lies before the application.
    before: &'a [u8],
    /// Bytes of flash for the application.
    partition: usize,
    app: Application<'a>,
}

impl<'a> FlashImage<'a> {
    /// Reads an image: a release's, or what `cargo xtask esp image` has made.
    ///
    /// # Errors
    /// It is no image with rillm's firmware, or it is damaged.
    pub fn parse(image: &'a [u8]) -> Result<Self, Error> {
        let table = image.get(TABLE..TABLE + TABLE_LEN).ok_or(Error::NoApplication)?;
        let (start, partition) = application(table).ok_or(Error::NoApplication)?;
        let (before, app) = image.split_at_checked(start).ok_or(Error::Damaged)?;
        Ok(Self { before, partition, app: Application::parse(app)? })
    }

    /// The chip that the firmware is for: `ESP32-C3`.
    pub fn chip(&self) -> &'static str {
        self.app.chip.name
    }

    /// The model's file.
    pub fn model(&self) -> &'a [u8] {
        self.app.model
    }

    /// The length in bytes of the longest model that can take the place of the one in the image.
    pub fn longest_model(&self) -> usize {
        let most = self.partition.min(self.app.addresses()) / SECTOR_LEN * SECTOR_LEN;
        let blank = vec![0; most];
        let mut lens = (0..=most).rev().step_by(SECTOR_LEN);
        lens.find(|&len| self.app.len_with(&blank[..len]) <= self.partition).unwrap_or(0)
    }

    /// The image with another model.
    ///
    /// # Errors
    /// The model's file is invalid or incomplete, or too long for the flash.
    pub fn with_model(&self, model: &[u8]) -> Result<Vec<u8>, Error> {
        let len = model.len() as u64;
        let first = model.first_chunk::<SECTOR_LEN>().ok_or(Error::CutModel { len, expected: SECTOR_LEN as u64 })?;
        let expected = Header::parse(first)?.file_len();
        let whole = usize::try_from(expected).ok().and_then(|len| model.get(..len));
        let model = whole.ok_or(Error::CutModel { len, expected })?;
        if model.len() > self.app.addresses() || self.app.len_with(model) > self.partition {
            return Err(Error::TooLong { len: expected, most: self.longest_model() as u64 });
        }
        let mut image = self.before.to_vec();
        self.app.write_with(model, &mut image);
        Ok(image)
    }
}

/// Offset and length of the first partition with an application.
fn application(table: &[u8]) -> Option<(usize, usize)> {
    let (entries, _) = table.as_chunks::<ENTRY_LEN>();
    let mut entries = entries.iter().take_while(|entry| entry[..2] == ENTRY_MAGIC);
    let entry = entries.find(|entry| entry[2] == APPLICATION)?;
    let [offset, len] = [4, 8].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|byte| entry[at + byte])) as usize);
    Some((offset, len))
}
