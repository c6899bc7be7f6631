//! Little-endian fields in byte slices of checked length, and the checksum.

use crate::COMPUTER;
use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// Number of CRC tables of 1 KiB. Sixteen tables are seven times as fast as one; a computer has room for them, a
/// microcontroller has not.
const TABLES: usize = if COMPUTER { 16 } else { 1 };

static CRC_32: Crc<u32, Table<TABLES>> = Crc::<u32, Table<TABLES>>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 of `bytes`, as in zlib and PNG (ISO-HDLC).
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC_32.checksum(bytes)
}

/// An incremental [`crc32`], for bytes that come in pieces: the CRC-32 of the bytes so far.
#[derive(Clone, Copy, Default)]
pub struct Crc32(u32);

impl Crc32 {
    /// The CRC-32 of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // The initial value is that of the register, before it is reflected; the final one is inverted.
        let mut digest = CRC_32.digest_with_initial((!self.0).reverse_bits());
        digest.update(bytes);
        self.0 = digest.finalize();
    }

    /// The CRC-32 of the bytes so far.
    pub fn value(&self) -> u32 {
        self.0
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
