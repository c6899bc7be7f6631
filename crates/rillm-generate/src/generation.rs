//! A text as it is generated, one step a call.

use core::fmt;

use rillm::format::TokenKind;
use rillm::tokenizer::Printed;
use rillm::{Chat, Decoder, Error, Fingerprint, Model, Sampling, Session, WeightSource};

use crate::StopStrings;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended it.
    EndOfText,
    /// There was a stop string in it.
    StopString,
    /// It has as many tokens as were wanted.
    MaxTokens,
    /// The context has no room for another token.
    ContextFull,
    /// The caller interrupted it. No step says so: it is for the caller's own figures.
    Interrupted,
}

/// What a step did.
#[derive(Clone, Debug)]
pub enum Step<'t> {
    /// It computed a batch of the prompt. There is more of the prompt, or the first token comes next.
    Prefill,
    /// It generated a token. The text is what is certain by now: often a word, sometimes nothing, because a character is not
    /// whole yet or may belong to a stop string.
    Token(Text<'t>),
    /// It did nothing: the text has ended. [`Generation::finish`] has what was held back of it.
    Done(StopReason),
}

/// A text that continues the tokens of a session.
///
/// It holds no session, so that a caller can use its own between two steps, and only reads the model's header.
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
    /// A text that continues `prompt`, whose tokens are in the session already; without a prompt it is one of its own, and the
    /// space that its first token may begin with is not printed. It ends where the model ends it, or the context is full.
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

    /// Ends after so many tokens.
    #[must_use]
    pub fn max_tokens(self, max_tokens: usize) -> Self {
        Self { max_tokens, ..self }
    }

    /// Ends before the first of these strings.
    #[must_use]
    pub fn stop_strings(self, stops: StopStrings<'a>) -> Self {
        Self { stops, ..self }
    }

    /// Adds every logit to a [`fingerprint`](Self::fingerprint).
    #[must_use]
    pub fn with_fingerprint(self) -> Self {
        Self { fingerprint: Some(Fingerprint::new()), ..self }
    }

    /// Generates an answer in a chat: it ends with the chat template's mark, too, and when the context is full, the oldest turns
    /// are forgotten.
    #[must_use]
    pub fn in_chat(self, chat: &'a mut Chat) -> Self {
        Self { chat: Some(chat), ..self }
    }

    /// Continues the text after it has ended, with another limit. Tokens are counted from zero again.
    pub fn resume(&mut self, sampling: Sampling, max_tokens: usize) {
        (self.sampling, self.max_tokens, self.generated) = (sampling, max_tokens, 0);
    }

    /// Goes one step: a pass over the weights at most. A caller loops until it is [`Step::Done`].
    ///
    /// # Errors
    /// As [`Session::next`]. Nothing has happened then, and the step can be repeated.
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
                // What a failed call has shown does not count.
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

    /// Why the text has ended, if it has. In a chat it makes room for the next token, if it has not.
    ///
    /// [`step`](Self::step) asks first thing. A caller that does something before each pass over the weights, such as looking
    /// for Ctrl-C, asks before that.
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

    /// Ends the text: what was held back of it, because a character was not whole or a stop string might have come.
    pub fn finish(&mut self) -> Text<'_> {
        // An empty text ends a run of bytes.
        let pieces = self.decoder.push(TokenKind::Text, b"");
        let mut text = Text::new(&mut self.stops, pieces);
        text.tail = self.stops.finish();
        text
    }

    /// Tokens generated so far.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Turns of the chat that were forgotten so far.
    pub fn forgotten_turns(&self) -> u32 {
        self.forgotten_turns
    }

    /// The fingerprint of every logit of every generated token, where it was asked for.
    pub fn fingerprint(&self) -> Option<u32> {
        self.fingerprint.as_ref().map(Fingerprint::value)
    }
}

/// Text that is certain, in pieces of whole characters, none of them empty.
#[derive(Clone, Debug)]
pub struct Text<'t> {
    /// What was held back until now.
    held: &'t str,
    pieces: Printed<'t>,
    /// Bytes of the pieces that are certain.
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
