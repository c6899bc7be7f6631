//! The generation of a text, step by step.

use core::fmt;

use rillm::format::TokenKind;
use rillm::tokenizer::Printed;
use rillm::{Chat, Decoder, Error, Fingerprint, Model, Sampling, Session, WeightSource};

use crate::StopStrings;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model generated an end-of-text token.
    EndOfText,
    /// The text contains a stop string.
    StopString,
    /// The text has the largest number of tokens.
    MaxTokens,
    /// The context has no room for another token.
    ContextFull,
    /// The caller interrupted the text. No step returns this reason: callers set it in their own figures.
    Interrupted,
}

/// The result of a step.
#[derive(Clone, Debug)]
pub enum Step<'t> {
    /// A batch of the prompt was computed. More of the prompt follows, or the first token.
    Prefill,
    /// A token was generated. The text is what is final by now: often a word, sometimes empty, because a character is
    /// incomplete or may start a stop string.
    Token(Text<'t>),
    /// Nothing was computed: the text has ended. [`Generation::finish`] returns the rest of it.
    Done(StopReason),
}

/// A text that continues the tokens of a session.
///
/// It does not borrow the session, so that the caller can use it between two steps. It only borrows the model's header.
pub struct Generation<'a> {
    model: &'a Model,
    sampling: Sampling,
    max_tokens: usize,
    generated: usize,
    decoder: Decoder,
    stops: StopStrings<'a>,
    fingerprint: Option<Fingerprint>,
    chat: Option<&'a mut Chat>,
    forgotten_turns: u32,
}

impl<'a> Generation<'a> {
    /// A text that continues `prompt`, whose tokens are already in the session. With an empty prompt the text stands
    /// alone, and a space before its first token is not printed. The text ends at the model's end-of-text token, or
    /// when the context is full.
    pub fn new(model: &'a Model, prompt: &str, sampling: Sampling) -> Self {
        let decoder = if prompt.is_empty() { model.tokenizer().decoder() } else { Decoder::new(false) };
        Self {
            model,
            sampling,
            max_tokens: usize::MAX,
            generated: 0,
            decoder,
            stops: StopStrings::default(),
            fingerprint: None,
            chat: None,
            forgotten_turns: 0,
        }
    }

    /// Limits the number of tokens to generate.
    #[must_use]
    pub fn max_tokens(self, max_tokens: usize) -> Self {
        Self { max_tokens, ..self }
    }

    /// Ends the text before the first of these strings.
    #[must_use]
    pub fn stop_strings(self, stops: StopStrings<'a>) -> Self {
        Self { stops, ..self }
    }

    /// Computes a [`fingerprint`](Self::fingerprint) of every logit.
    #[must_use]
    pub fn with_fingerprint(self) -> Self {
        Self { fingerprint: Some(Fingerprint::new()), ..self }
    }

    /// Generates an answer in a chat. It also ends at the mark of the chat template. When the context is full, the
    /// oldest turns are forgotten.
    #[must_use]
    pub fn in_chat(self, chat: &'a mut Chat) -> Self {
        Self { chat: Some(chat), ..self }
    }

    /// Continues the text after its end, with another limit. Tokens are counted from zero again.
    pub fn resume(&mut self, sampling: Sampling, max_tokens: usize) {
        (self.sampling, self.max_tokens, self.generated) = (sampling, max_tokens, 0);
    }

    /// Performs one step, at most one pass over the weights. The caller loops until [`Step::Done`].
    ///
    /// # Errors
    /// The same as [`Session::next`]. A failed step changes nothing and can be repeated.
    pub async fn step<'t, S: WeightSource>(
        &'t mut self,
        session: &'t mut Session<'_, S>,
    ) -> Result<Step<'t>, Error<S::Error>> {
        if let Some(reason) = self.done(session) {
            return Ok(Step::Done(reason));
        }
        if session.prefill().await? {
            return Ok(Step::Prefill);
        }
        let token = match &mut self.fingerprint {
            None => session.next(&self.sampling).await?,
            Some(fingerprint) => {
                // The logits of a failed call must not count.
                let mut observed = fingerprint.clone();
                let token = session.next_observed(&self.sampling, |logit| observed.add(logit)).await?;
                *fingerprint = observed;
                token
            }
        };
        self.generated += 1;
        let pieces = self.decoder.push(token.kind, token.text);
        Ok(Step::Token(Text::new(&mut self.stops, pieces)))
    }

    /// Why the text has ended, if it has. In a chat, makes room for the next token.
    ///
    /// [`step`](Self::step) calls this first. A caller that acts before each pass over the weights, for example to look
    /// for Ctrl-C, calls it before that.
    pub fn done<S: WeightSource>(&mut self, session: &mut Session<'_, S>) -> Option<StopReason> {
        if self.stops.found() {
            return Some(StopReason::StopString);
        }
        let last = session.tokens().last().copied().filter(|_| self.generated > 0);
        let ends = |id| match &self.chat {
            Some(chat) => chat.ends(session, id),
            None => self.model.header().is_eos(id),
        };
        if last.is_some_and(ends) {
            return Some(StopReason::EndOfText);
        }
        if let Some(chat) = &mut self.chat {
            self.forgotten_turns += chat.make_room(session);
        }
        if self.generated >= self.max_tokens {
            Some(StopReason::MaxTokens)
        } else if session.tokens().len() >= session.plan().context {
            Some(StopReason::ContextFull)
        } else {
            None
        }
    }

    /// Ends the text and returns what was held back of it: an incomplete character, or a possible start of a stop
    /// string.
    pub fn finish(&mut self) -> Text<'_> {
        // An empty piece of text ends a run of bytes.
        let pieces = self.decoder.push(TokenKind::Text, b"");
        let mut text = Text::new(&mut self.stops, pieces);
        text.tail = self.stops.finish();
        text
    }

    /// Number of tokens generated so far.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Number of turns of the chat that were forgotten so far.
    pub fn forgotten_turns(&self) -> u32 {
        self.forgotten_turns
    }

    /// The fingerprint of every logit of every generated token, if [`with_fingerprint`](Self::with_fingerprint) was
    /// called.
    pub fn fingerprint(&self) -> Option<u32> {
        self.fingerprint.as_ref().map(Fingerprint::value)
    }
}

/// Final text, in pieces of whole characters. No piece is empty.
#[derive(Clone, Debug)]
pub struct Text<'t> {
    /// Text that was held back until now.
    held: &'t str,
    pieces: Printed<'t>,
    /// Number of final bytes of the pieces.
    len: usize,
    tail: &'t str,
}

impl<'t> Text<'t> {
    fn new<'s: 't>(stops: &mut StopStrings<'s>, pieces: Printed<'t>) -> Self {
        let (held, len) = stops.push(pieces.clone());
        Self { held, pieces, len, tail: "" }
    }
}

impl<'t> Iterator for Text<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let held = core::mem::take(&mut self.held);
        if !held.is_empty() {
            return Some(held);
        }
        if self.len > 0
            && let Some(piece) = self.pieces.next()
        {
            let piece = &piece[..self.len.min(piece.len())];
            self.len -= piece.len();
            return Some(piece);
        }
        let tail = core::mem::take(&mut self.tail);
        (!tail.is_empty()).then_some(tail)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().try_for_each(|piece| f.write_str(piece))
    }
}
