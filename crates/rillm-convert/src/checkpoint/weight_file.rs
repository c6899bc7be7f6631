//! A file of weights: mapped into memory, or read piece by piece where the system maps no files, as in WebAssembly.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

/// Bytes of a piece of a file that is gone through from its start to its end.
const PIECE: usize = 1 << 20;

/// An open file, whose length must not change.
#[derive(Debug)]
pub(crate) struct WeightFile {
    bytes: Bytes,
    len: usize,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// Only one thread may read, as all share the position. Systems that map no files have one.
    Read(File),
}

impl WeightFile {
    /// Opens a file.
    ///
    /// # Errors
    /// The operating system's error, or that the file is longer than this computer's addresses.
    pub fn open(path: &Path) -> io::Result<Self> {
        if cfg!(target_family = "wasm") { Self::open_to_read(path) } else { Self::open_mapped(path) }
    }

    fn open_mapped(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is read-only and lives as long as the checkpoint. Another process may write to the file and
        // change the numbers that are read, but any bytes are valid numbers. `Checkpoint::open` requires of its caller that
        // the file keeps its length.
        let map = unsafe { Mmap::map(&file)? };
        let len = map.len();
        Ok(Self { bytes: Bytes::Mapped(map), len })
    }

    fn open_to_read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| {
            let message = format!("the file has {len} bytes, and files of less than 4 GiB can be read here");
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        })?;
        Ok(Self { bytes: Bytes::Read(file), len })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes in a range of the file: where they are mapped, or a copy.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// # Panics
    /// If the file is mapped and shorter.
    pub fn bytes(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        match &self.bytes {
            Bytes::Mapped(map) => Ok(Cow::Borrowed(&map[range])),
            Bytes::Read(file) => {
                let mut file = file;
                let mut bytes = vec![0; range.len()];
                file.seek(SeekFrom::Start(range.start as u64))?;
                file.read_exact(&mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// At least the first `len` bytes of the file, or all of it if it is shorter: the whole file if it is mapped.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn start(&self, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let len = if matches!(self.bytes, Bytes::Mapped(_)) { self.len } else { len.min(self.len) };
        self.bytes(0..len)
    }

    /// The bytes in a range, in pieces of at most 1 MiB.
    pub fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = io::Result<Cow<'_, [u8]>>> {
        let end = range.end;
        range.step_by(PIECE).map(move |at| self.bytes(at..end.min(at + PIECE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_has_the_bytes_of_one_that_is_mapped() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let bytes: Vec<u8> = (0..PIECE + 1000).map(|at| (at * 31 % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("a file");
        for file in [WeightFile::open_mapped(&path), WeightFile::open_to_read(&path)] {
            let file = file.expect("the file");
            assert_eq!(file.len(), bytes.len());
            assert_eq!(file.bytes(700..900).expect("bytes")[..], bytes[700..900]);
            assert_eq!(file.start(9).expect("bytes")[..9], bytes[..9]);
            assert_eq!(file.start(usize::MAX).expect("bytes")[..], bytes[..]);
            let pieces: Vec<_> = file.pieces(5..bytes.len()).map(|piece| piece.expect("a piece")).collect();
            assert_eq!(pieces.len(), 2);
            assert_eq!(pieces.concat(), bytes[5..]);
        }
        assert!(WeightFile::open_to_read(&path).expect("the file").bytes(0..PIECE + 1001).is_err());
    }
}
