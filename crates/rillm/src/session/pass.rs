//! Runs batches of tokens through the weights.

use super::Session;
use super::rescore::Rescorer;
use crate::double_buffer::{Ring, Room, drive, read_ahead};
use crate::error::Error;
use crate::format::FormatError;
use crate::forward::Pass;
use crate::logits::{Logit, Logits};
use crate::model::Model;
use crate::plan::Region;
use crate::rescoring::{Reach, Selection};
use crate::rope::Rotation;
use crate::sampler::Sampler;
use crate::source::{SECTOR_LEN, Sector, SectorReader, WeightSource, lent};
use crate::stats::Stage;
use crate::tape::Tape;

/// The consumers of the logits. They are references to any function, so that the engine is compiled once for all of them.
pub(super) struct Head<'s> {
    pub observe: Option<&'s mut dyn FnMut(Logit)>,
    pub sampler: Option<&'s mut Sampler>,
}

impl Head<'_> {
    fn consume(&mut self, logits: Logits<'_>, candidates: &mut [u64]) {
        if let Some(observe) = &mut self.observe {
            logits.iter().for_each(observe);
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.offer(logits, candidates);
        }
    }

    /// Takes the logits of consecutive tokens, some of which `selection` keeps for later.
    fn consume_all(&mut self, mut logits: Logits<'_>, selection: &mut Selection<'_>, candidates: &mut [u64]) {
        loop {
            let (passed, rest) = logits.split_at(selection.passed(logits.mantissas));
            self.consume(passed, candidates);
            let Some((logit, rest)) = rest.split_first() else {
                return;
            };
            if let Some(evicted) = selection.keep(logit) {
                self.consume(Logits::one(&evicted), candidates);
            }
            logits = rest;
        }
    }

    /// How far below the best logit one can be that matters to the sampler. Without a sampler all may matter.
    fn reach(&self, model: &Model) -> Option<Reach> {
        Reach::of(self.sampler.as_ref()?.sampling(), model.header().rescoring?)
    }
}

impl<S: WeightSource> Session<'_, S> {
    /// Prefills one batch of the pushed tokens and returns true, or returns false if at most one batch is left, which
    /// [`next`](Self::next) or [`logits`](Self::logits) computes. Calling this in a loop allows progress reports and
    /// cancellation. It is optional.
    ///
    /// # Errors
    /// [`Error::Source`] or [`Error::Format`]. Completed batches stay computed, unless the weights are damaged.
    pub async fn prefill(&mut self) -> Result<bool, Error<S::Error>> {
        let (start, batch) = (self.computed(), self.plan.batch);
        let another_follows = self.len - start > batch;
        if another_follows {
            self.compute(start, batch, None).await?;
        }
        Ok(another_follows)
    }

    /// Computes all tokens that are not in the cache, and the logits after the last token.
    ///
    /// Completed batches stay in the cache if a later batch fails. If the whole history is in the cache, the last token
    /// is computed again, with the same keys and values.
    pub(super) async fn advance(&mut self, head: &mut Head<'_>) -> Result<(), Error<S::Error>> {
        if self.len == 0 {
            return Err(Error::Empty);
        }
        while self.prefill().await? {}
        let start = self.computed();
        self.compute(start, self.len - start, Some(head)).await
    }

    /// Runs a batch of the history through the layers and, with `head`, its last token through the head.
    async fn compute(
        &mut self,
        start: usize,
        batch: usize,
        head: Option<&mut Head<'_>>,
    ) -> Result<(), Error<S::Error>> {
        self.load().await?;
        if !(self.embedded && start + 1 == self.len) {
            for place in 0..batch {
                self.embed(self.history[start + place], place).await?;
            }
        }
        self.embedded = false;
        // A failed pass has overwritten the positions that it was to compute.
        self.cached = self.cached.min(start);
        if let Err(error) = self.pass(start, batch, head).await {
            if let Error::Format(_) = error {
                // Results from damaged weights are not trusted, nor are the resident weights.
                (self.cached, self.loaded) = (0, false);
            }
            return Err(error);
        }
        self.cached = start + batch;
        Ok(())
    }

    /// Reads the rope table and the resident weights, once.
    async fn load(&mut self) -> Result<(), Error<S::Error>> {
        if self.loaded {
            return Ok(());
        }
        let Self { model, source, plan, chunks, rope, resident, .. } = self;
        let sector = chunks.first_chunk_mut().ok_or(FormatError::Truncated)?;
        SectorReader::new(source, sector)
            .read(model.rope_offset(), &mut rope[..plan.dims.rope_len])
            .await
            .map_err(Error::Source)?;
        let spans = plan.resident_spans(model.tape_len());
        let spans = (0..).map_while(|turn| spans.span_on_tape(turn).zip(spans.span(turn)));
        // Sources read into internal memory only.
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

    /// Runs the tokens `start..start + batch`, whose embeddings are in the residual stream, through the layers and,
    /// with `head`, the last one through the head.
    async fn pass(
        &mut self,
        start: usize,
        batch: usize,
        mut head: Option<&mut Head<'_>>,
    ) -> Result<(), Error<S::Error>> {
        let Self {
            model,
            source,
            plan,
            candidates,
            rescored,
            chunks,
            rope,
            work,
            resident,
            verifier,
            watch,
            multiplier,
            ..
        } = self;
        let len = if head.is_some() { model.tape_len() } else { model.prefix_len() };
        verifier.begin(head.is_some());
        let mut selection = Selection::new(rescored);
        let mut consumer =
            head.as_mut().map(|head| |logits: Logits<'_>| head.consume_all(logits, &mut selection, candidates));
        let consumer = consumer.as_mut().map(|consumer| consumer as &mut dyn FnMut(Logits<'_>));
        let mut layers = Pass {
            header: model.header(),
            lm_head: model.lm_head(),
            epsilon: model.epsilon(),
            rotation: Rotation(rope.as_chunks_mut().0),
            work,
            position: start,
            batch,
            watch,
            multiplier: *multiplier,
        };
        let spans = plan.resident_spans(model.tape_len());
        let streamed = if source.memory().is_some() { 0 } else { spans.read_of(len) };
        if source.memory().is_some() {
            let Some(tape) = lent(source, model.tape_offset(), len as usize) else {
                // Read the missing end of the file to get the source's own error.
                let (last, _) = Sector::of(model.tape_offset() + len - 1);
                source.read(last, &mut chunks[..SECTOR_LEN]).await.map_err(Error::Source)?;
                return Err(FormatError::Truncated.into());
            };
            layers.run(&mut Tape::new(tape, None, verifier), consumer).await?;
        } else if streamed == 0 {
            layers.run(&mut Tape::new(&resident[..len as usize], None, verifier), consumer).await?;
        } else {
            let room = Room { head: plan.dims.headroom, chunk: plan.chunk };
            let buffer_len = room.head + room.chunk + plan.dims.tailroom;
            let (first, rest) = chunks.split_at_mut(buffer_len);
            let ring = Ring::new(&mut rest[..buffer_len], room);
            let mut tape = Tape::new(resident, Some((spans, &ring)), verifier);
            let runs = spans.runs(len).map(|run| model.tape_offset() + run.start..model.tape_offset() + run.end);
            // During a pass, reads overlap with computation: only the ring's wait counts.
            let waited = source.watch().ticks(Stage::Wait).get();
            let result =
                drive(&ring, watch.clock, read_ahead(source, &ring, first, runs), layers.run(&mut tape, consumer))
                    .await;
            source.watch().ticks(Stage::Wait).set(waited + ring.waited.get());
            result?;
        }
        source.count_resident(len - streamed);
        if let (Some(head), Some(rows)) = (&mut head, model.rescoring()) {
            let head_exponent = model.lm_head().exponent.into();
            let rescorer =
                Rescorer { rows, head_exponent, input: &work.input, place: batch - 1, multiplier: *multiplier };
            for (logit, matters) in selection.finish(head.reach(model)) {
                let logit = if matters { rescorer.rescore(logit, source, chunks).await? } else { logit };
                head.consume(Logits::one(&logit), candidates);
            }
        }
        self.tokens += batch as u64;
        self.passes += 1;
        Ok(())
    }
}
