//! The tape: all weights of a token, front to back, in slices of whole rows.
//!
//! Some of it may be resident in memory (pinned by the plan, see [`Pins`], or lent by the source: then all of it is). The
//! rest comes in chunks through two buffers that go round between a reader ([`read_ahead`]), which fills them from the
//! source, and the [`Tape`], which the layers take rows from. [`drive`] runs both in one task: while one chunk, or what is
//! pinned before the next one, is being multiplied, the next one is being read. A row that ends in the next chunk is
//! completed by copying its first part in front of that chunk, a row that ends in what is pinned by copying its
//! second part behind the chunk at hand.

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::ops::Range;
use core::pin::pin;
use core::task::Poll;

use crate::clock::Clock;
use crate::error::Error;
use crate::format::{FormatError, Header, TENSOR_HEADER_LEN, TensorHeader, TensorKind};
use crate::pins::Pins;
use crate::source::{SECTOR_LEN, Sector, WeightSource};
use crate::verify::Verifier;

/// The place where two buffers change hands.
pub(crate) struct Ring<'b> {
    /// Buffers to fill. Both are where the layers come to a pinned span before the reader has had its turn.
    free: [Cell<Option<&'b mut [u8]>>; 2],
    /// A filled one, with the number of its bytes.
    full: Cell<Option<(&'b mut [u8], usize)>>,
    /// The reader has handed over its last buffer.
    finished: Cell<bool>,
    /// Something changed hands, or should be given the chance to.
    moved: Cell<bool>,
    room: Room,
    /// Ticks in which the layers had nothing to multiply.
    pub waited: Cell<u64>,
}

/// Where in a buffer the chunk lies.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Bytes before it, for the first part of a row.
    pub head: usize,
    /// Bytes of the longest chunk. What comes after them is for the second part of a row.
    pub chunk: usize,
}

impl<'b> Ring<'b> {
    /// A ring of one buffer; the reader starts with the other one.
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

    /// A buffer to fill, as soon as there is one.
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

    /// Gives a buffer back to be filled.
    fn give_back(&self, buffer: &'b mut [u8]) {
        let [first, second] = &self.free;
        match first.replace(Some(buffer)) {
            None => {}
            // There are two in all.
            before => second.set(before),
        }
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

/// Reads `runs` of the file, each of which starts at a sector, through `buffer` and the ring's other one.
///
/// # Errors
/// The source's, at once.
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
        }
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

/// The bytes at hand: resident ones, or some in the buffer that is the tape's at the moment.
enum Window<'b> {
    Resident(Range<usize>),
    Chunk(&'b mut [u8], Range<usize>),
}

/// The weights of one pass, taken in order.
pub(crate) struct Tape<'r, 'b> {
    resident: &'r [u8],
    /// How what is resident lies among what comes through the ring; `None` if all is resident.
    streamed: Option<(Pins, &'r Ring<'b>)>,
    window: Window<'b>,
    /// The turn of the pins at hand, and what comes of it after the window: the rest of its span, then that of its run.
    turn: u64,
    span: Range<usize>,
    run: u64,
    verifier: &'r mut Verifier,
}

impl<'r, 'b> Tape<'r, 'b> {
    /// A tape that is `resident` as a whole, or the spans of the pins `streamed`, whose runs come through the ring. What is
    /// taken from it is shown to `verifier`.
    pub fn new(resident: &'r [u8], streamed: Option<(Pins, &'r Ring<'b>)>, verifier: &'r mut Verifier) -> Self {
        verifier.begin();
        let window = Window::Resident(if streamed.is_some() { 0..0 } else { 0..resident.len() });
        let mut tape = Self { resident, streamed, window, turn: 0, span: 0..0, run: 0, verifier };
        // Of a tape that is all resident there are no turns.
        let _ = tape.begin_turn(0);
        tape
    }

    fn begin_turn(&mut self, turn: u64) -> Result<(), FormatError> {
        let (pins, _) = self.streamed.ok_or(FormatError::Truncated)?;
        self.span = pins.span(turn).ok_or(FormatError::Truncated)?;
        self.run = pins.run(turn, u64::MAX).map_or(0, |run| run.end - run.start);
        self.turn = turn;
        Ok(())
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

    /// Makes sure that `len` bytes, no more than a buffer's room before a chunk, lie in one piece.
    async fn ensure(&mut self, len: usize) -> Result<(), FormatError> {
        while self.window().len() < len {
            let (_, ring) = self.streamed.ok_or(FormatError::Truncated)?;
            if !self.span.is_empty() {
                self.enter_span(ring, len)?;
                continue;
            }
            if self.run == 0 {
                self.begin_turn(self.turn + 1)?;
                continue;
            }
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
            let head = ring.room.head;
            let start = head.checked_sub(left.len()).ok_or(FormatError::Truncated)?;
            buffer[start..head].copy_from_slice(left);
            self.change_window(ring, Window::Chunk(buffer, start..head + filled));
            self.run = self.run.saturating_sub(filled as u64);
        }
        Ok(())
    }

    /// Takes the span for the window, or, where a row was cut, as much of it behind the chunk at hand as brings the
    /// window to `len` bytes.
    fn enter_span(&mut self, ring: &Ring<'b>, len: usize) -> Result<(), FormatError> {
        if let Window::Chunk(chunk, range) = &mut self.window
            && range.start < range.end
        {
            let part = self.span.start..self.span.end.min(self.span.start + len - range.len());
            let end = range.end + part.len();
            let behind = chunk.get_mut(range.end..end).ok_or(FormatError::Truncated)?;
            behind.copy_from_slice(&self.resident[part.clone()]);
            (range.end, self.span.start) = (end, part.end);
        } else {
            let span = core::mem::take(&mut self.span);
            self.change_window(ring, Window::Resident(span));
        }
        Ok(())
    }

    /// Gives the buffer of the window before back to the reader.
    fn change_window(&mut self, ring: &Ring<'b>, window: Window<'b>) {
        if let Window::Chunk(chunk, _) = core::mem::replace(&mut self.window, window) {
            ring.give_back(chunk);
        }
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
        let mut most = most;
        if let Some((_, ring)) = self.streamed {
            // With a fresh chunk at hand, the reader has a buffer to fill meanwhile. Resident rows are no more at a time than
            // a chunk has, so that it has its turns among them, too.
            ring.pause().await;
            most = most.min((ring.room.chunk / row_len).max(1));
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
        const LEN: u64 = 4 * SECTOR_LEN as u64;
        let log = RefCell::new(String::new());
        let (mut a, mut b) = ([0; ROW + SECTOR_LEN], [0; ROW + SECTOR_LEN]);
        let ring = Ring::new(&mut b, Room { head: ROW, chunk: SECTOR_LEN });
        let mut source = Slow { log: &log };
        let mut verifier = Verifier::new(0, 0);
        let reader = read_ahead(&mut source, &ring, &mut a, Pins::front(LEN, 0).runs(LEN));
        let rows = async {
            let mut tape = Tape::new(&[], Some((Pins::front(LEN, 0), &ring)), &mut verifier);
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
