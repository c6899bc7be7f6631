//! How far the predictions of files are from those of their checkpoint in float32.

use std::ops::ControlFlow;

use anyhow::Result;
use rillm::{Logit, Memory, MemoryLen, Model, Plan, PlanOptions, Session, block_on};
use rillm_quantise::evaluate::{Agreement, negative_log_likelihood};
use rillm_quantise::reference::Reference;

use crate::source::ModelSource;

/// The result of an evaluation.
#[derive(Clone, Copy, Default)]
pub struct Evaluation {
    /// Agreement of the predictions, over all positions.
    pub agreement: Agreement,
    nll: f64,
    nll_reference: f64,
    predicted: usize,
}

impl Evaluation {
    /// The file's perplexity.
    pub fn ppl(&self) -> f64 {
        (self.nll / self.predicted as f64).exp()
    }

    /// The checkpoint's perplexity in float32.
    pub fn ppl_reference(&self) -> f64 {
        (self.nll_reference / self.predicted as f64).exp()
    }
}

/// Evaluates files, one model each, on windows of tokens, each of which starts with an empty context: every token is predicted
/// from those before it. `progress` receives the number of positions that are done and the results so far. If it breaks, the
/// result is `None`.
pub fn evaluate(
    files: Vec<(Model, ModelSource)>,
    reference: &mut Reference,
    windows: &[Vec<u32>],
    mut progress: impl FnMut(usize, &[Evaluation]) -> ControlFlow<()>,
) -> Result<Option<Vec<Evaluation>>> {
    let context = windows.iter().map(Vec::len).max().unwrap_or(0);
    let options = PlanOptions::default().batch(1).context(context);
    let (models, sources): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let plans = models.iter().zip(&sources);
    let plans = plans.map(|(model, source)| Plan::new(model, source, MemoryLen::internal(usize::MAX), &options));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let mut memories: Vec<_> = plans.iter().map(|plan| vec![0; plan.memory().internal]).collect();
    let mut sessions = vec![];
    for (((model, source), plan), memory) in models.iter().zip(sources).zip(plans).zip(&mut memories) {
        sessions.push(Session::from_plan(model, source, plan, Memory::internal(memory))?);
    }

    let mut evaluations = vec![Evaluation::default(); sessions.len()];
    let mut logits = vec![0f32; reference.config().vocab_size as usize];
    let mut done = 0;
    for window in windows {
        sessions.iter_mut().for_each(Session::reset);
        for (position, &token) in window.iter().enumerate() {
            let expected = reference.forward(token, position);
            let next = window.get(position + 1).copied();
            let nll_reference = next.map_or(0.0, |next| negative_log_likelihood(expected, next));
            for (session, evaluation) in sessions.iter_mut().zip(&mut evaluations) {
                session.push(&[token])?;
                block_on(session.logits(|Logit { token, mantissa, exponent }| {
                    logits[token as usize] = (f64::from(mantissa) * f64::from(exponent).exp2()) as f32;
                }))?;
                evaluation.agreement.add(expected, &logits);
                evaluation.nll += next.map_or(0.0, |next| negative_log_likelihood(&logits, next));
                evaluation.nll_reference += nll_reference;
                evaluation.predicted += usize::from(next.is_some());
            }
            done += 1;
            if progress(done, &evaluations).is_break() {
                return Ok(None);
            }
        }
    }
    Ok(Some(evaluations))
}
