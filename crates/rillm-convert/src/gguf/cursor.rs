//! Reading from the front of a file that may end anywhere.

use super::GgufError;

/// A place in a file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The file ends too early.
#[derive(Clone, Copy)]
pub(super) struct Short {
    at: usize,
    needed: u64,
    left: usize,
}

impl Short {
    /// The error, once it is known what was to be read.
    pub fn within(self, what: &str) -> GgufError {
        let Self { at, needed, left } = self;
        GgufError::Cut { what: what.to_owned(), at, needed, left }
    }
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that lie behind.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What lies from here up to `end`, a later place.
    pub fn up_to(&self, end: &Self) -> &'a [u8] {
        &self.bytes[self.at..end.at]
    }

    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8], Short> {
        let rest = &self.bytes[self.at..];
        let bytes = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let bytes = bytes.ok_or(Short { at: self.at, needed: len, left: rest.len() })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N as u64)?);
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string's bytes, after their number.
    pub fn string(&mut self) -> Result<&'a [u8], Short> {
        let len = self.u64()?;
        self.bytes(len)
    }
}
