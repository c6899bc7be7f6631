//! The tape: all weights of a token, in order, in slices of whole rows.
//!
//! Some weights may be resident (see [`ResidentSpans`]); if the source lends its memory, all are. The others arrive in
//! chunks through the [double buffer](crate::double_buffer). If a row crosses into the next chunk, its first part is
//! copied in front of that chunk. If a row crosses into a resident span, its second part is copied behind the current
//! chunk.

use core::ops::Range;

use crate::double_buffer::Ring;
use crate::format::{FormatError, Header, TENSOR_HEADER_LEN, TensorHeader, TensorKind};
use crate::plan::ResidentSpans;
use crate::verify::Verifier;

/// The current bytes: resident ones, or a buffer that the tape holds at the moment.
enum Current<'b> {
    Resident(Range<usize>),
    Chunk(&'b mut [u8], Range<usize>),
}

/// The weights of one pass, read in order.
pub(crate) struct Tape<'r, 'b> {
    resident: &'r [u8],
    /// The resident spans and the ring that delivers the other weights; `None` if all weights are resident.
    streamed: Option<(ResidentSpans, &'r Ring<'b>)>,
    current: Current<'b>,
    /// The current turn, and its bytes after the current ones: the rest of its span, then the rest of its run.
    turn: u64,
    span: Range<usize>,
    run: u64,
    verifier: &'r mut Verifier,
}

impl<'r, 'b> Tape<'r, 'b> {
    /// Creates a tape. Without `streamed`, `resident` is the whole tape; otherwise it holds the spans of `streamed`,
    /// and the ring delivers the runs. `verifier`, which has begun a pass, sees every byte taken.
    pub fn new(
        resident: &'r [u8],
        streamed: Option<(ResidentSpans, &'r Ring<'b>)>,
        verifier: &'r mut Verifier,
    ) -> Self {
        let current = Current::Resident(if streamed.is_some() { 0..0 } else { 0..resident.len() });
        let mut tape = Self { resident, streamed, current, turn: 0, span: 0..0, run: 0, verifier };
        // A resident tape has no turns.
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

    /// The prefix of the tape has been taken: see [`Verifier::end_prefix`].
    pub fn end_prefix(&mut self) -> Result<(), FormatError> {
        self.verifier.end_prefix()
    }

    /// The whole tape has been taken: see [`Verifier::end`].
    pub fn end(&mut self) -> Result<(), FormatError> {
        self.verifier.end()
    }

    fn range(&self) -> &Range<usize> {
        match &self.current {
            Current::Resident(range) | Current::Chunk(_, range) => range,
        }
    }

    /// Makes the next `len` bytes contiguous. `len` is at most the buffer's room before a chunk.
    async fn ensure(&mut self, len: usize) -> Result<(), FormatError> {
        while self.range().len() < len {
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
            let left = match &self.current {
                Current::Resident(range) => &self.resident[range.clone()],
                Current::Chunk(chunk, range) => &chunk[range.clone()],
            };
            let head = ring.room.head;
            let start = head.checked_sub(left.len()).ok_or(FormatError::Truncated)?;
            buffer[start..head].copy_from_slice(left);
            self.set_current(ring, Current::Chunk(buffer, start..head + filled));
            self.run = self.run.saturating_sub(filled as u64);
        }
        Ok(())
    }

    /// Makes the span the current bytes. If a row crosses into the span, copies bytes of the span behind the current chunk
    /// until there are `len` current bytes.
    fn enter_span(&mut self, ring: &Ring<'b>, len: usize) -> Result<(), FormatError> {
        if let Current::Chunk(chunk, range) = &mut self.current
            && range.start < range.end
        {
            let part = self.span.start..self.span.end.min(self.span.start + len - range.len());
            let end = range.end + part.len();
            let behind = chunk.get_mut(range.end..end).ok_or(FormatError::Truncated)?;
            behind.copy_from_slice(&self.resident[part.clone()]);
            (range.end, self.span.start) = (end, part.end);
        } else {
            let span = core::mem::take(&mut self.span);
            self.set_current(ring, Current::Resident(span));
        }
        Ok(())
    }

    /// Changes the current bytes and returns the buffer of the previous ones to the reader.
    fn set_current(&mut self, ring: &Ring<'b>, current: Current<'b>) {
        if let Current::Chunk(chunk, _) = core::mem::replace(&mut self.current, current) {
            ring.give_back(chunk);
        }
    }

    fn advance(&mut self, len: usize) -> &[u8] {
        let (bytes, range): (&[u8], _) = match &mut self.current {
            Current::Resident(range) => (self.resident, range),
            Current::Chunk(chunk, range) => (chunk, range),
        };
        let taken = &bytes[range.start..range.start + len];
        range.start += len;
        self.verifier.update(taken);
        taken
    }

    /// Takes the next tensor's header, which must be that of `kind` in `layer`.
    ///
    /// # Errors
    /// A [`FormatError`] if it is another tensor's or the tape ends here.
    pub async fn tensor(&mut self, header: &Header, kind: TensorKind, layer: u32) -> Result<TensorHeader, FormatError> {
        let bytes = self.take(TENSOR_HEADER_LEN).await?;
        let tensor = TensorHeader::parse(bytes.try_into().expect("the length asked for"))?;
        tensor.expect(header, kind, layer)?;
        Ok(tensor)
    }

    /// Takes the next tensor, which must be a vector of `kind` in `layer`: its little-endian 32-bit mantissas, and their
    /// exponent.
    ///
    /// # Errors
    /// As [`Tape::tensor`], or [`FormatError::Truncated`] if the tape ends in it.
    pub async fn vector(
        &mut self,
        header: &Header,
        kind: TensorKind,
        layer: u32,
    ) -> Result<(&[[u8; 4]], i32), FormatError> {
        let tensor = self.tensor(header, kind, layer).await?;
        let (mantissas, _) = self.take(tensor.row_len()).await?.as_chunks();
        Ok((mantissas, tensor.exponent.into()))
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub async fn take(&mut self, len: usize) -> Result<&[u8], FormatError> {
        self.ensure(len).await?;
        Ok(self.advance(len))
    }

    /// Takes as many of the next `most` rows of `row_len` bytes as are contiguous, at least one.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there is none.
    pub async fn rows(&mut self, row_len: usize, most: usize) -> Result<&[u8], FormatError> {
        self.ensure(row_len).await?;
        let mut most = most;
        if let Some((_, ring)) = self.streamed {
            // At the start of a chunk, the reader has a free buffer to fill. Resident rows are limited to a chunk at a
            // time, so that the reader gets its turns during a resident span, too.
            ring.pause().await;
            most = most.min((ring.room.chunk / row_len).max(1));
        }
        let rows = (self.range().len() / row_len).min(most);
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
        let mut verifier = Verifier::new(0, false, 0);
        let mut tape = Tape::new(&[1, 2, 3], None, &mut verifier);
        let mut take = pin!(tape.take(4));
        let result = take.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(result, Poll::Ready(Err(FormatError::Truncated)));
    }
}
