//! A cursor over a file that may be truncated anywhere.

use super::GgufError;

/// A position in a file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The file is truncated.
#[derive(Clone, Copy)]
pub(super) struct Short {
    at: usize,
    needed: u64,
    left: usize,
}

impl Short {
    /// The error with the name of what was read.
    pub fn within(self, what: &str) -> GgufError {
        let Self { at, needed, left } = self;
        GgufError::Cut { what: what.to_owned(), at, needed, left }
    }
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The number of bytes before the cursor.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes from here to `end`, a later position.
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

    /// A string's bytes, which follow their number.
    pub fn string(&mut self) -> Result<&'a [u8], Short> {
        let len = self.u64()?;
        self.bytes(len)
    }
}
