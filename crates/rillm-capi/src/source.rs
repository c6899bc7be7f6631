//! The source of the model: a function of the caller that reads it, or memory that holds it.

use core::ffi::{c_int, c_void};
use core::fmt;

use rillm::{Bytes, PastTheEnd, Sector, WeightSource};

/// Reads a part of the model file: fills `buffer` with `len` bytes from the byte 512 * `first_sector` on, and returns
/// 0. `len` is a multiple of 512, and the buffer may start at any address. Any other result means that the read failed.
/// The call that needed the bytes then fails with RILLM_ERROR_READ, and its message shows the result. The function must
/// not call rillm with the same handle, throw or longjmp.
pub type ReadSectors =
    Option<unsafe extern "C" fn(user: *mut c_void, first_sector: u32, buffer: *mut c_void, len: usize) -> c_int>;

/// The source of the weights.
pub enum CallerSource {
    /// The caller's function and its first argument.
    Read(unsafe extern "C" fn(*mut c_void, u32, *mut c_void, usize) -> c_int, *mut c_void),
    /// The whole file in memory.
    Memory(Bytes<'static>),
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The caller's function failed.
    Read {
        /// Its result.
        code: c_int,
        /// The first sector to read.
        first: u32,
        /// Number of bytes to read.
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
                // SAFETY: whoever passed the function promised that it fills exactly `len` bytes.
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
