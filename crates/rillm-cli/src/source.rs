//! Where a `.rillm` file's bytes come from on a laptop.

use std::fs::File;
use std::io;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;
use rillm::{SECTOR_LEN, Sector, WeightSource};

/// How the weights get from the file to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// Read in chunks, as a device reads a card
    File,
    /// Used where they lie in memory, as a device uses flash
    Mmap,
    /// Read in chunks at a card's pace
    Throttled,
}

/// A card's pace.
#[derive(Clone, Copy, Debug)]
pub struct CardPace {
    /// Bytes a second within a read.
    pub bytes_per_second: usize,
    /// What every read takes before its first byte.
    pub latency: Duration,
}

impl CardPace {
    /// For files that are read as fast as they come.
    pub const UNUSED: Self = Self { bytes_per_second: usize::MAX, latency: Duration::ZERO };
}

/// A file's bytes.
enum Bytes {
    Embedded(&'static [u8]),
    File(File),
    Map(Mmap),
}

/// A `.rillm` file on this computer, or in this program.
pub struct ModelSource {
    bytes: Bytes,
    len: u64,
    lend: bool,
    card: Option<CardPace>,
}

impl ModelSource {
    /// The file in this program.
    pub fn embedded(bytes: &'static [u8], access: Access, card: CardPace) -> Self {
        Self {
            bytes: Bytes::Embedded(bytes),
            len: bytes.len() as u64,
            lend: access == Access::Mmap,
            card: (access == Access::Throttled).then_some(card),
        }
    }

    /// The file at `path`.
    pub fn open(path: &Path, access: Access, card: CardPace) -> Result<Self> {
        let open = || -> io::Result<_> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            let bytes = match access {
                // SAFETY: the map is read only. Someone who changes the file meanwhile changes the model's words, and
                // who cuts it off ends this process: a memory map promises no more. The other ways of access do.
                Access::Mmap => Bytes::Map(unsafe { Mmap::map(&file) }?),
                Access::File | Access::Throttled => Bytes::File(file),
            };
            Ok((bytes, len))
        };
        let (bytes, len) = open().with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(len > 0, "{} is empty; make a model file with `rillm convert`", path.display());
        Ok(Self { bytes, len, lend: access == Access::Mmap, card: (access == Access::Throttled).then_some(card) })
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    fn copy(&self, start: u64, buf: &mut [u8]) -> io::Result<()> {
        if start + buf.len() as u64 > self.len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file ends after {} bytes, in the middle of the model; copy it again", self.len),
            ));
        }
        match &self.bytes {
            Bytes::Embedded(bytes) => buf.copy_from_slice(&bytes[start as usize..][..buf.len()]),
            Bytes::Map(map) => buf.copy_from_slice(&map[start as usize..][..buf.len()]),
            Bytes::File(file) => read_exact_at(file, buf, start)?,
        }
        Ok(())
    }
}

/// Fills `buf` with the bytes from `offset` on.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

/// Fills `buf` with the bytes from `offset` on.
#[cfg(not(unix))]
pub fn read_exact_at(mut file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    use io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buf)
}

impl WeightSource for ModelSource {
    type Error = io::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> io::Result<()> {
        let start = Instant::now();
        self.copy(u64::from(first.0) * SECTOR_LEN as u64, buf)?;
        let Some(card) = self.card else {
            return Ok(());
        };
        let transfer = Duration::from_secs_f64(buf.len() as f64 / card.bytes_per_second as f64);
        let ready = start + card.latency + transfer;
        // The engine computes meanwhile, as it does while a card's DMA runs.
        std::future::poll_fn(|cx| {
            if Instant::now() >= ready {
                return Poll::Ready(());
            }
            // Nothing else wakes the task: it is to be polled again.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        Ok(())
    }

    fn memory(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Embedded(bytes) if self.lend => Some(bytes),
            Bytes::Map(map) => Some(map),
            _ => None,
        }
    }
}
