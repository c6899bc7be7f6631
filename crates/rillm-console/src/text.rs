//! A text as it is being written: the loop that the console and `rillm run` have in common, one token a call.

use rillm::{Decoder, Error, Fingerprint, Model, Sampling, Session, WeightSource};

use crate::stop::StopStrings;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended it.
    EndOfText,
    /// There was a stop string in it.
    StopString,
    /// As many tokens as were wanted.
    MaxTokens,
    /// No room for another token.
    ContextFull,
    /// Ctrl-C.
    Interrupted,
}

/// A text that goes on from a session's prompt.
pub struct Text<'s> {
    sampling: Sampling,
    max_tokens: usize,
    generated: usize,
    decoder: Decoder,
    stops: StopStrings<'s>,
    fingerprint: Option<Fingerprint>,
}

impl<'s> Text<'s> {
    /// Nothing yet, after `prompt`, which the session holds already. With `check`, every logit counts into a fingerprint.
    pub fn new(model: &Model, prompt: &str, sampling: Sampling, max_tokens: usize, check: bool) -> Self {
        // After a prompt the text goes on; without one it starts.
        let decoder = if prompt.is_empty() { model.tokenizer().decoder() } else { Decoder::new(false) };
        let fingerprint = check.then(Fingerprint::new);
        Self { sampling, max_tokens, generated: 0, decoder, stops: StopStrings::NONE, fingerprint }
    }

    /// Ends before the first of these strings.
    #[must_use]
    pub fn ending_before(self, stops: StopStrings<'s>) -> Self {
        Self { stops, ..self }
    }

    /// Why there is no next token, if there is none.
    pub fn limit<S: WeightSource>(&self, session: &Session<'_, S>) -> Option<Stop> {
        if self.generated >= self.max_tokens {
            Some(Stop::MaxTokens)
        } else if session.tokens().len() >= session.plan().context {
            Some(Stop::ContextFull)
        } else {
            None
        }
    }

    /// The next token. `print` gets the text that is certain by now; the token says why the text ends, if it does.
    ///
    /// # Errors
    /// As [`Session::next`]: nothing has happened then, and the call may be repeated. Within, those of `print`.
    pub async fn next<S: WeightSource, P>(
        &mut self,
        model: &Model,
        session: &mut Session<'_, S>,
        mut print: impl FnMut(&str) -> Result<(), P>,
    ) -> Result<Result<Option<Stop>, P>, Error<S::Error>> {
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
        let ended = model.header().is_eos(token.id);
        for piece in self.decoder.push(token.kind, token.text) {
            if let Err(error) = certain(&mut self.stops, piece, &mut print) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(if self.stops.found() { Some(Stop::StopString) } else { ended.then_some(Stop::EndOfText) }))
    }

    /// Ends the text: `print` gets what is left.
    ///
    /// # Errors
    /// Those of `print`.
    pub fn finish<P>(&mut self, mut print: impl FnMut(&str) -> Result<(), P>) -> Result<(), P> {
        certain(&mut self.stops, self.decoder.finish(), &mut print)?;
        print(self.stops.finish())
    }

    /// Tokens so far, the prompt's aside.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// The fingerprint of every logit of every generated token, where it was asked for.
    pub fn fingerprint(&self) -> Option<u32> {
        self.fingerprint.as_ref().map(Fingerprint::value)
    }
}

/// Prints what is certain of a text with its next piece.
fn certain<P>(
    stops: &mut StopStrings<'_>,
    piece: &str,
    print: &mut impl FnMut(&str) -> Result<(), P>,
) -> Result<(), P> {
    stops.push(piece).into_iter().filter(|text| !text.is_empty()).try_for_each(print)
}
