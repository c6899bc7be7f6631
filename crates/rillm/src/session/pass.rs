//! Batches of tokens through the weights.

use super::Session;
use crate::double_buffer::{Ring, Room, drive, read_ahead};
use crate::error::Error;
use crate::format::FormatError;
use crate::forward::Pass;
use crate::plan::Region;
use crate::rope::Frequencies;
use crate::sampler::{Logit, Sampler};
use crate::source::{SECTOR_LEN, Sector, SectorReader, WeightSource, lent};
use crate::stats::Stage;
use crate::tape::Tape;

/// Who gets the logits.
pub(super) struct Head<'s, F> {
    pub observe: F,
    pub sampler: Option<&'s mut Sampler>,
}

impl<S: WeightSource> Session<'_, S> {
    /// Computes a batch of the tokens that were pushed, and tells whether it did: not where one batch or less is left, which
    /// the next token takes. A caller who wants to show progress, or to stop, calls it until it is false; nobody has to.
    ///
    /// # Errors
    /// What reading brings. What is computed stays so.
    pub async fn prefill(&mut self) -> Result<bool, Error<S::Error>> {
        let (start, batch) = (self.computed(), self.plan.batch);
        let another_follows = self.len - start > batch;
        if another_follows {
            self.compute(start, batch, None::<Head<'_, fn(Logit)>>).await?;
        }
        Ok(another_follows)
    }

    /// Computes what is not in the cache yet, and the logits after the last token.
    ///
    /// Batches that are complete stay in the cache, whatever happens to a later one. Of a history that is in the cache
    /// as a whole, the last token is computed again, to the same keys and values.
    pub(super) async fn advance(&mut self, head: Head<'_, impl FnMut(Logit)>) -> Result<(), Error<S::Error>> {
        if self.len == 0 {
            return Err(Error::Empty);
        }
        while self.prefill().await? {}
        let start = self.computed();
        self.compute(start, self.len - start, Some(head)).await
    }

    /// Takes a batch of the history through the layers and, with `head`, its last token through the head.
    async fn compute(
        &mut self,
        start: usize,
        batch: usize,
        head: Option<Head<'_, impl FnMut(Logit)>>,
    ) -> Result<(), Error<S::Error>> {
        self.load().await?;
        if !(self.embedded && start + 1 == self.len) {
            for place in 0..batch {
                self.embed(self.history[start + place], place).await?;
            }
        }
        self.embedded = false;
        // A pass that fails has written over what it was to compute.
        self.cached = self.cached.min(start);
        if let Err(error) = self.pass(start, batch, head).await {
            if let Error::Format(_) = error {
                // What was computed from such weights is not to be trusted, nor what is resident of them.
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
        let Self { model, source, plan, chunks, rope, resident, .. } = self;
        let sector = chunks.first_chunk_mut().ok_or(FormatError::Truncated)?;
        SectorReader::new(source, sector).read(model.rope_offset(), rope).await.map_err(Error::Source)?;
        let spans = plan.resident_spans(model.tape_len());
        let spans = (0..).map_while(|turn| spans.span_on_tape(turn).zip(spans.span(turn)));
        // Sources read into internal memory.
        let through_chunks = plan.resident_region == Region::External;
        for (on_tape, place) in spans.filter(|(_, place)| !place.is_empty()) {
            let most = if through_chunks { chunks.len() / SECTOR_LEN * SECTOR_LEN } else { place.len() };
            for (offset, piece) in (on_tape.start..).step_by(most).zip(resident[place].chunks_mut(most)) {
                let (first, _) = Sector::of(model.tape_offset() + offset);
                if through_chunks {
                    let chunk = &mut chunks[..piece.len()];
                    source.read(first, chunk).await.map_err(Error::Source)?;
                    piece.copy_from_slice(chunk);
                } else {
                    source.read(first, piece).await.map_err(Error::Source)?;
                }
            }
        }
        self.loaded = true;
        Ok(())
    }

    /// Takes the tokens `start..start + batch`, whose embeddings are in the residual stream, through the layers, and the last
    /// one through the head if there is one.
    async fn pass(
        &mut self,
        start: usize,
        batch: usize,
        head: Option<Head<'_, impl FnMut(Logit)>>,
    ) -> Result<(), Error<S::Error>> {
        let Self { model, source, plan, candidates, chunks, rope, work, resident, verifier, watch, dot, .. } = self;
        let len = if head.is_some() { model.tape_len() } else { model.prefix_len() };
        let head = head.map(|Head { mut observe, mut sampler }| {
            move |logit| {
                observe(logit);
                if let Some(sampler) = &mut sampler {
                    sampler.offer(logit, candidates);
                }
            }
        });
        let mut layers = Pass {
            header: model.header(),
            lm_head: model.lm_head(),
            epsilon: model.epsilon(),
            rope: Frequencies(rope.as_chunks().0),
            work,
            position: start,
            batch,
            watch,
            dot: *dot,
        };
        let spans = plan.resident_spans(model.tape_len());
        let streamed = if source.memory().is_some() { 0 } else { spans.read_of(len) };
        if source.memory().is_some() {
            let Some(tape) = lent(source, model.tape_offset(), len as usize) else {
                // What is missing at the file's end, to get the source's own error.
                let (last, _) = Sector::of(model.tape_offset() + len - 1);
                source.read(last, &mut chunks[..SECTOR_LEN]).await.map_err(Error::Source)?;
                return Err(FormatError::Truncated.into());
            };
            layers.run(&mut Tape::new(tape, None, verifier), head).await?;
        } else if streamed == 0 {
            layers.run(&mut Tape::new(&resident[..len as usize], None, verifier), head).await?;
        } else {
            let room = Room { head: plan.dims.headroom, chunk: plan.chunk };
            let buffer_len = room.head + room.chunk + plan.dims.tailroom;
            let (first, rest) = chunks.split_at_mut(buffer_len);
            let ring = Ring::new(&mut rest[..buffer_len], room);
            let mut tape = Tape::new(resident, Some((spans, &ring)), verifier);
            let runs = spans.runs(len).map(|run| model.tape_offset() + run.start..model.tape_offset() + run.end);
            // While a pass runs, not every read has to be waited for.
            let waited = source.watch().ticks(Stage::Wait).get();
            let result =
                drive(&ring, watch.clock, read_ahead(source, &ring, first, runs), layers.run(&mut tape, head)).await;
            source.watch().ticks(Stage::Wait).set(waited + ring.waited.get());
            result?;
        }
        source.count_resident(len - streamed);
        self.tokens += batch as u64;
        self.passes += 1;
        Ok(())
    }
}
