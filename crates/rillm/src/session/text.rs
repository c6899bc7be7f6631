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
    /// The rest of a text that was divided before its last word. Marks become their tokens.
    Rest { after_mark: bool },
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
            Self::Rest { after_mark } => tokenizer.rest_encoder(text, after_mark, scratch),
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
        Ok(self.append_text(text, kind).await?.0)
    }

    /// Appends all tokens of `text` or none. Returns their number, and how a rest of the text is encoded.
    pub(super) async fn append_text(
        &mut self,
        text: &str,
        kind: TextKind,
    ) -> Result<(usize, TextKind), Error<S::Error>> {
        let started = self.tokenizer_starts();
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
        let rest = TextKind::Rest { after_mark: encoder.ends_with_mark() };
        self.len = tokens;
        self.embedded &= tokens == start;
        self.tokenizer_ends(started);
        Ok((tokens - start, rest))
    }

    /// Writes the tokens of two texts joined into one to the history from `at` on, behind the session's tokens, and
    /// returns their number. The end of the history holds the joined text meanwhile.
    ///
    /// # Errors
    /// [`Error::ContextFull`], [`Error::Format`], and the source's error.
    pub(super) async fn encode_joined(
        &mut self,
        [front, back]: [&str; 2],
        kind: TextKind,
        at: usize,
    ) -> Result<usize, Error<S::Error>> {
        let started = self.tokenizer_starts();
        let (context, most, len) = (self.plan.context, self.most_counted(), front.len() + back.len());
        let places = len.div_ceil(size_of::<u32>());
        let free = &mut self.history[at..];
        let Some(room) = free.len().checked_sub(places) else {
            return Err(Error::ContextFull { tokens: at + places, context });
        };
        let (out, text) = free.split_at_mut(room);
        let text: &mut [u8] = &mut bytemuck::cast_slice_mut(text)[..len];
        text[..front.len()].copy_from_slice(front.as_bytes());
        text[front.len()..].copy_from_slice(back.as_bytes());
        // Two texts joined are UTF-8.
        let text = core::str::from_utf8(text).unwrap_or_default();
        let mut encoder = kind.encoder(self.model.tokenizer(), text, self.len == 0, scratch(self.chunks));
        let found = encoder.fill(&mut self.source, out).await?;
        let lacking = if found < room { 0 } else { encoder.count(&mut self.source, most).await? };
        self.tokenizer_ends(started);
        if lacking > 0 { Err(Error::ContextFull { tokens: context + lacking, context }) } else { Ok(found) }
    }

    /// The time now, and the time of all reads.
    fn tokenizer_starts(&self) -> (u32, u64) {
        (self.watch.now(), self.source.watch().ticks(Stage::Read).get())
    }

    /// Counts the time since then, without reads, as the tokenizer's.
    fn tokenizer_ends(&mut self, (started, read_before): (u32, u64)) {
        // The clock may have wrapped around while the card was slow. Without the time of the reads, it has not.
        let read = (self.source.watch().ticks(Stage::Read).get() - read_before) as u32;
        self.watch.add(Stage::Tokenizer, (self.watch.since(started) as u32).wrapping_sub(read).into());
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
