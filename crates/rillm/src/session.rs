//! A conversation with a model: tokens in, tokens out.

use core::ops::Range;

use crate::clock::Clock;
use crate::counted::Counted;
use crate::error::Error;
use crate::format::TokenKind;
use crate::kernels::Dot;
use crate::memory::Memory;
use crate::model::Model;
use crate::plan::{Plan, PlanError, PlanOptions, Stats};
use crate::runner::{Runner, TextKind};
use crate::sampler::{Sampler, Sampling};
use crate::snapshot::RestoreError;
use crate::source::WeightSource;

/// A token and the text that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What the text is.
    pub kind: TokenKind,
    /// The text: whole characters, one byte of one, or any bytes of several, as `kind` says. For printing it goes through a
    /// [`Decoder`](crate::tokenizer::Decoder).
    pub text: &'t [u8],
}

/// A model, a place to read it from, the memory to run it in, and the tokens so far.
///
/// Any call may fail, when a card is pulled out for example. No token is then lost or doubled: the call can be repeated
/// and goes on from where the last complete batch of tokens ended.
pub struct Session<'m, S> {
    pub(crate) runner: Runner<'m, S>,
    candidates: &'m mut [u64],
}

impl<'m, S: WeightSource> Session<'m, S> {
    /// A session without tokens, as [`Plan::new`] plans it: `memory` of [`Plan::total`] bytes is enough for the plan of the
    /// same options, and less is planned for as it is. `source` is the file that `model` was opened from. Nothing is read
    /// yet.
    ///
    /// # Errors
    /// [`PlanError`]: the memory, or what the options allow of it, is too small.
    pub fn new(model: &'m Model, source: S, options: &PlanOptions, memory: &'m mut [u8]) -> Result<Self, PlanError> {
        Self::with_large(model, source, options, memory, &mut [])
    }

    /// A session in two memories, a fast one and a large one: internal and external RAM. `large` of
    /// [`Plan::large_total`] bytes is enough, as `memory` of [`Plan::total`] bytes is. The source reads into the first one
    /// only: DMA does not reach the other one on every chip.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_large(
        model: &'m Model,
        source: S,
        options: &PlanOptions,
        memory: &'m mut [u8],
        large: &'m mut [u8],
    ) -> Result<Self, PlanError> {
        let mut plan = Plan::new(model, &source, options)?;
        if plan.total() > memory.len() || plan.large_total() > large.len() {
            let options =
                PlanOptions { ram: options.ram.min(memory.len()), large: options.large.min(large.len()), ..*options };
            plan = Plan::new(model, &source, &options)?;
        }
        let (candidates, memory) = Memory::new(&plan, memory, large);
        Ok(Self { runner: Runner::new(model, Counted::new(source), plan, memory, options.check_every), candidates })
    }

    /// Counts the ticks of `clock` from now on, by what they are spent on: see [`Stats::ticks`].
    pub fn set_clock(&mut self, clock: Clock) {
        self.runner.set_clock(clock);
    }

    /// Multiplies by `dot` from now on, in place of [`Rows::dot`](crate::kernels::Rows::dot): firmware that has a second
    /// core gives a part of the rows ([`Rows::split_at`](crate::kernels::Rows::split_at)) to it. It gets at most 16 rows at a
    /// time, and a sum for each.
    ///
    /// A row's sum depends on nothing but the row and the vector, and is exact: the bits are the same however the rows are
    /// divided, and whoever multiplies them.
    pub fn set_dot(&mut self, dot: Dot) {
        self.runner.set_dot(dot);
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
        self.runner.push_text(text, TextKind::Marked).await
    }

    /// Does what [`push_text`](Self::push_text) does, but takes marks such as `</s>` for text like any other: for text from
    /// strangers.
    ///
    /// # Errors
    /// As [`push_text`](Self::push_text).
    pub async fn push_plain_text(&mut self, text: &str) -> Result<usize, Error<S::Error>> {
        self.runner.push_text(text, TextKind::Plain).await
    }

    /// Appends tokens. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`] or [`Error::ContextFull`]; the session is then as it was before.
    pub fn push(&mut self, tokens: &[u32]) -> Result<(), Error<S::Error>> {
        self.runner.push(tokens)
    }

    /// Computes a batch of the tokens that were pushed, and tells whether it did: not where one batch or less is left, which
    /// the next token takes. A caller who wants to show progress, or to stop, calls it until it is false; nobody has to.
    ///
    /// # Errors
    /// What reading brings. What is computed stays so.
    pub async fn prefill(&mut self) -> Result<bool, Error<S::Error>> {
        self.runner.prefill().await
    }

    /// Chooses the next token, appends it, and gives its text. A token that ends a text is one like any other: the caller
    /// asks [`Header::is_eos`](crate::format::Header::is_eos).
    ///
    /// # Errors
    /// [`Error::Empty`] without a token to go on from, [`Error::ContextFull`] without room, [`Error::TopK`] with more
    /// candidates than were planned for, and what reading brings. Nothing is appended then, nor where the future is
    /// dropped.
    pub async fn next(&mut self, sampling: &Sampling) -> Result<Token<'_>, Error<S::Error>> {
        self.next_observed(sampling, |_, _, _| ()).await
    }

    /// Does what [`next`](Self::next) does, and shows `observe` every logit that it chooses among, as
    /// [`logits`](Self::logits) does. After an error it has seen some of them.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_observed(
        &mut self,
        sampling: &Sampling,
        mut observe: impl FnMut(u32, i32, i32),
    ) -> Result<Token<'_>, Error<S::Error>> {
        let plan = self.runner.plan();
        if self.tokens().len() >= plan.context {
            return Err(Error::ContextFull { tokens: self.tokens().len() + 1, context: plan.context });
        }
        if !sampling.fits(plan.candidates, self.runner.vocab_size()) {
            return Err(Error::TopK { top_k: sampling.top_k, candidates: plan.candidates as u32 });
        }
        let mut sampler = Sampler::new(*sampling, self.runner.tokens(), self.candidates);
        let look = |id, logit, exponent| {
            observe(id, logit, exponent);
            sampler.offer(id, logit, exponent);
        };
        self.runner.advance(look).await?;
        let id = sampler.choose().ok_or(Error::Empty)?;
        let (kind, text) = self.runner.append(id).await?;
        Ok(Token { id, kind, text })
    }

    /// Gives `logit(token, mantissa, exponent)` every logit of the position after the last token, tokens ascending; the
    /// logit is `mantissa · 2^exponent`, and the exponent the same for all. Nothing is appended.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn logits(&mut self, logit: impl FnMut(u32, i32, i32)) -> Result<(), Error<S::Error>> {
        self.runner.advance(logit).await
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
        self.runner.remove(range);
    }

    /// Writes the session, piece by piece: its tokens, and what was computed of them, as `docs/format.md` has it. Many
    /// pieces are as short as 2 bytes: a `write` that costs much for each gathers them.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn save<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.runner.save(write)
    }

    /// Takes the tokens of a session that was saved in place of its own, and goes on from there with the same bits, however
    /// differently the memory is planned. `read` fills what it is given, or fails; what comes after the session is left
    /// unread.
    ///
    /// # Errors
    /// [`RestoreError`]; the session is empty then.
    pub fn restore<E>(&mut self, read: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), RestoreError<E>> {
        self.runner.restore(read)
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[u32] {
        self.runner.tokens()
    }

    /// How many of them, from the front, are computed and will not be again: never the last one.
    pub fn computed(&self) -> usize {
        self.runner.computed()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.runner.plan()
    }

    /// What it has taken so far.
    pub fn stats(&self) -> Stats {
        self.runner.stats()
    }

    /// Ends the session and gives the source back.
    pub fn into_source(self) -> S {
        self.runner.into_source()
    }
}
