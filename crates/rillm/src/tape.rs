//! The tape: all weights of a token, front to back, in slices of whole rows.
//!
//! The front of the tape may be resident in memory (pinned by the plan, or lent by the source: then all of it is). The
//! rest comes in chunks through two buffers that go round between a [`Reader`], which fills them from the source, and
//! the [`Tape`], which the layers take rows from. [`drive`] runs both in one task: while a chunk is being multiplied, the
//! next one is being read. A row that a chunk's end cuts is completed by copying its first part in front of the next
//! chunk.

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::ops::Range;
use core::pin::pin;
use core::task::Poll;

use crate::clock::Clock;
use crate::error::Error;
use crate::format::{FormatError, Header, TENSOR_HEADER_LEN, TensorHeader, TensorKind};
use crate::source::{SECTOR_LEN, Sector, WeightSource};
use crate::verify::Verifier;

/// The place where two buffers change hands.
pub(crate) struct Ring<'b> {
    /// A buffer to fill.
    free: Cell<Option<&'b mut [u8]>>,
    /// A filled one, with the number of its bytes.
    full: Cell<Option<(&'b mut [u8], usize)>>,
    /// The reader has handed over its last buffer.
    finished: Cell<bool>,
    /// Something changed hands, or should be given the chance to.
    moved: Cell<bool>,
    /// Bytes before the chunk in every buffer, for the first part of a row.
    headroom: usize,
    /// Ticks in which the layers had nothing to multiply.
    pub waited: Cell<u64>,
}

impl<'b> Ring<'b> {
    /// A ring of one buffer; the reader starts with the other one.
    pub fn new(free: &'b mut [u8], headroom: usize) -> Self {
        Self {
            free: Cell::new(Some(free)),
            full: Cell::new(None),
            finished: Cell::new(false),
            moved: Cell::new(false),
            headroom,
            waited: Cell::new(0),
        }
    }

    /// What `cell` holds, as soon as it holds something.
    async fn take_from<T>(&self, cell: &Cell<Option<T>>) -> T {
        poll_fn(|_| match cell.take() {
            Some(value) => {
                self.moved.set(true);
                Poll::Ready(value)
            }
            None => Poll::Pending,
        })
        .await
    }

    /// Lets the reader have a turn.
    async fn pause(&self) {
        let mut paused = false;
        poll_fn(|_| {
            self.moved.set(true);
            if core::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Reads the bytes `range` of the file, which starts at a sector, through `buffer` and the ring's other one.
///
/// # Errors
/// The source's, at once.
pub(crate) async fn read_ahead<'b, S: WeightSource>(
    source: &mut S,
    ring: &Ring<'b>,
    buffer: &'b mut [u8],
    range: Range<u64>,
) -> Result<(), S::Error> {
    let mut buffer = buffer;
    let mut at = range.start;
    while at < range.end {
        let room = buffer.len() - ring.headroom;
        let len = (range.end - at).min(room as u64).next_multiple_of(SECTOR_LEN as u64) as usize;
        source.read(Sector::of(at).0, &mut buffer[ring.headroom..][..len]).await?;
        at += len as u64;
        // One filled buffer waits at a time; the layers take it when they are through with theirs.
        poll_fn(|_| match ring.full.take() {
            None => Poll::Ready(()),
            waiting => {
                ring.full.set(waiting);
                Poll::Pending
            }
        })
        .await;
        ring.full.set(Some((buffer, len)));
        ring.moved.set(true);
        if at >= range.end {
            break;
        }
        buffer = ring.take_from(&ring.free).await;
    }
    ring.finished.set(true);
    ring.moved.set(true);
    Ok(())
}

/// Runs the reader and the layers in turn until the layers are through, or one of them fails.
///
/// The layers wait from when they can go no further until they go on, whatever passes meanwhile: a reader that blocks, other
/// tasks, turns in which nothing has come yet.
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
            // Neither can go on before the source wakes the task.
            if !reader_moved && !ring.moved.get() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// The bytes at hand: in the resident front, or in the buffer that is the tape's at the moment.
enum Window<'b> {
    Resident(Range<usize>),
    Chunk(&'b mut [u8], Range<usize>),
}

/// The weights of one pass, taken in order.
pub(crate) struct Tape<'r, 'b> {
    resident: &'r [u8],
    ring: Option<&'r Ring<'b>>,
    window: Window<'b>,
    verifier: &'r mut Verifier,
}

impl<'r, 'b> Tape<'r, 'b> {
    /// A tape whose front is `resident` and whose rest, if any, comes through `ring`. What is taken from it is shown to
    /// `verifier`.
    pub fn new(resident: &'r [u8], ring: Option<&'r Ring<'b>>, verifier: &'r mut Verifier) -> Self {
        verifier.begin();
        Self { resident, ring, window: Window::Resident(0..resident.len()), verifier }
    }

    /// What has been taken is the tape's prefix: see [`Verifier::end_prefix`].
    pub fn end_prefix(&mut self) -> Result<(), FormatError> {
        self.verifier.end_prefix()
    }

    /// The whole tape has been taken: see [`Verifier::end`].
    pub fn end(&mut self) -> Result<(), FormatError> {
        self.verifier.end()
    }

    fn window(&self) -> &Range<usize> {
        match &self.window {
            Window::Resident(range) | Window::Chunk(_, range) => range,
        }
    }

    /// Makes sure that `len` bytes lie in one piece. No more than the ring's headroom lie there already.
    async fn ensure(&mut self, len: usize) -> Result<(), FormatError> {
        while self.window().len() < len {
            let ring = self.ring.ok_or(FormatError::Truncated)?;
            let next = poll_fn(|_| match ring.full.take() {
                None if ring.finished.get() => Poll::Ready(Err(FormatError::Truncated)),
                None => Poll::Pending,
                Some(filled) => {
                    ring.moved.set(true);
                    Poll::Ready(Ok(filled))
                }
            });
            let (buffer, filled) = next.await?;
            let left = match &self.window {
                Window::Resident(range) => &self.resident[range.clone()],
                Window::Chunk(chunk, range) => &chunk[range.clone()],
            };
            let start = ring.headroom.checked_sub(left.len()).ok_or(FormatError::Truncated)?;
            buffer[start..ring.headroom].copy_from_slice(left);
            let before = core::mem::replace(&mut self.window, Window::Chunk(buffer, start..ring.headroom + filled));
            if let Window::Chunk(chunk, _) = before {
                ring.free.set(Some(chunk));
            }
        }
        Ok(())
    }

    fn advance(&mut self, len: usize) -> &[u8] {
        let (bytes, range): (&[u8], _) = match &mut self.window {
            Window::Resident(range) => (self.resident, range),
            Window::Chunk(chunk, range) => (chunk, range),
        };
        let taken = &bytes[range.start..range.start + len];
        range.start += len;
        self.verifier.update(taken);
        taken
    }

    /// The next tensor's header, which must be that of `kind` in `layer`.
    ///
    /// # Errors
    /// [`FormatError`]: it isn't, or the tape ends here.
    pub async fn tensor(&mut self, header: &Header, kind: TensorKind, layer: u32) -> Result<TensorHeader, FormatError> {
        let bytes = self.take(TENSOR_HEADER_LEN).await?;
        let tensor = TensorHeader::parse(bytes.try_into().expect("the length asked for"))?;
        tensor.expect(header, kind, layer)?;
        Ok(tensor)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`]: there are fewer.
    pub async fn take(&mut self, len: usize) -> Result<&[u8], FormatError> {
        self.ensure(len).await?;
        Ok(self.advance(len))
    }

    /// As many of the next `most` rows of `row_len` bytes as lie in one piece, at least one.
    ///
    /// # Errors
    /// [`FormatError::Truncated`]: there is none.
    pub async fn rows(&mut self, row_len: usize, most: usize) -> Result<&[u8], FormatError> {
        self.ensure(row_len).await?;
        // With a fresh chunk at hand, the reader has a buffer to fill meanwhile.
        if let Some(ring) = self.ring {
            ring.pause().await;
        }
        let rows = (self.window().len() / row_len).min(most);
        Ok(self.advance(rows * row_len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use core::task::{Context, Waker};
    use std::string::String;
    use std::vec::Vec;

    /// Writes down what it does, and takes three polls for a read.
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
        let log = RefCell::new(String::new());
        let (mut a, mut b) = ([0; ROW + SECTOR_LEN], [0; ROW + SECTOR_LEN]);
        let ring = Ring::new(&mut b, ROW);
        let mut source = Slow { log: &log };
        let mut verifier = Verifier::new(0, 0);
        let reader = read_ahead(&mut source, &ring, &mut a, 0..4 * SECTOR_LEN as u64);
        let rows = async {
            let mut tape = Tape::new(&[], Some(&ring), &mut verifier);
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
        // Rows are multiplied (*) while a read is under way (< to >), not between reads.
        assert_eq!(*log.borrow(), "<0><1*><2**><3**>*");
    }

    #[test]
    fn a_tape_that_ends_too_early_is_an_error() {
        let mut verifier = Verifier::new(0, 0);
        let mut tape = Tape::new(&[1, 2, 3], None, &mut verifier);
        let mut take = pin!(tape.take(4));
        let result = take.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(result, Poll::Ready(Err(FormatError::Truncated)));
    }
}
