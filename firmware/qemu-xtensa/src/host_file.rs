//! The model: a file of the host's, in place of a card.

use core::ffi::CStr;
use core::fmt;

use rillm::{SECTOR_LEN, Sector, WeightSource};

use crate::simcall::{self, Descriptor, Refused};

/// Bytes of the longest path, its NUL included: the emulator's bound.
const PATH_LEN: usize = 1024;

/// Why a file cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Nobody has said which.
    NoName,
    /// So many bytes.
    NameTooLong(usize),
    /// The host's reason.
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
    /// It ends too early.
    TooShort {
        /// Where the read began.
        offset: u64,
        /// Bytes asked for.
        len: usize,
        /// Bytes that there were.
        got: usize,
    },
    /// The emulator's calls do not reach so far into a file.
    TooFar {
        /// Where the read should have begun.
        offset: u64,
    },
    /// The host's reason.
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

/// An open file, closed when it is dropped.
pub struct HostFile(Descriptor);

/// Opens the file at a path of the host's, and says what it is.
///
/// # Errors
/// [`OpenError`].
pub fn open(path: Option<&str>) -> Result<(HostFile, &'static str), OpenError> {
    let path = path.ok_or(OpenError::NoName)?.as_bytes();
    let mut buf = [0; PATH_LEN];
    // Its last byte stays a NUL.
    let place = buf[..PATH_LEN - 1].get_mut(..path.len()).ok_or(OpenError::NameTooLong(path.len()))?;
    place.copy_from_slice(path);
    // A word has no NUL in it; what is typed may, and the path ends there.
    let path = CStr::from_bytes_until_nul(&buf).unwrap_or_default();
    let descriptor = simcall::open(path).map_err(OpenError::Refused)?;
    Ok((HostFile(descriptor), "a file of the host's, in place of a card"))
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
