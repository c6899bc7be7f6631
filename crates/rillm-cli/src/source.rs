//! Weight sources on a computer: a `.rillm` file that is read, memory-mapped, or throttled to the pace of a card.

use std::fs::File;
use std::io;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;
use rillm::{SECTOR_LEN, Sector, WeightSource};

/// How the engine gets the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// Read in chunks, as a device reads a card
    File,
    /// Memory-mapped, as a device uses its flash; read as by `file` where the system maps no files
    Mmap,
    /// Read in chunks at the pace of a card
    Throttled,
}

/// The pace of a card.
#[derive(Clone, Copy, Debug)]
pub struct CardPace {
    /// Transfer rate within a read, in bytes a second.
    pub bytes_per_second: usize,
    /// Time before the first byte of each read.
    pub latency: Duration,
}

impl CardPace {
    /// The pace of sources that are not throttled.
    pub const UNUSED: Self = Self { bytes_per_second: usize::MAX, latency: Duration::ZERO };
}

/// The bytes of a file.
enum Bytes {
    Embedded(&'static [u8]),
    File(File),
    Map(Mmap),
}

/// A `.rillm` file on this computer, or inside the program.
pub struct ModelSource {
    bytes: Bytes,
    len: u64,
    lend: bool,
    card: Option<CardPace>,
}

impl ModelSource {
    /// The bundled model, inside the program.
    pub fn embedded(bytes: &'static [u8], access: Access, card: CardPace) -> Self {
        Self {
            bytes: Bytes::Embedded(bytes),
            len: bytes.len() as u64,
            lend: access == Access::Mmap,
            card: (access == Access::Throttled).then_some(card),
        }
    }

    /// Opens the file at `path`.
    pub fn open(path: &Path, access: Access, card: CardPace) -> Result<Self> {
        let open = || -> io::Result<_> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            let bytes = match access {
                // SAFETY: the map is read-only. If another process changes the file meanwhile, the text changes; if it
                // truncates the file, this process is killed. A memory map promises no more; the other sources handle
                // both.
                Access::Mmap => match unsafe { Mmap::map(&file) } {
                    Ok(map) => Bytes::Map(map),
                    Err(_) => Bytes::File(file),
                },
                Access::File | Access::Throttled => Bytes::File(file),
            };
            Ok((bytes, len))
        };
        let (bytes, len) = open().with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(len > 0, "{} is empty; make a model file with `rillm convert`", path.display());
        Ok(Self { bytes, len, lend: access == Access::Mmap, card: (access == Access::Throttled).then_some(card) })
    }

    /// Length of the file in bytes.
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
        // The engine computes meanwhile, as it does during a card's DMA transfer.
        std::future::poll_fn(|cx| {
            if Instant::now() >= ready {
                return Poll::Ready(());
            }
            // Nothing else wakes the task, so it asks to be polled again.
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
