//! The application: its segments, and the model among them.

use std::ops::Range;

use rillm::SECTOR_LEN;
use rillm::format::Header;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::chip::Chip;
use crate::layout::{HEADER_LEN, MOST_TRAILING, Placed, SEGMENT_HEADER_LEN, lay_out};

const MAGIC: u8 = 0xe9;
/// The checksum of no bytes.
const CHECKSUM: u8 = 0xef;
const CHECKSUM_ALIGN: usize = 16;
const SHA256_LEN: usize = 32;
/// The bootloader reads no more (`ESP_IMAGE_MAX_SEGMENTS` of ESP-IDF).
const MOST_SEGMENTS: u8 = 16;
/// As in the linker script of the firmware.
const MODEL_ALIGN: usize = 4;
// Offsets in the header.
const AT_SEGMENTS: usize = 1;
const AT_CHIP: usize = 12;
const AT_HASHED: usize = 23;

/// Bytes that belong at an address. A segment of RAM may lie in the application in pieces.
#[derive(Debug)]
pub struct Segment {
    pub address: u32,
    pub bytes: Vec<u8>,
}

/// An application whose constants end with a model.
#[derive(Debug)]
pub struct Application<'a> {
    header: [u8; HEADER_LEN],
    pub chip: &'static Chip,
    /// Constants before the model, and their address.
    constants: &'a [u8],
    address: u32,
    pub model: &'a [u8],
    /// The other segments that are mapped, and those that are copied.
    code: Vec<Segment>,
    ram: Vec<Segment>,
}

impl<'a> Application<'a> {
    /// Reads the application at the start of `bytes`.
    ///
    /// # Errors
    /// It is damaged, for an unknown chip, or without a model.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = *bytes.first_chunk::<HEADER_LEN>().ok_or(Error::NoApplication)?;
        if header[0] != MAGIC {
            return Err(Error::NoApplication);
        }
        let segments = segments(bytes, header[AT_SEGMENTS])?;
        let chip = u16::from_le_bytes([header[AT_CHIP], header[AT_CHIP + 1]]);
        let chip = Chip::numbered(chip).ok_or(Error::UnknownChip(chip))?;
        let (&(address, first), others) = segments.split_first().ok_or(Error::NoModel)?;
        let model = find_model(first).filter(|_| chip.maps(address)).ok_or(Error::NoModel)?;
        let (constants, model) = (&first[..model.start], &first[model]);
        let mut app = Self { header, chip, constants, address, model, code: Vec::new(), ram: Vec::new() };
        // Segments at address 0 fill gaps.
        for &(address, bytes) in others.iter().filter(|(address, _)| *address != 0) {
            let segment = Segment { address, bytes: bytes.to_vec() };
            match app.ram.last_mut() {
                _ if chip.maps(address) => app.code.push(segment),
                Some(last) if u64::from(last.address) + last.bytes.len() as u64 == u64::from(address) => {
                    last.bytes.extend_from_slice(bytes);
                }
                _ => app.ram.push(segment),
            }
        }
        Ok(app)
    }

    /// The addresses from the model's first one on that constants may have.
    pub fn addresses(&self) -> usize {
        let code: Vec<u32> = self.code.iter().map(|segment| segment.address).collect();
        let end = self.chip.end_of_constants(&code);
        (end as usize).saturating_sub(self.address as usize + self.constants.len() + MOST_TRAILING)
    }

    /// The length of the application with another model in bytes.
    pub fn len_with(&self, model: &[u8]) -> usize {
        let segments: usize = self.lay_out(model).iter().map(|placed| SEGMENT_HEADER_LEN + placed.len()).sum();
        let hash = if self.header[AT_HASHED] == 1 { SHA256_LEN } else { 0 };
        with_checksum(HEADER_LEN + segments) + hash
    }

    /// Appends the application with another model to `out`.
    pub fn write_with(&self, model: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let placed = self.lay_out(model);
        out.extend_from_slice(&self.header);
        out[start + AT_SEGMENTS] = placed.len() as u8;
        let mut checksum = CHECKSUM;
        for segment in &placed {
            out.extend_from_slice(&segment.address.to_le_bytes());
            out.extend_from_slice(&(segment.len() as u32).to_le_bytes());
            for part in segment.parts {
                out.extend_from_slice(part);
                checksum = xor(checksum, part);
            }
            out.resize(out.len() + segment.zeros, 0);
        }
        out.resize(start + with_checksum(out.len() - start), 0);
        *out.last_mut().expect("the application has a header") = checksum;
        if self.header[AT_HASHED] == 1 {
            let hash = Sha256::digest(&out[start..]);
            out.extend_from_slice(&hash);
        }
    }

    fn lay_out<'b>(&'b self, model: &'b [u8]) -> Vec<Placed<'b>> {
        let constants = Placed { address: self.address, parts: [self.constants, model], zeros: 0 };
        lay_out(constants, &self.code, &self.ram)
    }
}

/// The segments with their addresses, once checksum and SHA-256 are right.
fn segments(bytes: &[u8], count: u8) -> Result<Vec<(u32, &[u8])>, Error> {
    if count > MOST_SEGMENTS {
        return Err(Error::Damaged);
    }
    let mut segments = Vec::new();
    let (mut rest, mut checksum) = (bytes.get(HEADER_LEN..).ok_or(Error::Damaged)?, CHECKSUM);
    for _ in 0..count {
        let (&header, after) = rest.split_first_chunk::<SEGMENT_HEADER_LEN>().ok_or(Error::Damaged)?;
        let [address, len] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte])));
        let (segment, after) = after.split_at_checked(len as usize).ok_or(Error::Damaged)?;
        address.checked_add(len).ok_or(Error::Damaged)?;
        checksum = xor(checksum, segment);
        segments.push((address, segment));
        rest = after;
    }
    let len = with_checksum(bytes.len() - rest.len());
    let is_right = bytes.get(len - 1) == Some(&checksum);
    let is_hashed = bytes[AT_HASHED] == 1;
    let hash_is_right = || bytes.get(len..len + SHA256_LEN) == Some(&Sha256::digest(&bytes[..len])[..]);
    if is_right && (!is_hashed || hash_is_right()) { Ok(segments) } else { Err(Error::Damaged) }
}

/// Where the model lies with which `constants` end.
fn find_model(constants: &[u8]) -> Option<Range<usize>> {
    (0..constants.len()).step_by(MODEL_ALIGN).find_map(|start| {
        let header = Header::parse(constants[start..].first_chunk::<SECTOR_LEN>()?).ok()?;
        let end = start.checked_add(usize::try_from(header.file_len()).ok()?)?;
        let behind = constants.len().checked_sub(end)?;
        (behind <= MOST_TRAILING).then_some(start..end)
    })
}

/// The length of an application with its checksum, from that of its segments.
fn with_checksum(len: usize) -> usize {
    (len + 1).next_multiple_of(CHECKSUM_ALIGN)
}

fn xor(checksum: u8, bytes: &[u8]) -> u8 {
    bytes.iter().fold(checksum, |checksum, byte| checksum ^ byte)
}
