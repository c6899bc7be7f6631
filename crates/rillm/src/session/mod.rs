//! A conversation with a model: tokens in, tokens out.

mod embed;
mod pass;
mod snapshot;
mod text;

use core::ops::Range;

use crate::error::Error;
use crate::format::TokenKind;
use crate::forward::Workspace;
use crate::kernels::{Dot, Rows};
use crate::kv_cache::KvCache;
use crate::model::Model;
use crate::plan::{Memory, MemoryError, Plan, PlanError, PlanOptions};
use crate::sampler::{Logit, Sampler, Sampling};
use crate::source::{Counted, WeightSource};
use crate::stats::{Clock, Stats, Stopwatch};
use crate::vector::{BlockFloat16, BlockFloat32};
use crate::verify::Verifier;

use pass::Head;
pub use snapshot::RestoreError;
pub(crate) use text::TextKind;

/// Passes through the head of which one is checked, unless [`Session::set_check_every`] says otherwise.
pub const CHECK_EVERY: u32 = 64;
/// Bytes of the longest text that a token can have.
const TEXT_MAX: usize = 255;

/// A token and the text that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What the text is.
    pub kind: TokenKind,
    /// The text: whole characters, one byte of one, or any bytes of several, as `kind` says. For printing it goes through a
    /// [`Decoder`](crate::Decoder).
    pub text: &'t [u8],
}

/// A model, a place to read it from, the memory to run it in, and the tokens so far.
///
/// Any call may fail, when a card is pulled out for example. No token is then lost or doubled: the call can be repeated
/// and goes on from where the last complete batch of tokens ended.
pub struct Session<'m, S> {
    model: &'m Model,
    source: Counted<S>,
    plan: Plan,
    /// The sampler's heap.
    candidates: &'m mut [u64],
    /// The chunks, the tokenizer's scratch and the sectors of an embedding row: one of them at a time.
    chunks: &'m mut [u8],
    rope: &'m mut [u8],
    /// Tokens, in the order in which they came.
    history: &'m mut [u32],
    work: Workspace<'m>,
    resident: &'m mut [u8],
    /// Tokens in the history.
    len: usize,
    /// Tokens of them whose keys and values are in the cache.
    cached: usize,
    /// The rope table and the resident weights were read.
    loaded: bool,
    /// The last token's embedding is in the first place of the residual stream: it was read with its text.
    embedded: bool,
    text: [u8; TEXT_MAX],
    /// Tokens and passes, for the statistics.
    tokens: u64,
    passes: u64,
    verifier: Verifier,
    /// Of all stages but reads and checksums.
    watch: Stopwatch,
    dot: Dot,
}

impl<'m, S: WeightSource> Session<'m, S> {
    /// A session without tokens, as [`Plan::new`] plans it for `memory`. `source` is the file that `model` was opened from.
    /// Nothing is read yet.
    ///
    /// # Errors
    /// [`PlanError`]: the memory is too small.
    pub fn new(model: &'m Model, source: S, memory: Memory<'m>, options: &PlanOptions) -> Result<Self, PlanError> {
        let plan = Plan::new(model, &source, memory.len(), options)?;
        Ok(Self::in_memory(model, source, plan, memory))
    }

    /// A session without tokens as it was planned, for callers who allocate what a plan takes: [`Plan::memory`].
    ///
    /// # Errors
    /// [`MemoryError`]: there is less.
    pub fn from_plan(model: &'m Model, source: S, plan: Plan, memory: Memory<'m>) -> Result<Self, MemoryError> {
        let (needed, given) = (plan.memory(), memory.len());
        if given.holds(needed) {
            Ok(Self::in_memory(model, source, plan, memory))
        } else {
            Err(MemoryError { needed, given })
        }
    }

    /// A session in memory that holds the plan.
    fn in_memory(model: &'m Model, source: S, plan: Plan, memory: Memory<'m>) -> Self {
        let [candidates, chunks, rope, residual, activations, scores, history, cache, resident] = plan.cut(memory);
        let (batch, dims) = (plan.batch, plan.dims);
        let (input, rest) = activations.split_at_mut(2 * batch * dims.input);
        let (output, exponents) = bytemuck::cast_slice_mut(rest).split_at_mut(batch * dims.output);
        let (residual_exponents, exponents) = exponents.split_at_mut(batch);
        let (input_exponents, exponents) = exponents.split_at_mut(batch);
        let (excess, output_exponents) = exponents.split_at_mut(batch);
        let work = Workspace {
            residual: BlockFloat32 {
                mantissas: bytemuck::cast_slice_mut(residual),
                stride: dims.residual,
                exponents: residual_exponents,
            },
            input: BlockFloat16 {
                mantissas: bytemuck::cast_slice_mut(input),
                stride: dims.input,
                exponents: input_exponents,
                excess,
            },
            output: BlockFloat32 { mantissas: output, stride: dims.output, exponents: output_exponents },
            scores: bytemuck::cast_slice_mut(scores),
            cache: KvCache { bytes: cache, shape: plan.cache_shape() },
        };
        Self {
            model,
            source: Counted::new(source),
            plan,
            candidates: bytemuck::cast_slice_mut(candidates),
            chunks,
            rope,
            history: bytemuck::cast_slice_mut(history),
            work,
            resident,
            len: 0,
            cached: 0,
            loaded: false,
            embedded: false,
            text: [0; TEXT_MAX],
            tokens: 0,
            passes: 0,
            verifier: Verifier::new(CHECK_EVERY, model.tape_crc32()),
            watch: Stopwatch::default(),
            dot: |rows: &Rows<'_>, x, sums| rows.dot(x, sums),
        }
    }

    /// Compares the checksum of the weights in every so many passes through the head from now on, the next one included, and
    /// in the prompt's passes before such a one; 0 for never. Without this call it is one in [`CHECK_EVERY`].
    pub fn set_check_every(&mut self, passes: u32) {
        self.verifier.set_every(passes);
    }

    /// Counts the ticks of `clock` from now on, by what they are spent on: see [`Stats::times`].
    pub fn set_clock(&mut self, clock: Clock) {
        self.watch.clock = Some(clock);
        self.verifier.watch.clock = Some(clock);
        self.source.set_clock(clock);
    }

    /// Multiplies by `dot` from now on, in place of [`Rows::dot`](crate::kernels::Rows::dot): firmware that has a second
    /// core gives a part of the rows ([`Rows::split_at`](crate::kernels::Rows::split_at)) to it. It gets at most 16 rows at a
    /// time, and a sum for each.
    ///
    /// A row's sum depends on nothing but the row and the vector, and is exact: the bits are the same however the rows are
    /// divided, and whoever multiplies them.
    pub fn set_dot(&mut self, dot: Dot) {
        self.dot = dot;
    }

    /// Appends the tokens of `text`, after the token that starts a text if there are none yet and the model wants one.
    /// Returns how many. Nothing is computed yet.
    ///
    /// A text that continues another is encoded by itself: where the tokenizer puts a space before a text, it puts one
    /// here, and no token spans the two. Marks such as `</s>` in the text become their tokens; in
    /// [`push_plain_text`](Self::push_plain_text) they do not.
    ///
    /// # Errors
    /// [`Error::ContextFull`], [`Error::Format`] where the tokenizer's tables are damaged, or the source's; the session is
    /// then as it was before.
    pub async fn push_text(&mut self, text: &str) -> Result<usize, Error<S::Error>> {
        self.push_text_as(text, TextKind::Marked).await
    }

    /// Does what [`push_text`](Self::push_text) does, but takes marks such as `</s>` for text like any other: for text from
    /// strangers.
    ///
    /// # Errors
    /// As [`push_text`](Self::push_text).
    pub async fn push_plain_text(&mut self, text: &str) -> Result<usize, Error<S::Error>> {
        self.push_text_as(text, TextKind::Plain).await
    }

    /// Appends tokens, all or none. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`] or [`Error::ContextFull`]; the session is then as it was before.
    pub fn push(&mut self, tokens: &[u32]) -> Result<(), Error<S::Error>> {
        let vocab_size = self.model.header().vocab_size;
        if let Some(&id) = tokens.iter().find(|&&id| id >= vocab_size) {
            return Err(Error::NoSuchToken { id, vocab_size });
        }
        let (end, context) = (self.len + tokens.len(), self.plan.context);
        let Some(places) = self.history.get_mut(self.len..end) else {
            return Err(Error::ContextFull { tokens: end, context });
        };
        places.copy_from_slice(tokens);
        self.len = end;
        self.embedded &= tokens.is_empty();
        Ok(())
    }

    /// Chooses the next token, appends it, and gives its text. A token that ends a text is one like any other: the caller
    /// asks [`Header::is_eos`](crate::format::Header::is_eos).
    ///
    /// # Errors
    /// [`Error::Empty`] without a token to go on from, [`Error::ContextFull`] without room, [`Error::TopK`] with more
    /// candidates than were planned for, and what reading brings. Nothing is appended then, nor where the future is
    /// dropped.
    pub async fn next(&mut self, sampling: &Sampling) -> Result<Token<'_>, Error<S::Error>> {
        self.next_observed(sampling, |_| ()).await
    }

    /// Does what [`next`](Self::next) does, and shows `observe` every logit that it chooses among, as
    /// [`logits`](Self::logits) does. After an error it has seen some of them.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_observed(
        &mut self,
        sampling: &Sampling,
        observe: impl FnMut(Logit),
    ) -> Result<Token<'_>, Error<S::Error>> {
        let context = self.plan.context;
        if self.len >= context {
            return Err(Error::ContextFull { tokens: self.len + 1, context });
        }
        let (candidates, vocab_size) = (self.plan.candidates, self.model.header().vocab_size);
        if !sampling.fits(candidates, vocab_size) {
            return Err(Error::TopK { top_k: sampling.top_k, candidates: candidates as u32 });
        }
        let mut sampler = Sampler::new(*sampling, self.tokens());
        self.advance(Head { observe, sampler: Some(&mut sampler) }).await?;
        let id = sampler.choose(self.candidates).ok_or(Error::Empty)?;
        let (kind, text) = self.append(id).await?;
        Ok(Token { id, kind, text })
    }

    /// Gives `observe` every logit of the position after the last token, tokens ascending. Nothing is appended.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn logits(&mut self, observe: impl FnMut(Logit)) -> Result<(), Error<S::Error>> {
        self.advance(Head { observe, sampler: None }).await
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Forgets all tokens but the first `len`; all of fewer stay.
    pub fn truncate(&mut self, len: usize) {
        self.remove(len..usize::MAX);
    }

    /// Forgets the tokens at the positions of `range`, as many of them as there are; those behind it move up. They are
    /// computed again with the next call, as a token's keys depend on where it stands; what lies before the range is not.
    pub fn remove(&mut self, range: Range<usize>) {
        let start = range.start.min(self.len);
        let end = range.end.clamp(start, self.len);
        if start < end {
            self.history.copy_within(end..self.len, start);
            self.len -= end - start;
            self.cached = self.cached.min(start);
            self.embedded = false;
        }
    }

    /// Writes the session, piece by piece: its tokens, and what was computed of them, as `docs/format.md` has it. Many
    /// pieces are as short as 2 bytes: a `write` that costs much for each gathers them.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn save<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        snapshot::save(self.model.identity(), self.tokens(), self.cached, &self.work.cache, write)
    }

    /// Takes the tokens of a session that was saved in place of its own, and goes on from there with the same bits, however
    /// differently the memory is planned. `read` fills what it is given, or fails; what comes after the session is left
    /// unread.
    ///
    /// # Errors
    /// [`RestoreError`]; the session is empty then.
    pub fn restore<E>(&mut self, read: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), RestoreError<E>> {
        self.reset();
        let (model, vocab_size) = (self.model.identity(), self.model.header().vocab_size);
        (self.len, self.cached) = snapshot::restore(model, vocab_size, self.history, &mut self.work.cache, read)?;
        Ok(())
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.history[..self.len]
    }

    /// How many of them, from the front, are computed and will not be again: never the last one.
    pub fn computed(&self) -> usize {
        self.cached.min(self.len.saturating_sub(1))
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it has taken so far.
    pub fn stats(&self) -> Stats {
        let mut times = self.watch.times();
        times += self.source.watch().times();
        times += self.verifier.watch.times();
        let (traffic, memory) = (self.source.traffic(), self.plan.memory());
        Stats { traffic, tokens: self.tokens, passes: self.passes, memory, times }
    }

    /// Ends the session and gives the source back.
    pub fn into_source(self) -> S {
        self.source.into_inner()
    }
}
