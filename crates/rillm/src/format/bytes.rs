//! Little-endian fields in byte slices of checked length, and the checksum.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

/// Number of CRC tables of 1 KiB. Sixteen tables are seven times as fast as one; a computer has room for them, a
/// microcontroller has not.
const TABLES: usize = if cfg!(target_pointer_width = "64") { 16 } else { 1 };

static CRC_32: Crc<u32, Table<TABLES>> = Crc::<u32, Table<TABLES>>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 of `bytes`, as in zlib and PNG (ISO-HDLC).
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC_32.checksum(bytes)
}

/// An incremental [`crc32`], for bytes that come in pieces.
#[derive(Clone)]
pub struct Crc32(Digest<'static, u32, Table<TABLES>>);

impl Crc32 {
    /// The CRC-32 of no bytes.
    pub fn new() -> Self {
        Self(CRC_32.digest())
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The CRC-32 of the bytes so far.
    pub fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// The `N` bytes at offset `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Writes `field` at offset `at`.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}
