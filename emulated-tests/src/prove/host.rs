//! The same texts on this computer.

use std::error::Error;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, bail};
use rillm::model::Model;
use rillm::plan::{Plan, PlanOptions};
use rillm::session::Session;
use rillm::source::WeightSource;
use rillm_generate::{Generation, Step};

use super::cases::Text;
use super::trace::Traffic;

/// A text that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its tokens, prompt and answer.
    pub ids: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The fingerprint of every logit.
    pub logits: u32,
    /// What the session has read so far.
    pub traffic: Traffic,
}

/// Writes `texts` in one session, as a board's console does.
///
/// # Errors
/// The model cannot be opened, or does not fit the memory of `options`.
pub fn write<S>(mut source: S, options: &PlanOptions, texts: &[Text]) -> Result<(Vec<Written>, Plan)>
where
    S: WeightSource<Error: Error + Send + Sync + 'static>,
{
    let model = ready(Model::open(&mut source))??;
    let plan = Plan::new(&model, &source, options)?;
    let (mut fast, mut large) = (vec![0; plan.total()], vec![0; plan.large_total()]);
    let mut session = Session::with_large(&model, source, options, &mut fast, &mut large)?;
    let mut all = Vec::new();
    for text in texts {
        session.reset();
        ready(session.push_text(text.prompt))??;
        let prompt_tokens = session.tokens().len();
        let generation = Generation::new(&model, text.prompt, text.sampling);
        let mut generation = generation.max_tokens(text.tokens).with_fingerprint();
        while !matches!(ready(generation.step(&mut session))??, Step::Done(_)) {}
        let rillm::counted::Traffic { reads, bytes, seeks, .. } = session.stats().traffic;
        all.push(Written {
            ids: session.tokens().to_vec(),
            prompt_tokens,
            logits: generation.fingerprint().unwrap_or_default(),
            traffic: Traffic { reads, bytes, seeks },
        });
    }
    Ok((all, plan))
}

/// What a future brings that never waits, as those of a source in memory.
fn ready<F: Future>(future: F) -> Result<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => bail!("the engine waits for a source in memory"),
    }
}
