//! What a session does with its tokens: embeddings, batches, passes.

use core::ops::Range;

use crate::clock::{Clock, Stopwatch, Ticks};
use crate::counted::{Counted, SectorReader, lent};
use crate::double_buffer::{Ring, Room, drive, read_ahead};
use crate::error::Error;
use crate::format::{FormatError, TokenKind};
use crate::forward::Pass;
use crate::kernels::{Dot, Rows};
use crate::matmul::Row;
use crate::memory::Memory;
use crate::model::Model;
use crate::plan::{Place, Plan, Stats};
use crate::rope::Frequencies;
use crate::snapshot::{self, RestoreError};
use crate::source::{SECTOR_LEN, Sector, WeightSource};
use crate::tape::Tape;
use crate::tokenizer::{Encoder, Scratch, Tokenizer};
use crate::verify::Verifier;

/// Bytes of the longest text that a token can have.
const TEXT_MAX: usize = 255;

/// What a text is to the tokenizer.
#[derive(Clone, Copy)]
pub(crate) enum TextKind {
    /// Marks in it become their tokens.
    Marked,
    /// Marks in it are text.
    Plain,
    /// What is said in a conversation, with a space before it or without; marks in it are text.
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

/// Tokens, and how far they were computed.
pub(crate) struct Runner<'m, S> {
    model: &'m Model,
    source: Counted<S>,
    plan: Plan,
    memory: Memory<'m>,
    /// Tokens in the history.
    len: usize,
    /// Tokens of them whose keys and values are in the cache.
    cached: usize,
    /// The rope table and the pinned weights were read.
    loaded: bool,
    /// The last token's embedding is in the first place of `x`: it was read with its text.
    embedded: bool,
    text: [u8; TEXT_MAX],
    tokens: u64,
    passes: u64,
    verifier: Verifier,
    /// Of all ticks but those of reads and checksums.
    watch: Stopwatch,
    dot: Dot,
}

impl<'m, S: WeightSource> Runner<'m, S> {
    pub fn new(model: &'m Model, source: Counted<S>, plan: Plan, memory: Memory<'m>, check_every: u32) -> Self {
        Self {
            model,
            source,
            plan,
            memory,
            len: 0,
            cached: 0,
            loaded: false,
            embedded: false,
            text: [0; TEXT_MAX],
            tokens: 0,
            passes: 0,
            verifier: Verifier::new(check_every, model.tape_crc32()),
            watch: Stopwatch::default(),
            dot: |rows: &Rows<'_>, x, sums| rows.dot(x, sums),
        }
    }

    /// Counts ticks from now on.
    pub fn set_clock(&mut self, clock: Clock) {
        for watch in [&mut self.watch, &mut self.verifier.watch, self.source.watch()] {
            watch.clock = Some(clock);
        }
    }

    /// Multiplies by `dot` from now on.
    pub fn set_dot(&mut self, dot: Dot) {
        self.dot = dot;
    }

    /// The number of tokens at which counting stops: one more than the model was made for. No plan has room for a text of so
    /// many, and the end of it may be megabytes away.
    fn most_counted(&self) -> usize {
        self.model.header().context_length as usize + 1
    }

    /// How many tokens of `kind` [`push_text`](Self::push_text) would append, one more than the model was made for at most.
    pub async fn count_text(&mut self, text: &str, kind: TextKind) -> Result<usize, Error<S::Error>> {
        let most = self.most_counted();
        let scratch: &mut Scratch = bytemuck::from_bytes_mut(&mut self.memory.buffers[..size_of::<Scratch>()]);
        kind.encoder(self.model.tokenizer(), text, self.len == 0, scratch).count(&mut self.source, most).await
    }

    /// Appends the tokens of `text`, all or none.
    pub async fn push_text(&mut self, text: &str, kind: TextKind) -> Result<usize, Error<S::Error>> {
        let (started, read_before) = (self.watch.now(), self.source.watch().ticks.read);
        let start = self.len;
        let (context, most) = (self.plan.context, self.most_counted());
        let scratch: &mut Scratch = bytemuck::from_bytes_mut(&mut self.memory.buffers[..size_of::<Scratch>()]);
        let mut encoder = kind.encoder(self.model.tokenizer(), text, start == 0, scratch);
        let room = &mut self.memory.history[start..];
        let mut tokens = start + encoder.fill(&mut self.source, room).await?;
        // Where the room was not enough, the rest is counted, for the message: as far as a larger plan could have room for it.
        // A text of exactly as many tokens as there are places is not refused, as no more are found.
        if tokens >= context {
            tokens += encoder.count(&mut self.source, most - tokens).await?;
        }
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        self.len = tokens;
        self.embedded &= tokens == start;
        // The clock may have gone round while the card was slow; less what the reads took, it has not.
        let read = (self.source.watch().ticks.read - read_before) as u32;
        self.watch.ticks.tokenizer += u64::from((self.watch.since(started) as u32).wrapping_sub(read));
        Ok(tokens - start)
    }

    /// Appends tokens, all or none.
    pub fn push(&mut self, tokens: &[u32]) -> Result<(), Error<S::Error>> {
        let (end, context) = (self.len + tokens.len(), self.plan.context);
        let vocab_size = self.vocab_size();
        if let Some(&id) = tokens.iter().find(|&&id| id >= vocab_size) {
            return Err(Error::NoSuchToken { id, vocab_size });
        }
        let Some(places) = self.memory.history.get_mut(self.len..end) else {
            return Err(Error::ContextFull { tokens: end, context });
        };
        places.copy_from_slice(tokens);
        self.len = end;
        self.embedded &= tokens.is_empty();
        Ok(())
    }

    /// Appends the `count` tokens that the file has at `offset`, all or none.
    pub async fn push_stored(&mut self, offset: u64, count: usize) -> Result<(), Error<S::Error>> {
        let (end, context, vocab_size) = (self.len + count, self.plan.context, self.vocab_size());
        let Memory { history, buffers, .. } = &mut self.memory;
        let places = history.get_mut(self.len..end).ok_or(Error::ContextFull { tokens: end, context })?;
        let sector = buffers.first_chunk_mut().ok_or(FormatError::Truncated)?;
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

    /// Reads a few bytes of the file.
    pub async fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error<S::Error>> {
        let sector = self.memory.buffers.first_chunk_mut().ok_or(FormatError::Truncated)?;
        SectorReader::new(&mut self.source, sector).read(offset, out).await.map_err(Error::Source)
    }

    /// Appends a token for which there is room, and reads its embedding with its text.
    pub async fn append(&mut self, id: u32) -> Result<(TokenKind, &[u8]), Error<S::Error>> {
        let (kind, text_len) = self.embed(id, 0).await?;
        self.memory.history[self.len] = id;
        self.len += 1;
        self.embedded = true;
        Ok((kind, &self.text[..text_len]))
    }

    /// Computes what is not in the cache yet, and the logits after the last token.
    ///
    /// Batches that are complete stay in the cache, whatever happens to a later one. Of a history that is in the cache
    /// as a whole, the last token is computed again, to the same keys and values.
    pub async fn advance(&mut self, mut head: impl FnMut(u32, i32, i32)) -> Result<(), Error<S::Error>> {
        if self.len == 0 {
            return Err(Error::Empty);
        }
        while self.prefill().await? {}
        let start = self.computed();
        self.compute(start, self.len - start, Some(&mut head)).await
    }

    /// Computes a batch of what is not in the cache yet, if another one follows it, which is for [`advance`](Self::advance).
    pub async fn prefill(&mut self) -> Result<bool, Error<S::Error>> {
        let (start, batch) = (self.computed(), self.plan.batch);
        let another_follows = self.len - start > batch;
        if another_follows {
            self.compute(start, batch, None::<&mut fn(u32, i32, i32)>).await?;
        }
        Ok(another_follows)
    }

    /// Takes a batch of the history through the layers and, with `head`, its last token through the head.
    async fn compute(
        &mut self,
        start: usize,
        batch: usize,
        head: Option<&mut impl FnMut(u32, i32, i32)>,
    ) -> Result<(), Error<S::Error>> {
        self.load().await?;
        if !(self.embedded && start + 1 == self.len) {
            for place in 0..batch {
                self.embed(self.memory.history[start + place], place).await?;
            }
        }
        self.embedded = false;
        // A pass that fails has written over what it was to compute.
        self.cached = self.cached.min(start);
        if let Err(error) = self.pass(start, batch, head).await {
            if let Error::Format(_) = error {
                // What was computed from such weights is not to be trusted, nor what is pinned of them.
                (self.cached, self.loaded) = (0, false);
            }
            return Err(error);
        }
        self.cached = start + batch;
        Ok(())
    }

    /// Reads what stays in memory, once.
    async fn load(&mut self) -> Result<(), Error<S::Error>> {
        if self.loaded {
            return Ok(());
        }
        let pins = self.plan.pins(self.model.tape_len());
        let through_buffers = self.plan.pinned_place == Place::Large;
        let Memory { rope, buffers, pinned, .. } = &mut self.memory;
        let sector = buffers.first_chunk_mut().ok_or(FormatError::Truncated)?;
        SectorReader::new(&mut self.source, sector)
            .read(self.model.rope_offset(), rope)
            .await
            .map_err(Error::Source)?;
        let spans = (0..).map_while(|turn| pins.span_on_tape(turn).zip(pins.span(turn)));
        for (on_tape, place) in spans.filter(|(_, place)| !place.is_empty()) {
            let most = if through_buffers { buffers.len() / SECTOR_LEN * SECTOR_LEN } else { place.len() };
            for (offset, piece) in (on_tape.start..).step_by(most).zip(pinned[place].chunks_mut(most)) {
                let (first, _) = Sector::of(self.model.tape_offset() + offset);
                if through_buffers {
                    let buffer = &mut buffers[..piece.len()];
                    self.source.read(first, buffer).await.map_err(Error::Source)?;
                    piece.copy_from_slice(buffer);
                } else {
                    self.source.read(first, piece).await.map_err(Error::Source)?;
                }
            }
        }
        self.loaded = true;
        Ok(())
    }

    /// Reads a token's record, puts its embedding into a place of `x`, and keeps its text.
    async fn embed(&mut self, id: u32, place: usize) -> Result<(TokenKind, usize), Error<S::Error>> {
        let embedding = self.model.embedding();
        let (offset, record_len) = (self.model.record_offset(id), embedding.record_len as usize);
        let record = match lent(&self.source, offset, record_len) {
            Some(record) => record,
            None => {
                let (sector, at) = Sector::of(offset);
                let buffer = &mut self.memory.buffers[..(at + record_len).next_multiple_of(SECTOR_LEN)];
                self.source.read(sector, buffer).await.map_err(Error::Source)?;
                &buffer[at..at + record_len]
            }
        };
        let start = self.watch.now();
        let (row, text) = record.split_at(embedding.tensor.row_len());
        let row = Row::new(row, &embedding.tensor)?;
        let x = &mut self.memory.work.x;
        // |q · scale| ≤ 127 · 255 < 2^15: exact, and below 2^29.
        for ((x, q), scale) in
            x.get_mut(place, row.q.len()).chunks_mut(row.group).zip(row.q.chunks(row.group)).zip(row.scales)
        {
            for (x, &q) in x.iter_mut().zip(q) {
                *x = (i32::from(q) * i32::from(*scale)) << 14;
            }
        }
        x.exponents[place] = row.exponent - 14;
        self.watch.ticks.embedding += self.watch.since(start);

        let (len, kind) = (embedding.text_len(text[0])?, TokenKind::parse(text[1])?);
        self.text[..len].copy_from_slice(&text[2..2 + len]);
        Ok((kind, len))
    }

    /// Takes the tokens `start..start + batch`, whose embeddings are in `x`, through the layers, and the last one
    /// through the head if there is one.
    async fn pass(
        &mut self,
        start: usize,
        batch: usize,
        head: Option<&mut impl FnMut(u32, i32, i32)>,
    ) -> Result<(), Error<S::Error>> {
        let Self { model, source, memory, plan, verifier, watch, dot, .. } = self;
        let len = if head.is_some() { model.tape_len() } else { model.prefix_len() };
        let pass = |tape, work, watch| Pass {
            header: model.header(),
            lm_head: model.lm_head(),
            epsilon: model.epsilon(),
            rope: Frequencies(memory.rope.as_chunks().0),
            tape,
            work,
            position: start,
            batch,
            watch,
            dot: *dot,
        };
        let pins = plan.pins(model.tape_len());
        let streamed = if source.memory().is_some() { 0 } else { pins.read_of(len) };
        if source.memory().is_some() {
            let Some(tape) = lent(source, model.tape_offset(), len as usize) else {
                // What is missing at the file's end, to get the source's own error.
                let (last, _) = Sector::of(model.tape_offset() + len - 1);
                source.read(last, &mut memory.buffers[..SECTOR_LEN]).await.map_err(Error::Source)?;
                return Err(FormatError::Truncated.into());
            };
            pass(Tape::new(tape, None, verifier), &mut memory.work, watch).run(head).await?;
        } else if streamed == 0 {
            let tape = Tape::new(&memory.pinned[..len as usize], None, verifier);
            pass(tape, &mut memory.work, watch).run(head).await?;
        } else {
            let room = Room { head: plan.sizes.headroom, chunk: plan.chunk };
            let buffer_len = room.head + room.chunk + plan.sizes.tailroom;
            let (first, rest) = memory.buffers.split_at_mut(buffer_len);
            let ring = Ring::new(&mut rest[..buffer_len], room);
            let start = model.tape_offset();
            let runs = pins.runs(len).map(|run| start + run.start..start + run.end);
            // While a pass runs, not every read has to be waited for.
            let (clock, waited) = (watch.clock, source.watch().ticks.wait);
            let reader = read_ahead(source, &ring, first, runs);
            let tape = Tape::new(memory.pinned, Some((pins, &ring)), verifier);
            let result = drive(&ring, clock, reader, pass(tape, &mut memory.work, watch).run(head)).await;
            source.watch().ticks.wait = waited + ring.waited.get();
            result?;
        }
        source.count_resident(len - streamed);
        self.tokens += batch as u64;
        self.passes += 1;
        Ok(())
    }

    /// Forgets the tokens in `range`, as far as there are such. A key's angle is its position's, so what is in the cache
    /// of the tokens after them goes, too.
    pub fn remove(&mut self, range: Range<usize>) {
        let start = range.start.min(self.len);
        let end = range.end.clamp(start, self.len);
        if start < end {
            self.memory.history.copy_within(end..self.len, start);
            self.len -= end - start;
            self.cached = self.cached.min(start);
            self.embedded = false;
        }
    }

    pub fn save<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        snapshot::save(self.model.identity(), self.tokens(), self.cached, &self.memory.work.cache, write)
    }

    /// Forgets all tokens, and takes those that were saved.
    pub fn restore<E>(&mut self, read: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), RestoreError<E>> {
        self.remove(0..self.len);
        let (model, vocab_size) = (self.model.identity(), self.vocab_size());
        let Memory { history, work, .. } = &mut self.memory;
        (self.len, self.cached) = snapshot::restore(model, vocab_size, history, &mut work.cache, read)?;
        Ok(())
    }

    pub fn vocab_size(&self) -> u32 {
        self.model.header().vocab_size
    }

    pub fn model(&self) -> &'m Model {
        self.model
    }

    pub fn tokens(&self) -> &[u32] {
        &self.memory.history[..self.len]
    }

    pub fn computed(&self) -> usize {
        self.cached.min(self.len.saturating_sub(1))
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn stats(&self) -> Stats {
        let Ticks { read, wait, .. } = self.source.ticks();
        let ticks = Ticks { read, wait, checksum: self.verifier.watch.ticks.checksum, ..self.watch.ticks };
        Stats {
            traffic: self.source.traffic(),
            tokens: self.tokens,
            passes: self.passes,
            ram_used: self.plan.total(),
            large_used: self.plan.large_total(),
            ticks,
        }
    }

    pub fn into_source(self) -> S {
        self.source.into_inner()
    }
}
