//! Calls of the emulator: files and standard streams of the host, the command line, and the end of the emulator.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

const EXIT: u32 = 1;
const READ: u32 = 3;
const WRITE: u32 = 4;
const OPEN: u32 = 5;
const CLOSE: u32 = 6;
const LSEEK: u32 = 19;
const SELECT_ONE: u32 = 29;
const ARGV_SIZE: u32 = 1001;
const ARGV: u32 = 1002;

/// Arguments of `OPEN`, `LSEEK` and `SELECT_ONE`.
const READ_ONLY: u32 = 0;
const FROM_START: u32 = 0;
const FROM_END: u32 = 2;
const READABLE: u32 = 1;

/// Longest command line in bytes, with the addresses of its words.
pub const WORDS_LEN: usize = 1536;

/// An open file of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(u32);

/// Standard input.
pub const STDIN: Descriptor = Descriptor(0);
/// Standard output.
pub const STDOUT: Descriptor = Descriptor(1);

/// An error of the host: its `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(u32);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            2 => f.write_str("there is no such file"),
            13 => f.write_str("permission denied"),
            21 => f.write_str("it is a directory"),
            errno => write!(f, "the host's error {errno}"),
        }
    }
}

impl core::error::Error for Refused {}

impl embedded_io::Error for Refused {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

/// The call was interrupted: `EINTR`.
const INTERRUPTED: u32 = 4;

/// Calls the emulator. A result of −1 is an error.
///
/// # Safety
/// The operation may read or write what the arguments point to.
unsafe fn call(operation: u32, arguments: [u32; 3]) -> Result<u32, Refused> {
    loop {
        let (result, errno): (u32, u32);
        // SAFETY: the emulator executes `simcall`; our caller is responsible for the memory.
        unsafe {
            asm!(
                ".byte 0x00, 0x51, 0x00",
                inlateout("a2") operation => result,
                inlateout("a3") arguments[0] => errno,
                in("a4") arguments[1],
                in("a5") arguments[2],
            );
        }
        match (result, errno) {
            (u32::MAX, INTERRUPTED) => {}
            (u32::MAX, _) => return Err(Refused(errno)),
            _ => return Ok(result),
        }
    }
}

/// Ends the emulator with an exit code.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: no pointers.
        let _ = unsafe { call(EXIT, [code.into(), 0, 0]) };
    }
}

/// Reads at most the buffer's length, waiting for at least one byte. Returns 0 at the end.
///
/// # Errors
/// An error of the host.
pub fn read(file: Descriptor, buf: &mut [u8]) -> Result<usize, Refused> {
    // SAFETY: the emulator writes to the buffer.
    unsafe { call(READ, [file.0, buf.as_mut_ptr() as u32, buf.len() as u32]) }.map(|len| len as usize)
}

/// Writes, and returns the number of bytes written.
///
/// # Errors
/// An error of the host.
pub fn write(file: Descriptor, buf: &[u8]) -> Result<usize, Refused> {
    // SAFETY: the emulator reads the buffer.
    unsafe { call(WRITE, [file.0, buf.as_ptr() as u32, buf.len() as u32]) }.map(|len| len as usize)
}

/// Opens a file for reading.
///
/// # Errors
/// An error of the host.
pub fn open(path: &CStr) -> Result<Descriptor, Refused> {
    // SAFETY: the emulator reads the text up to its NUL.
    unsafe { call(OPEN, [path.as_ptr() as u32, READ_ONLY, 0]) }.map(Descriptor)
}

/// Closes a file.
pub fn close(file: Descriptor) {
    // SAFETY: no pointers. Closing a file that was only read loses nothing.
    let _ = unsafe { call(CLOSE, [file.0, 0, 0]) };
}

/// Sets the offset of the next read. The call supports only 31 bits.
///
/// # Errors
/// An error of the host.
pub fn seek(file: Descriptor, offset: i32) -> Result<(), Refused> {
    // SAFETY: no pointers.
    unsafe { call(LSEEK, [file.0, offset as u32, FROM_START]) }.map(|_| ())
}

/// The length of a file in bytes, up to 31 bits. The next read is at its end.
///
/// # Errors
/// An error of the host.
pub fn len(file: Descriptor) -> Result<u32, Refused> {
    // SAFETY: no pointers.
    unsafe { call(LSEEK, [file.0, 0, FROM_END]) }
}

/// Whether a read would return at once.
///
/// # Errors
/// An error of the host.
pub fn readable(file: Descriptor) -> Result<bool, Refused> {
    // The timeout in seconds and microseconds.
    let at_once = [0u32; 2];
    // SAFETY: the emulator reads the two words.
    unsafe { call(SELECT_ONE, [file.0, READABLE, at_once.as_ptr() as u32]) }.map(|ready| ready != 0)
}

/// The emulator's command line, the program's name first. Empty if it is longer than the buffer. A word that is not
/// text is empty.
pub fn words(buf: &mut [u8; WORDS_LEN]) -> impl Iterator<Item = &str> {
    // SAFETY: no pointers.
    let len = unsafe { call(ARGV_SIZE, [0; 3]) }.map_or(0, |len| len as usize);
    let len = if len <= buf.len() { len } else { 0 };
    if len > 0 {
        // SAFETY: the emulator writes as many bytes to the buffer as `ARGV_SIZE` has reported.
        let _ = unsafe { call(ARGV, [buf.as_mut_ptr() as u32, 0, 0]) };
    }
    // The addresses of the words, terminated by zero, then the words, each terminated by a NUL.
    let addresses = buf[..len].chunks_exact(4).position(|address| address == [0; 4]).map_or(len, |count| 4 * count + 4);
    let words = buf[addresses..len].strip_suffix(&[0]).unwrap_or_default();
    words.split(|&byte| byte == 0).map(|word| core::str::from_utf8(word).unwrap_or_default())
}
