//! The model: a file on the host, in place of a card.

use core::ffi::CStr;
use core::fmt;

use rillm::{SECTOR_LEN, Sector, WeightSource};
use rillm_emulated::Files;

use crate::simcall::{self, Descriptor, Refused};

/// Longest path in bytes, its NUL included: the limit of the emulator.
const PATH_LEN: usize = 1024;

/// Why a file cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No path was given.
    NoName,
    /// The path has this many bytes.
    NameTooLong(usize),
    /// An error of the host.
    Refused(Refused),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("no model was named; start the board with model=PATH, or name one with /model"),
            Self::NameTooLong(len) => {
                write!(f, "a path of {len} bytes is too long, {} is the most; move the file", PATH_LEN - 1)
            }
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The file ends too early.
    TooShort {
        /// Offset of the read.
        offset: u64,
        /// Number of bytes to read.
        len: usize,
        /// Number of bytes that were read.
        got: usize,
    },
    /// The offset is beyond the range of the emulator's calls.
    TooFar {
        /// Offset of the read.
        offset: u64,
    },
    /// An error of the host.
    Refused(Refused),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { offset, len, got } => write!(
                f,
                "the file ends {got} bytes after offset {offset}, where {len} bytes were to be read: it was not copied whole"
            ),
            Self::TooFar { offset } => write!(
                f,
                "offset {offset} is out of the emulator's reach, which ends at {}; take a smaller model",
                i32::MAX
            ),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl From<Refused> for ReadError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// An open file. Dropping it closes the file.
pub struct HostFile(Descriptor);

/// The files of the host: the one with this path, and others that the user names by their paths.
pub struct HostFiles<'w>(pub Option<&'w str>);

impl Files for HostFiles<'_> {
    type Source = HostFile;
    type About = &'static str;
    type Error = OpenError;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn fmt::Display, u64)) -> Result<(), OpenError> {
        let path = self.0.ok_or(OpenError::NoName)?;
        let len = open(path).and_then(|file| simcall::len(file.0).map_err(OpenError::Refused));
        // A file that cannot be opened is listed, so that its error is printed with its name.
        visit(&file_name(path), len.unwrap_or_default().into());
        Ok(())
    }

    async fn open(&mut self, name: &str) -> Result<(HostFile, &'static str), OpenError> {
        let path = self.0.filter(|path| file_name(path) == name).unwrap_or(name);
        Ok((open(path)?, "a file of the host's, in place of a card"))
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Opens the file at a path of the host.
fn open(path: &str) -> Result<HostFile, OpenError> {
    let path = path.as_bytes();
    let mut buf = [0; PATH_LEN];
    // The last byte stays a NUL.
    let place = buf[..PATH_LEN - 1].get_mut(..path.len()).ok_or(OpenError::NameTooLong(path.len()))?;
    place.copy_from_slice(path);
    // An option cannot contain a NUL. A typed path can, and ends there.
    let path = CStr::from_bytes_until_nul(&buf).unwrap_or_default();
    simcall::open(path).map(HostFile).map_err(OpenError::Refused)
}

impl WeightSource for HostFile {
    type Error = ReadError;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), ReadError> {
        let offset = u64::from(first.0) * SECTOR_LEN as u64;
        simcall::seek(self.0, i32::try_from(offset).map_err(|_| ReadError::TooFar { offset })?)?;
        let mut got = 0;
        while got < buf.len() {
            match simcall::read(self.0, &mut buf[got..])? {
                0 => return Err(ReadError::TooShort { offset, len: buf.len(), got }),
                len => got += len,
            }
        }
        Ok(())
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        simcall::close(self.0);
    }
}
