//! A text as it is being written: the loop that the console and `rillm run` have in common, one token a call.

use rillm::error::Error;
use rillm::fingerprint::Fingerprint;
use rillm::model::Model;
use rillm::sampler::Sampling;
use rillm::session::Session;
use rillm::source::WeightSource;
use rillm::tokenizer::{Decoder, Printed};

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended it.
    EndOfText,
    /// As many tokens as were wanted.
    MaxTokens,
    /// No room for another token.
    ContextFull,
    /// Ctrl-C.
    Interrupted,
}

/// A text that goes on from a session's prompt.
pub struct Text {
    sampling: Sampling,
    max_tokens: usize,
    generated: usize,
    decoder: Decoder,
    fingerprint: Option<Fingerprint>,
}

impl Text {
    /// Nothing yet, after `prompt`, which the session holds already. With `check`, every logit counts into a fingerprint.
    pub fn new(model: &Model, prompt: &str, sampling: Sampling, max_tokens: usize, check: bool) -> Self {
        // After a prompt the text goes on; without one it starts.
        let decoder = if prompt.is_empty() { model.tokenizer().decoder() } else { Decoder::new(false) };
        Self { sampling, max_tokens, generated: 0, decoder, fingerprint: check.then(Fingerprint::new) }
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

    /// The next token: the text that it completes, to be printed in this order, and whether the model ends here.
    ///
    /// # Errors
    /// As [`Session::next`]. Nothing has happened then, and the call may be repeated.
    pub async fn next<'a, S: WeightSource>(
        &'a mut self,
        model: &Model,
        session: &'a mut Session<'_, S>,
    ) -> Result<(Printed<'a>, bool), Error<S::Error>> {
        let token = match &mut self.fingerprint {
            None => session.next(&self.sampling).await?,
            Some(fingerprint) => {
                // What a failed call has shown does not count.
                let mut observed = fingerprint.clone();
                let observe = |id, mantissa, exponent| observed.add(id, mantissa, exponent);
                let token = session.next_observed(&self.sampling, observe).await?;
                *fingerprint = observed;
                token
            }
        };
        self.generated += 1;
        Ok((self.decoder.push(token.kind, token.text), model.header().is_eos(token.id)))
    }

    /// Ends the text: what is left to print.
    pub fn finish(&mut self) -> &'static str {
        self.decoder.finish()
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
