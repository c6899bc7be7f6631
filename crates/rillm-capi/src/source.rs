//! The caller's model: a function that reads it, or memory that holds it.

use core::ffi::{c_int, c_void};
use core::fmt;

use rillm::source::PastTheEnd;
use rillm::{Bytes, Sector, WeightSource};

/// Reads a part of the model file: fills `buffer` with `len` bytes from the byte 512 * `first_sector` on, and returns 0.
/// `len` is a multiple of 512, and the buffer starts at any address. Anything but 0 means that it failed; the call that
/// needed the bytes then fails with RILLM_ERROR_READ, and the number is in its message. It must not call rillm with the
/// same handle, throw or longjmp.
pub type ReadSectors =
    Option<unsafe extern "C" fn(user: *mut c_void, first_sector: u32, buffer: *mut c_void, len: usize) -> c_int>;

/// What the weights come from.
pub enum CallerSource {
    /// The caller's function, and what it is given.
    Read(unsafe extern "C" fn(*mut c_void, u32, *mut c_void, usize) -> c_int, *mut c_void),
    /// The whole file, where it lies.
    Memory(Bytes<'static>),
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The caller's function said so.
    Read {
        /// What it returned.
        code: c_int,
        /// The first sector asked for.
        first: u32,
        /// Bytes asked for.
        len: usize,
    },
    /// The memory ends before the file does.
    Memory(PastTheEnd),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { code, first, len } => write!(
                f,
                "the read function returned {code} instead of 0 for {len} bytes from sector {first} on; once it can read \
                 again, call rillm_generate with NULL to go on, or with the prompt if it was not taken"
            ),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl WeightSource for CallerSource {
    type Error = SourceError;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), SourceError> {
        match self {
            Self::Read(read, user) => {
                let (first, len) = (first.0, buf.len());
                // SAFETY: whoever handed the function over promised that it fills so many bytes and nothing else.
                match unsafe { read(*user, first, buf.as_mut_ptr().cast(), len) } {
                    0 => Ok(()),
                    code => Err(SourceError::Read { code, first, len }),
                }
            }
            Self::Memory(bytes) => bytes.read(first, buf).await.map_err(SourceError::Memory),
        }
    }

    fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Read(..) => None,
            Self::Memory(bytes) => bytes.memory(),
        }
    }
}
