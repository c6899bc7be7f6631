//! The tape: all weights of a token, front to back, in slices of whole rows.
//!
//! Some of it may be resident in memory (by the plan, see [`ResidentSpans`], or because the source lends it: then all of it is). The
//! rest comes in chunks through the [double buffer](crate::double_buffer). A row that ends in the next chunk is completed by
//! copying its first part in front of that chunk, a row that ends in a resident span by copying its second part behind the
//! chunk at hand.

use core::ops::Range;

use crate::double_buffer::Ring;
use crate::format::{FormatError, Header, TENSOR_HEADER_LEN, TensorHeader, TensorKind};
use crate::plan::ResidentSpans;
use crate::verify::Verifier;

/// The bytes at hand: resident ones, or some in the buffer that is the tape's at the moment.
enum Window<'b> {
    Resident(Range<usize>),
    Chunk(&'b mut [u8], Range<usize>),
}

/// The weights of one pass, taken in order.
pub(crate) struct Tape<'r, 'b> {
    resident: &'r [u8],
    /// How what is resident lies among what comes through the ring; `None` if all is resident.
    streamed: Option<(ResidentSpans, &'r Ring<'b>)>,
    window: Window<'b>,
    /// The turn of the spans at hand, and what comes of it after the window: the rest of its span, then that of its run.
    turn: u64,
    span: Range<usize>,
    run: u64,
    verifier: &'r mut Verifier,
}

impl<'r, 'b> Tape<'r, 'b> {
    /// A tape that is `resident` as a whole, or in the spans of `streamed`, whose runs come through the ring. What is
    /// taken from it is shown to `verifier`.
    pub fn new(
        resident: &'r [u8],
        streamed: Option<(ResidentSpans, &'r Ring<'b>)>,
        verifier: &'r mut Verifier,
    ) -> Self {
        verifier.begin();
        let window = Window::Resident(if streamed.is_some() { 0..0 } else { 0..resident.len() });
        let mut tape = Self { resident, streamed, window, turn: 0, span: 0..0, run: 0, verifier };
        // Of a tape that is all resident there are no turns.
        let _ = tape.begin_turn(0);
        tape
    }

    fn begin_turn(&mut self, turn: u64) -> Result<(), FormatError> {
        let (spans, _) = self.streamed.ok_or(FormatError::Truncated)?;
        self.span = spans.span(turn).ok_or(FormatError::Truncated)?;
        self.run = spans.run(turn, u64::MAX).map_or(0, |run| run.end - run.start);
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
            let (buffer, filled) = ring.take_full().await.ok_or(FormatError::Truncated)?;
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
    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_tape_that_ends_too_early_is_an_error() {
        let mut verifier = Verifier::new(0, 0);
        let mut tape = Tape::new(&[1, 2, 3], None, &mut verifier);
        let mut take = pin!(tape.take(4));
        let result = take.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(result, Poll::Ready(Err(FormatError::Truncated)));
    }
}
