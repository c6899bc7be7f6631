//! A source that counts its reads, and a reader for small reads through a sector buffer.

use super::{SECTOR_LEN, Sector, WeightSource};
use crate::stats::{Clock, ReadWatch, Stage, Traffic};

/// A source that counts its reads.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    next: Sector,
    traffic: Traffic,
    watch: ReadWatch,
}

impl<S: WeightSource> Counted<S> {
    /// Wraps `inner`, with all counters at zero.
    pub fn new(inner: S) -> Self {
        Self { inner, next: Sector(u32::MAX), traffic: Traffic::default(), watch: ReadWatch::default() }
    }

    /// The reads so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Measures the reads with `clock` from now on.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.watch.clock = Some(clock);
    }

    /// The stopwatch of the reads.
    pub(crate) fn watch(&self) -> &ReadWatch {
        &self.watch
    }

    /// Adds bytes that were used without a read.
    pub fn count_resident(&mut self, bytes: u64) {
        self.traffic.resident_bytes += bytes;
    }

    /// Returns the wrapped source.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: WeightSource> WeightSource for Counted<S> {
    type Error = S::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), S::Error> {
        self.traffic.reads += 1;
        self.traffic.bytes += buf.len() as u64;
        self.traffic.seeks += u64::from(first != self.next);
        self.next = Sector(u32::MAX);
        let start = self.watch.now();
        let result = self.inner.read(first, buf).await;
        let ticks = self.watch.since(start);
        self.watch.add(Stage::Read, ticks);
        self.watch.add(Stage::Wait, ticks);
        result?;
        self.next = Sector(first.0 + (buf.len() / SECTOR_LEN) as u32);
        Ok(())
    }

    fn memory(&self) -> Option<&[u8]> {
        self.inner.memory()
    }
}

/// The `len` bytes from `offset` on, if the source lends them.
pub(crate) fn lent<S: WeightSource>(source: &S, offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    source.memory()?.get(start..start.checked_add(len)?)
}

/// The `len` bytes from `offset` on: where they lie, if the source lends them, or read into `sectors`, which has room for the
/// sectors that they lie in.
pub(crate) async fn record<'a, S: WeightSource>(
    source: &'a mut S,
    offset: u64,
    len: usize,
    sectors: &'a mut [u8],
) -> Result<&'a [u8], S::Error> {
    if lent(source, offset, len).is_none() {
        let (sector, at) = Sector::of(offset);
        let sectors = &mut sectors[..(at + len).next_multiple_of(SECTOR_LEN)];
        source.read(sector, sectors).await?;
        return Ok(&sectors[at..at + len]);
    }
    // Asked again: a borrow that may be returned would last into the read.
    Ok(lent(source, offset, len).unwrap_or_default())
}

/// A reader for a few bytes at any offset of a file: directly from a source that lends its memory, otherwise through a
/// buffer of one sector, which is read again only for a different sector.
#[derive(Debug)]
pub struct SectorReader<'a, S> {
    source: &'a mut S,
    buf: &'a mut [u8; SECTOR_LEN],
    held: Option<Sector>,
}

impl<'a, S: WeightSource> SectorReader<'a, S> {
    /// Creates a reader of `source` through `buf`. The contents of `buf` do not matter.
    pub fn new(source: &'a mut S, buf: &'a mut [u8; SECTOR_LEN]) -> Self {
        Self { source, buf, held: None }
    }

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The source's error. The next call reads the sector again.
    pub async fn read(&mut self, mut offset: u64, mut out: &mut [u8]) -> Result<(), S::Error> {
        if let Some(bytes) = lent(self.source, offset, out.len()) {
            out.copy_from_slice(bytes);
            return Ok(());
        }
        while !out.is_empty() {
            let (sector, at) = Sector::of(offset);
            if self.held != Some(sector) {
                self.held = None;
                self.source.read(sector, self.buf).await?;
                self.held = Some(sector);
            }
            let len = out.len().min(SECTOR_LEN - at);
            let (head, tail) = out.split_at_mut(len);
            head.copy_from_slice(&self.buf[at..at + len]);
            offset += len as u64;
            out = tail;
        }
        Ok(())
    }
}
