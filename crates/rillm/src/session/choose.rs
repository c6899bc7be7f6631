//! Choosing among texts by their likelihood.

use core::fmt;
use core::ops::Range;

use super::{Session, TextKind};
use crate::error::Error;
use crate::likelihood::{LogSum, Nats, log_share, log2_of, widened};
use crate::logits::Logit;
use crate::source::WeightSource;

/// A text to choose, and what [`Session::choose`] finds out about it.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'t> {
    text: &'t str,
    /// The place of the tokens in the session's history.
    start: u32,
    len: u32,
    /// The text's next token at the current position, or [`APART`], or [`END`].
    next: u32,
    /// The logit of the next token at the current position, as a base-2 logarithm.
    logit: i32,
    log_probability: Nats,
}

/// The current position decides nothing about the text. No vocabulary has this token.
const APART: u32 = u32::MAX;
/// The current position decides that the text ends, and none of the longer texts follows. No vocabulary has this token.
const END: u32 = u32::MAX - 1;

impl<'t> Choice<'t> {
    /// A text to choose, as it follows the prompt: `" on"` after `"The lamp is"`, `"on"` after `"The lamp is "`.
    pub const fn new(text: &'t str) -> Self {
        Self { text, start: 0, len: 0, next: APART, logit: 0, log_probability: Nats(0) }
    }

    /// The text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The place of the tokens in the session's history.
    fn place(&self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }

    /// The next token at the current position, if the text has one there.
    fn next(&self) -> Option<u32> {
        (self.next < END).then_some(self.next)
    }

    /// The logarithm of the text's probability after the prompt. The probabilities of all choices sum up to 1 at most:
    /// the rest is that of all other texts.
    pub fn log_probability(&self) -> Nats {
        self.log_probability
    }
}

/// Why a choice cannot be made, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChooseError<E> {
    /// There are no texts.
    NoChoices,
    /// A text is empty, or the vocabulary can spell none of it.
    Empty {
        /// The text's index.
        index: usize,
    },
    /// Two texts are the same, or have the same tokens.
    Same {
        /// The first text's index.
        first: usize,
        /// The other text's index.
        second: usize,
    },
    /// The session's error: [`Error::ContextFull`] if the prompt and all texts together exceed the context,
    /// [`Error::Empty`] if nothing stands before them, and the source's error.
    Session(Error<E>),
}

impl<E> From<Error<E>> for ChooseError<E> {
    fn from(error: Error<E>) -> Self {
        Self::Session(error)
    }
}

impl<E: fmt::Display> fmt::Display for ChooseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChoices => f.write_str("there is nothing to choose from: give at least one text"),
            Self::Empty { index } => {
                write!(
                    f,
                    "the text with index {index} has no tokens; give it one character or more that the model knows"
                )
            }
            Self::Same { first, second } => {
                write!(f, "the texts with the indices {first} and {second} have the same tokens; leave one out")
            }
            Self::Session(error @ Error::ContextFull { .. }) => {
                write!(f, "{error}; the texts to choose from take room, too")
            }
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ChooseError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its words are this error's words.
            Self::Session(error) => error.source(),
            _ => None,
        }
    }
}

/// A choice in steps of one pass over the weights, for callers who show progress or can be interrupted.
/// [`Session::choose`] is the same in one call.
///
/// The tokens of the texts form a trie. Each of its inner nodes is a position, which is computed once, in the order of
/// the tokens: siblings share the keys and values of what stands before them.
pub struct Choose<'c, 't> {
    choices: &'c mut [Choice<'t>],
    /// Number of tokens of the session before the call.
    kept: usize,
    /// Number of tokens before those of the texts.
    base: usize,
    /// The text whose positions are being computed, and the number of its tokens that stand before the position. `None`
    /// at the end.
    current: Option<(usize, usize)>,
}

impl<'c, 't> Choose<'c, 't> {
    /// Encodes the prompt and the texts. They follow the tokens of `session`, which must be the same for every call.
    ///
    /// # Errors
    /// [`ChooseError`]. The session is then unchanged.
    pub async fn new<S: WeightSource>(
        session: &mut Session<'_, S>,
        prompt: &str,
        choices: &'c mut [Choice<'t>],
    ) -> Result<Self, ChooseError<S::Error>> {
        let kept = session.len;
        match session.lay_out(prompt, choices).await {
            Ok(base) => {
                let mut choose = Self { choices, kept, base, current: None };
                choose.current = choose.after(session, None).map(|first| (first, 0));
                Ok(choose)
            }
            Err(error) => {
                session.truncate(kept);
                Err(error)
            }
        }
    }

    /// Computes one batch of the prompt, or one position. Returns false if nothing is left to compute.
    ///
    /// # Errors
    /// The same as those of [`Session::logits`]. A failed step changes nothing and can be repeated.
    pub async fn step<S: WeightSource>(&mut self, session: &mut Session<'_, S>) -> Result<bool, Error<S::Error>> {
        if self.current.is_none() {
            return Ok(false);
        }
        if session.prefill().await? {
            return Ok(true);
        }
        let mut position = Position { choices: self.choices, bits: 0, others: LogSum::ZERO };
        position.start(session, self.base);
        session.logits(|logit| position.take(logit)).await?;
        position.finish();
        self.advance(session);
        Ok(self.current.is_some())
    }

    /// Ends the choice, complete or not, and gives the session the tokens that it had before. Returns the index of the
    /// likeliest text, the first one of equals.
    pub fn finish<S: WeightSource>(self, session: &mut Session<'_, S>) -> usize {
        session.truncate(self.kept);
        let best = self.choices.iter().map(Choice::log_probability).max();
        self.choices.iter().position(|choice| Some(choice.log_probability) == best).unwrap_or(0)
    }

    /// Goes to the next position that has not been computed, in the order of the tokens.
    fn advance<S: WeightSource>(&mut self, session: &mut Session<'_, S>) {
        let Some((mut current, depth)) = self.current.take() else { return };
        let mut next = (current, depth + 1);
        // The last token of a text decides nothing. The positions before the last common one are those of the texts
        // before it.
        while next.1 >= self.choices[next.0].len as usize {
            let Some(after) = self.after(session, Some(current)) else { return };
            let [this, that] = [current, after].map(|index| session.tokens_of(&self.choices[index]));
            let shared = common(this, that);
            next = (after, if shared == this.len() { shared } else { shared + 1 });
            current = after;
        }
        session.extend_with(&self.choices[next.0], self.base, next.1);
        self.current = Some(next);
    }

    /// The text whose tokens follow those of `index` in their order, or the first one.
    fn after<S: WeightSource>(&self, session: &Session<'_, S>, index: Option<usize>) -> Option<usize> {
        let tokens = |index: usize| session.tokens_of(&self.choices[index]);
        let later = (0..self.choices.len()).filter(|&other| index.is_none_or(|index| tokens(other) > tokens(index)));
        later.min_by_key(|&other| tokens(other))
    }
}

/// What a position decides, while its logits stream by.
struct Position<'c, 't> {
    choices: &'c mut [Choice<'t>],
    /// One bit in 64 for each token that may come next: most other tokens are told apart by it.
    bits: u64,
    /// The sum of the tokens with which none of the texts goes on.
    others: LogSum,
}

impl Position<'_, '_> {
    /// Finds the next token of each text after the session's tokens from `base` on.
    fn start<S: WeightSource>(&mut self, session: &Session<'_, S>, base: usize) {
        let path = &session.tokens()[base..];
        for choice in &mut *self.choices {
            choice.next = match session.tokens_of(choice).strip_prefix(path) {
                None => APART,
                Some([]) => END,
                Some(&[token, ..]) => token,
            };
            if let Some(token) = choice.next() {
                self.bits |= 1 << (token % 64);
            }
        }
    }

    fn take(&mut self, logit: Logit) {
        let log2 = log2_of(logit);
        let mut is_next = false;
        if self.bits >> (logit.token % 64) & 1 == 1 {
            for choice in self.choices.iter_mut().filter(|choice| choice.next == logit.token) {
                choice.logit = log2;
                is_next = true;
            }
        }
        if !is_next {
            self.others.add(log2);
        }
    }

    /// Multiplies the probabilities of the texts by what the position has decided.
    fn finish(self) {
        let mut all = self.others;
        for (index, choice) in self.choices.iter().enumerate() {
            let is_first = || self.choices[..index].iter().all(|before| before.next != choice.next);
            if choice.next().is_some() && is_first() {
                all.add(choice.logit);
            }
        }
        for choice in self.choices {
            choice.log_probability += match choice.next {
                APART => Nats(0),
                END => log_share(self.others.log2(), all.log2()),
                _ => log_share(widened(choice.logit), all.log2()),
            };
        }
    }
}

impl<S: WeightSource> Session<'_, S> {
    /// Chooses among texts by their likelihood after the session's tokens and `prompt`, and returns the index of the
    /// likeliest one. [`Choice::log_probability`] has the likelihood of each. The session keeps its tokens, and what was
    /// computed of them: it can hold instructions that every choice shares.
    ///
    /// The prompt and each text are encoded as one text, so that it does not matter whether a space between them ends
    /// the prompt or starts the text. Marks such as `</s>` in them are their tokens, as in
    /// [`push_text`](Self::push_text). A likelihood is the product of the probabilities of the tokens from the first one
    /// on that is not the same for the prompt alone and with each text. Longer texts are less likely by nature.
    ///
    /// Where all tokens of one text are the first ones of others, it is chosen for ending there: its probability is
    /// multiplied by that of all next tokens with which none of the others goes on.
    ///
    /// The room of the context is the prompt's and the tokens' of all texts. Each position that decides between texts,
    /// or between a text and none, takes a pass over the weights: one for texts of a single token, whatever their
    /// number. Probabilities are those of temperature 1 and the whole vocabulary, from [`logits`](Self::logits). Their
    /// logarithms are exact to 2^-19 nats a token and 2^-28 of themselves, and the same bits on every target.
    ///
    /// ```
    /// use rillm::{Choice, ChooseError, Session, WeightSource};
    ///
    /// async fn is_on<S: WeightSource>(session: &mut Session<'_, S>) -> Result<bool, ChooseError<S::Error>> {
    ///     let mut choices = ["on", "off"].map(Choice::new);
    ///     Ok(session.choose("It is dark. The lamp is ", &mut choices).await? == 0)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ChooseError`]. The session keeps its tokens.
    pub async fn choose(&mut self, prompt: &str, choices: &mut [Choice<'_>]) -> Result<usize, ChooseError<S::Error>> {
        let mut choose = Choose::new(self, prompt, choices).await?;
        let result = loop {
            match choose.step(self).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let best = choose.finish(self);
        Ok(result.map(|()| best)?)
    }

    /// The tokens of a text of the last choice, until tokens are added to the session.
    pub fn tokens_of(&self, choice: &Choice<'_>) -> &[u32] {
        self.history.get(choice.place()).unwrap_or_default()
    }

    /// Appends the tokens of the prompt that do not depend on the texts, stores those of the texts at the end of the
    /// history, and returns the number of the session's tokens. After an error, tokens may have been appended.
    async fn lay_out(&mut self, prompt: &str, choices: &mut [Choice<'_>]) -> Result<usize, ChooseError<S::Error>> {
        if choices.is_empty() {
            return Err(ChooseError::NoChoices);
        }
        if let Some(index) = choices.iter().position(|choice| choice.text.is_empty()) {
            return Err(ChooseError::Empty { index });
        }
        // The last word of the prompt is encoded with each text, as its tokens may depend on it.
        let (front, word) = prompt.split_at(self.model.tokenizer().last_word(prompt));
        let kind = match front {
            "" => TextKind::Marked,
            front => self.append_text(front, TextKind::Marked).await?.1,
        };
        let start = self.len;
        let alone = start + self.encode_joined([word, ""], kind, start).await?;
        let (mut end, mut shared) = (alone, alone - start);
        for choice in &mut *choices {
            let len = self.encode_joined([word, choice.text], kind, end).await?;
            *choice = Choice { start: end as u32, len: len as u32, ..Choice::new(choice.text) };
            end += len;
            shared = shared.min(common(&self.history[start..alone], self.tokens_of(choice)));
        }
        let base = start + shared;
        for (index, choice) in choices.iter().enumerate() {
            let own = self.tokens_of(choice);
            if own.len() == shared || *own == self.history[start..alone] {
                return Err(ChooseError::Empty { index });
            }
        }
        // To the end of the history, so that the session can grow up to them; the last ones first, as none moves down.
        let context = self.plan.context;
        let (mut first, mut longest) = (context, 0);
        for choice in choices.iter_mut().rev() {
            let own = choice.place().start + shared..choice.place().end;
            first -= own.len();
            longest = longest.max(own.len());
            (choice.start, choice.len) = (first as u32, own.len() as u32);
            self.history.copy_within(own, first);
        }
        for (second, choice) in choices.iter().enumerate() {
            let tokens = self.tokens_of(choice);
            if let Some(first) = choices[..second].iter().position(|other| self.tokens_of(other) == tokens) {
                return Err(ChooseError::Same { first, second });
            }
        }
        if base == 0 {
            return Err(Error::Empty.into());
        }
        // A text's last token is never the session's.
        let tokens = base + longest - 1 + (context - first);
        if tokens > context {
            return Err(Error::ContextFull { tokens, context }.into());
        }
        (self.len, self.embedded) = (base, self.embedded && base == start);
        Ok(base)
    }

    /// Makes the first `len` tokens of a text the session's tokens from `base` on. Those that are there already stay
    /// computed.
    fn extend_with(&mut self, choice: &Choice<'_>, base: usize, len: usize) {
        let Range { start, .. } = choice.place();
        let there = common(&self.tokens()[base..], &self.history[start..start + len]);
        self.truncate(base + there);
        self.history.copy_within(start + there..start + len, base + there);
        self.len = base + len;
        self.embedded = false;
    }
}

/// Number of tokens that both sequences begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
