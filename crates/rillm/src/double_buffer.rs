//! The double buffer: a reader fills one buffer from the source while the layers multiply the contents of the other.
//!
//! Both buffers circulate in a [`Ring`]. [`read_ahead`] fills them, the [`Tape`](crate::tape::Tape) empties them, and
//! [`drive`] polls the two alternately, in one task.

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::ops::Range;
use core::pin::pin;
use core::task::Poll;

use crate::error::Error;
use crate::format::FormatError;
use crate::source::{SECTOR_LEN, Sector, WeightSource};
use crate::stats::Clock;

/// Hands two buffers back and forth between the reader and the tape.
pub(crate) struct Ring<'b> {
    /// Free buffers. Both are free if the layers reach a resident span before the reader's turn.
    free: [Cell<Option<&'b mut [u8]>>; 2],
    /// A filled buffer, with its number of bytes.
    full: Cell<Option<(&'b mut [u8], usize)>>,
    /// Whether the reader has handed over its last buffer.
    finished: Cell<bool>,
    /// Whether a buffer changed hands since the last poll, or the other side should get a turn.
    moved: Cell<bool>,
    pub room: Room,
    /// Ticks in which the layers waited for weights.
    pub waited: Cell<u64>,
}

/// The position of the chunk in a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Bytes before the chunk, for the first part of a row.
    pub head: usize,
    /// Maximum bytes of a chunk. The bytes after the chunk are for the second part of a row.
    pub chunk: usize,
}

impl<'b> Ring<'b> {
    /// Creates a ring of one buffer. The reader starts with the other buffer.
    pub fn new(free: &'b mut [u8], room: Room) -> Self {
        Self {
            free: [Cell::new(Some(free)), Cell::new(None)],
            full: Cell::new(None),
            finished: Cell::new(false),
            moved: Cell::new(false),
            room,
            waited: Cell::new(0),
        }
    }

    /// Waits for a free buffer.
    async fn take_free(&self) -> &'b mut [u8] {
        poll_fn(|_| match self.free.iter().find_map(Cell::take) {
            Some(value) => {
                self.moved.set(true);
                Poll::Ready(value)
            }
            None => Poll::Pending,
        })
        .await
    }

    /// Returns a buffer to the reader.
    pub fn give_back(&self, buffer: &'b mut [u8]) {
        let [first, second] = &self.free;
        match first.replace(Some(buffer)) {
            None => {}
            // There are only two buffers.
            before => second.set(before),
        }
    }

    /// Waits for a filled buffer, with its number of bytes; `None` after the last one.
    pub async fn take_full(&self) -> Option<(&'b mut [u8], usize)> {
        poll_fn(|_| match self.full.take() {
            None if self.finished.get() => Poll::Ready(None),
            None => Poll::Pending,
            filled => {
                self.moved.set(true);
                Poll::Ready(filled)
            }
        })
        .await
    }

    /// Waits until the previous filled buffer is taken, then hands over this one.
    async fn pass_on(&self, buffer: &'b mut [u8], len: usize) {
        poll_fn(|_| match self.full.take() {
            None => Poll::Ready(()),
            waiting => {
                self.full.set(waiting);
                Poll::Pending
            }
        })
        .await;
        self.full.set(Some((buffer, len)));
        self.moved.set(true);
    }

    /// Gives the reader a turn.
    pub async fn pause(&self) {
        let mut paused = false;
        poll_fn(|_| {
            self.moved.set(true);
            if core::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Reads `runs` of the file, each of which starts at a sector, alternately into `buffer` and the ring's other buffer.
///
/// # Errors
/// The source's error, immediately.
pub(crate) async fn read_ahead<'b, S: WeightSource>(
    source: &mut S,
    ring: &Ring<'b>,
    buffer: &'b mut [u8],
    runs: impl Iterator<Item = Range<u64>>,
) -> Result<(), S::Error> {
    let Room { head, chunk } = ring.room;
    let mut first = Some(buffer);
    for run in runs {
        for at in (run.start..run.end).step_by(chunk) {
            let buffer = match first.take() {
                Some(buffer) => buffer,
                None => ring.take_free().await,
            };
            let len = (run.end - at).min(chunk as u64).next_multiple_of(SECTOR_LEN as u64) as usize;
            source.read(Sector::of(at).0, &mut buffer[head..][..len]).await?;
            ring.pass_on(buffer, len).await;
        }
    }
    ring.finished.set(true);
    ring.moved.set(true);
    Ok(())
}

/// Polls the reader and the layers alternately until the layers finish or one of them fails.
///
/// The layers' waiting time includes everything between their stop and their continuation: a blocking reader, other
/// tasks, and polls without new data.
pub(crate) async fn drive<E, T>(
    ring: &Ring<'_>,
    clock: Option<Clock>,
    reader: impl Future<Output = Result<(), E>>,
    layers: impl Future<Output = Result<T, FormatError>>,
) -> Result<T, Error<E>> {
    let (mut reader, mut layers) = (pin!(reader), pin!(layers));
    let mut reading = true;
    let now = || clock.map_or(0, |clock| clock());
    let mut waiting_since = now();
    poll_fn(|cx| {
        loop {
            ring.moved.set(false);
            if reading {
                match reader.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => reading = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Source(error))),
                    Poll::Pending => {}
                }
            }
            let reader_moved = ring.moved.replace(false);
            let start = now();
            let layers = layers.as_mut().poll(cx);
            if layers.is_ready() || ring.moved.get() {
                ring.waited.update(|ticks| ticks + u64::from(start.wrapping_sub(waiting_since)));
                waiting_since = now();
            }
            if let Poll::Ready(result) = layers {
                return Poll::Ready(result.map_err(Error::Format));
            }
            // Neither can continue before the source wakes the task.
            if !reader_moved && !ring.moved.get() {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ResidentSpans;
    use crate::tape::Tape;
    use crate::verify::Verifier;
    use core::cell::RefCell;
    use core::task::{Context, Waker};
    use std::string::String;
    use std::vec::Vec;

    /// Logs its reads. Each read takes three polls.
    struct Slow<'l> {
        log: &'l RefCell<String>,
    }

    impl WeightSource for Slow<'_> {
        type Error = ();

        async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), ()> {
            self.log.borrow_mut().push_str(&std::format!("<{}", first.0));
            let mut polls = 3;
            poll_fn(|_| {
                polls -= 1;
                if polls == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            for (at, byte) in buf.iter_mut().enumerate() {
                *byte = (first.0 as usize * SECTOR_LEN + at) as u8;
            }
            self.log.borrow_mut().push('>');
            Ok(())
        }
    }

    #[test]
    fn a_chunk_is_read_while_another_one_is_multiplied() {
        const ROW: usize = 300;
        const LEN: u64 = 4 * SECTOR_LEN as u64;
        let log = RefCell::new(String::new());
        let (mut a, mut b) = ([0; ROW + SECTOR_LEN], [0; ROW + SECTOR_LEN]);
        let ring = Ring::new(&mut b, Room { head: ROW, chunk: SECTOR_LEN });
        let mut source = Slow { log: &log };
        let mut verifier = Verifier::new(0, false, 0);
        let reader = read_ahead(&mut source, &ring, &mut a, ResidentSpans::front(LEN, 0).runs(LEN));
        let rows = async {
            let mut tape = Tape::new(&[], Some((ResidentSpans::front(LEN, 0), &ring)), &mut verifier);
            let mut bytes: Vec<u8> = Vec::new();
            for _ in 0..6 {
                bytes.extend(tape.rows(ROW, 1).await?);
                log.borrow_mut().push('*');
            }
            Ok::<_, FormatError>(bytes)
        };
        let mut both = pin!(drive(&ring, None, reader, rows));
        let bytes = loop {
            if let Poll::Ready(result) = both.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                break result.unwrap();
            }
        };
        assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == at as u8));
        // Rows are multiplied (*) during a read (< to >), not between reads.
        assert_eq!(*log.borrow(), "<0><1*><2**><3**>*");
    }
}
