//! Appends text, and token sequences stored in the file, to the history.

use super::Session;
use crate::error::Error;
use crate::format::FormatError;
use crate::source::{SectorReader, WeightSource};
use crate::stats::Stage;
use crate::tokenizer::{Encoder, Scratch, Tokenizer};

/// How the tokenizer treats a text.
#[derive(Clone, Copy)]
pub(crate) enum TextKind {
    /// Marks in the text become their tokens.
    Marked,
    /// Marks in the text are text.
    Plain,
    /// A message in a conversation, with or without a space before it. Marks are text.
    Content { space: bool },
}

impl TextKind {
    fn encoder<'a>(
        self,
        tokenizer: &'a Tokenizer,
        text: &'a str,
        at_start: bool,
        scratch: &'a mut Scratch,
    ) -> Encoder<'a> {
        match self {
            Self::Marked => tokenizer.encoder(text, at_start, scratch),
            Self::Plain => tokenizer.encoder(text, at_start, scratch).plain(),
            Self::Content { space } => tokenizer.content_encoder(text, space, scratch),
        }
    }
}

impl<S: WeightSource> Session<'_, S> {
    /// The number of tokens at which counting stops: one more than the model's context. No plan has room for a text of
    /// that length, and its end may be megabytes away.
    fn most_counted(&self) -> usize {
        self.model.header().context_length as usize + 1
    }

    /// Number of tokens that [`push_text_as`](Self::push_text_as) would append, at most one more than the model's
    /// context.
    pub(crate) async fn count_text(&mut self, text: &str, kind: TextKind) -> Result<usize, Error<S::Error>> {
        let most = self.most_counted();
        let scratch = scratch(self.chunks);
        kind.encoder(self.model.tokenizer(), text, self.len == 0, scratch).count(&mut self.source, most).await
    }

    /// Appends all tokens of `text` or none. Returns their number.
    pub(crate) async fn push_text_as(&mut self, text: &str, kind: TextKind) -> Result<usize, Error<S::Error>> {
        let (started, read_before) = (self.watch.now(), self.source.watch().ticks(Stage::Read).get());
        let start = self.len;
        let (context, most) = (self.plan.context, self.most_counted());
        let mut encoder = kind.encoder(self.model.tokenizer(), text, start == 0, scratch(self.chunks));
        let mut tokens = start + encoder.fill(&mut self.source, &mut self.history[start..]).await?;
        // If the context is too small, the remaining tokens are counted for the error message, up to the largest
        // context a plan can have. A text that fills the context exactly is accepted, because the count finds no more
        // tokens.
        if tokens >= context {
            tokens += encoder.count(&mut self.source, most - tokens).await?;
        }
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        self.len = tokens;
        self.embedded &= tokens == start;
        // The clock may have wrapped around while the card was slow. Without the time of the reads, it has not.
        let read = (self.source.watch().ticks(Stage::Read).get() - read_before) as u32;
        self.watch.add(Stage::Tokenizer, (self.watch.since(started) as u32).wrapping_sub(read).into());
        Ok(tokens - start)
    }

    /// Appends all `count` tokens that the file stores at `offset`, or none.
    pub(crate) async fn push_stored(&mut self, offset: u64, count: usize) -> Result<(), Error<S::Error>> {
        let (end, context, vocab_size) = (self.len + count, self.plan.context, self.model.header().vocab_size);
        let places = self.history.get_mut(self.len..end).ok_or(Error::ContextFull { tokens: end, context })?;
        let sector = self.chunks.first_chunk_mut().ok_or(FormatError::Truncated)?;
        let mut reader = SectorReader::new(&mut self.source, sector);
        reader.read(offset, bytemuck::cast_slice_mut(places)).await.map_err(Error::Source)?;
        for id in places {
            *id = u32::from_le(*id);
            if *id >= vocab_size {
                return Err(Error::NoSuchToken { id: *id, vocab_size });
            }
        }
        self.len = end;
        self.embedded &= count == 0;
        Ok(())
    }

    /// Reads the bytes at `offset` in the file into `out`.
    pub(crate) async fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error<S::Error>> {
        let sector = self.chunks.first_chunk_mut().ok_or(FormatError::Truncated)?;
        SectorReader::new(&mut self.source, sector).read(offset, out).await.map_err(Error::Source)
    }
}

/// The tokenizer's scratch memory. Every plan makes `chunks` large enough for it.
fn scratch(chunks: &mut [u8]) -> &mut Scratch {
    bytemuck::from_bytes_mut(&mut chunks[..size_of::<Scratch>()])
}
