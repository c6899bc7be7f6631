//! A session: a model, its memory, and the tokens so far.

mod choose;
mod embed;
mod pass;
mod rescore;
mod snapshot;
mod text;

use core::ops::Range;

use crate::error::Error;
use crate::format::TokenKind;
use crate::forward::Workspace;
use crate::kernels::{Kernel, Multiply};
use crate::kv_cache::KvCache;
use crate::logits::Logit;
use crate::model::Model;
use crate::plan::{Memory, MemoryError, Plan, PlanError, PlanOptions};
use crate::sampler::Sampler;
use crate::sampling::Sampling;
use crate::source::{Counted, WeightSource};
use crate::stats::{Clock, StageTimes, Stats, Stopwatch};
use crate::vector::{BlockFloat16, BlockFloat32};
use crate::verify::Verifier;

pub use choose::{Choice, Choose, ChooseError};
use pass::Head;
pub use snapshot::RestoreError;
pub(crate) use text::TextKind;

/// By default, one in this many passes through the head is checked. [`Session::set_check_every`] changes the interval.
pub const CHECK_EVERY: u32 = 64;
/// The same for a source that lends the file in memory, which no bus transfers again in each pass.
pub const CHECK_LENT_EVERY: u32 = 1024;
/// The longest text of a token, in bytes.
const TEXT_MAX: usize = 255;

/// A token and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The token's number in the vocabulary: 0 to `vocab_size` − 1.
    pub id: u32,
    /// The kind of the text.
    pub kind: TokenKind,
    /// The text: whole characters, one byte of a character, or any bytes, depending on `kind`. A
    /// [`Decoder`](crate::Decoder) turns it into printable text.
    pub text: &'t [u8],
}

/// A model, its weight source, the memory in which it runs, and the tokens so far.
///
/// Any call may fail, for example when a card is removed. A failed call neither loses nor duplicates a token. The call
/// can be repeated and continues after the last complete batch of tokens.
pub struct Session<'m, S> {
    model: &'m Model,
    source: Counted<S>,
    plan: Plan,
    /// The sampler's heap.
    candidates: &'m mut [u64],
    /// The logits that the head computes again, while they are found.
    rescored: &'m mut [u64],
    /// The chunks, the tokenizer's scratch, or the sectors of an embedding row: one of these at a time.
    chunks: &'m mut [u8],
    /// The rope table, and room for a position's sines and cosines.
    rope: &'m mut [u8],
    /// Tokens, in order.
    history: &'m mut [u32],
    work: Workspace<'m>,
    resident: &'m mut [u8],
    /// Number of tokens in the history.
    len: usize,
    /// Number of history tokens whose keys and values are in the cache.
    cached: usize,
    /// Whether the rope table and the resident weights have been read.
    loaded: bool,
    /// Whether the first row of the residual stream holds the last token's embedding, which was read together with its
    /// text.
    embedded: bool,
    text: [u8; TEXT_MAX],
    /// Tokens and passes computed, for the statistics.
    tokens: u64,
    passes: u64,
    verifier: Verifier,
    /// Times all stages except reads and checksums.
    watch: Stopwatch,
    multiplier: &'m dyn Multiply,
}

impl<'m, S: WeightSource> Session<'m, S> {
    /// Creates a session without tokens, with the plan that [`Plan::new`] makes for `memory`. `source` must hold the
    /// file that `model` was opened from. Nothing is read yet.
    ///
    /// # Errors
    /// [`PlanError`] if the memory is too small.
    pub fn new(model: &'m Model, source: S, memory: Memory<'m>, options: &PlanOptions) -> Result<Self, PlanError> {
        let plan = Plan::new(model, &source, memory.len(), options)?;
        Ok(Self::in_memory(model, source, plan, memory))
    }

    /// Creates a session without tokens from an existing plan, for callers who allocate exactly [`Plan::memory`].
    ///
    /// # Errors
    /// [`MemoryError`] if `memory` is smaller than the plan needs.
    pub fn from_plan(model: &'m Model, source: S, plan: Plan, memory: Memory<'m>) -> Result<Self, MemoryError> {
        let (needed, given) = (plan.memory(), memory.len());
        if given.holds(needed) {
            Ok(Self::in_memory(model, source, plan, memory))
        } else {
            Err(MemoryError { needed, given })
        }
    }

    /// Creates a session in memory that is large enough for the plan.
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
        let lent = source.memory().is_some();
        let check_every = if lent { CHECK_LENT_EVERY } else { CHECK_EVERY };
        let (candidates, rescored) = bytemuck::cast_slice_mut(candidates).split_at_mut(plan.candidates);
        Self {
            model,
            source: Counted::new(source),
            plan,
            candidates,
            rescored,
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
            verifier: Verifier::new(check_every, lent, model.tape_crc32()),
            watch: Stopwatch::default(),
            multiplier: Kernel::fastest(),
        }
    }

    /// Verifies the checksum of the weights in one of `passes` passes through the head, starting with the next one, and
    /// in the prompt's passes before it, of memory that the source lends in one of them. 0 disables the check. The default is
    /// one pass in [`CHECK_EVERY`], or in [`CHECK_LENT_EVERY`].
    pub fn set_check_every(&mut self, passes: u32) {
        self.verifier.set_every(passes);
    }

    /// Measures each stage with `clock` from now on: see [`Stats::times`].
    pub fn set_clock(&mut self, clock: Clock) {
        self.watch.clock = Some(clock);
        self.verifier.watch.clock = Some(clock);
        self.source.set_clock(clock);
    }

    /// Multiplies with a function, a closure or another [`Multiply`] from now on, in place of the fastest
    /// [`Kernel`]. Firmware with a second core can give it a part of the rows
    /// ([`Rows::split_at`](crate::kernels::Rows::split_at)). Each call gets at most
    /// [`STRIP_ROWS`](crate::kernels::STRIP_ROWS) rows, and a sum for each row.
    ///
    /// A row's sum is exact and depends only on the row and the vector. The bits are therefore the same for every
    /// division of the rows.
    pub fn set_multiplier(&mut self, multiplier: &'m dyn Multiply) {
        self.multiplier = multiplier;
    }

    /// Appends the tokens of `text` and returns their number. If the session is empty and the model uses a
    /// start-of-text token, that token comes first. Nothing is computed yet.
    ///
    /// Each text is encoded separately: where the tokenizer puts a space before a text, it puts one here, and no token
    /// spans two texts. Marks such as `</s>` in the text become their tokens;
    /// [`push_plain_text`](Self::push_plain_text) treats marks as text.
    ///
    /// # Errors
    /// [`Error::ContextFull`], [`Error::Format`] if the tokenizer's tables are damaged, or the source's error. The
    /// session is then unchanged.
    pub async fn push_text(&mut self, text: &str) -> Result<usize, Error<S::Error>> {
        self.push_text_as(text, TextKind::Marked).await
    }

    /// Like [`push_text`](Self::push_text), but treats marks such as `</s>` as ordinary text. For untrusted text.
    ///
    /// # Errors
    /// Like [`push_text`](Self::push_text).
    pub async fn push_plain_text(&mut self, text: &str) -> Result<usize, Error<S::Error>> {
        self.push_text_as(text, TextKind::Plain).await
    }

    /// Appends all `tokens` or none. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`] or [`Error::ContextFull`]. The session is then unchanged.
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

    /// Samples the next token, appends it, and returns it with its text. End-of-text tokens are not treated specially:
    /// the caller checks [`Header::is_eos`](crate::format::Header::is_eos).
    ///
    /// # Errors
    /// [`Error::Empty`] if the session has no tokens, [`Error::ContextFull`] if the context is full, [`Error::TopK`] if
    /// `sampling` needs more candidates than the plan has, [`Error::Format`] if the file is damaged, and
    /// [`Error::Source`]. After an error, or if the future is dropped, no token is appended.
    pub async fn next(&mut self, sampling: &Sampling) -> Result<Token<'_>, Error<S::Error>> {
        self.sample(sampling, None).await
    }

    /// Like [`next`](Self::next), and passes every logit to `observe`, as [`logits`](Self::logits) does. After an
    /// error, `observe` may have seen only some of the logits.
    ///
    /// # Errors
    /// Like [`next`](Self::next).
    pub async fn next_observed(
        &mut self,
        sampling: &Sampling,
        mut observe: impl FnMut(Logit),
    ) -> Result<Token<'_>, Error<S::Error>> {
        self.sample(sampling, Some(&mut observe)).await
    }

    /// [`next`](Self::next), and [`next_observed`](Self::next_observed) with `observe`.
    async fn sample(
        &mut self,
        sampling: &Sampling,
        observe: Option<&mut dyn FnMut(Logit)>,
    ) -> Result<Token<'_>, Error<S::Error>> {
        let context = self.plan.context;
        if self.len >= context {
            return Err(Error::ContextFull { tokens: self.len + 1, context });
        }
        let (candidates, vocab_size) = (self.plan.candidates, self.model.header().vocab_size);
        if !sampling.fits(candidates, vocab_size) {
            return Err(Error::TopK { top_k: sampling.top_k, candidates: candidates as u32 });
        }
        let mut sampler = Sampler::new(*sampling, self.tokens(), self.model.header().vocab_size);
        let observe = observe.map(|observe| observe as &mut dyn FnMut(Logit));
        self.advance(&mut Head { observe, sampler: Some(&mut sampler) }).await?;
        let id = sampler.choose(self.candidates).ok_or(Error::Empty)?;
        let (kind, text) = self.append(id).await?;
        Ok(Token { id, kind, text })
    }

    /// Passes every logit of the position after the last token to `observe`, once, in an order that depends on the logits
    /// only: ascending by tokens, unless the head [computes some again](crate::format::Rescoring). Appends nothing.
    ///
    /// # Errors
    /// [`Error::Empty`] if the session has no tokens, [`Error::Format`] if the file is damaged, and [`Error::Source`].
    pub async fn logits(&mut self, mut observe: impl FnMut(Logit)) -> Result<(), Error<S::Error>> {
        self.advance(&mut Head { observe: Some(&mut observe), sampler: None }).await
    }

    /// Removes all tokens.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `len` tokens and removes the rest. With `len` or fewer tokens, nothing changes.
    pub fn truncate(&mut self, len: usize) {
        self.remove(len..usize::MAX);
    }

    /// Removes the tokens at the positions in `range`, which may extend past the last token. Later tokens move up. The
    /// next call recomputes them, because a token's keys depend on its position. Tokens before the range are not
    /// recomputed.
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

    /// Saves the session in pieces through `write`: its tokens, keys and values. The format specification describes the
    /// layout. Many pieces are as short as 2 bytes: buffer them if each `write` is expensive.
    ///
    /// # Errors
    /// The error of `write`.
    pub fn save<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        snapshot::save(self.model.identity(), self.tokens(), self.cached, &self.work.cache, write)
    }

    /// Replaces the session's contents by a saved session. The restored session continues with the same bits, even
    /// under a different memory plan. `read` must fill its argument or fail. Bytes after the saved session stay unread.
    ///
    /// # Errors
    /// [`RestoreError`]. The session is then empty.
    pub fn restore<E>(&mut self, read: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), RestoreError<E>> {
        self.reset();
        let (model, vocab_size) = (self.model.identity(), self.model.header().vocab_size);
        (self.len, self.cached) = snapshot::restore(model, vocab_size, self.history, &mut self.work.cache, read)?;
        Ok(())
    }

    /// The session's model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.history[..self.len]
    }

    /// Number of tokens, from the first one on, that are computed and stay so. The last token never counts.
    pub fn computed(&self) -> usize {
        self.cached.min(self.len.saturating_sub(1))
    }

    /// The session's memory plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Counters and times since the session started.
    pub fn stats(&self) -> Stats {
        let mut times = StageTimes::default();
        self.watch.add_to(&mut times);
        self.source.watch().add_to(&mut times);
        self.verifier.watch.add_to(&mut times);
        let (traffic, memory) = (self.source.traffic(), self.plan.memory());
        Stats { traffic, tokens: self.tokens, passes: self.passes, memory, times }
    }

    /// Ends the session and returns the source.
    pub fn into_source(self) -> S {
        self.source.into_inner()
    }
}
