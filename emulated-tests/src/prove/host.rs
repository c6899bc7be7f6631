//! The texts on this computer.

use std::error::Error;

use anyhow::Result;
use rillm::{Memory, MemoryLen, Model, Plan, PlanOptions, Session, WeightSource, block_on};
use rillm_generate::{Generation, Step};

use super::cases::Request;
use super::trace::Traffic;

/// A generated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its tokens, prompt and answer.
    pub ids: Vec<u32>,
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// The fingerprint of every logit.
    pub logits: u32,
    /// Traffic of the session so far.
    pub traffic: Traffic,
}

/// The setup of a session.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Bytes of both memories.
    pub memory: MemoryLen,
    /// The options of the plan.
    pub options: PlanOptions,
    /// How often weights are verified.
    pub check_every: u32,
}

impl Setup {
    /// A path through the engine that differs from a board's: more memory than any of the models needs, one token at a
    /// time, every checksum verified.
    pub fn reference() -> Self {
        Self { memory: MemoryLen::internal(1 << 30), options: PlanOptions::default().batch(1), check_every: 1 }
    }
}

/// Generates `texts` in one session, as a board's console does.
///
/// # Errors
/// The model cannot be opened, or does not fit into the memory.
pub fn write<S>(mut source: S, setup: Setup, texts: &[Request]) -> Result<(Vec<Written>, Plan)>
where
    S: WeightSource<Error: Error + Send + Sync + 'static>,
{
    let model = block_on(Model::open(&mut source))?;
    let plan = Plan::new(&model, &source, setup.memory, &setup.options)?;
    let MemoryLen { internal, external } = plan.memory();
    let (mut internal, mut external) = (vec![0; internal], vec![0; external]);
    let memory = Memory { internal: &mut internal, external: &mut external };
    let mut session = Session::from_plan(&model, source, plan, memory)?;
    session.set_check_every(setup.check_every);
    let mut all = Vec::new();
    for text in texts {
        session.reset();
        block_on(session.push_text(text.prompt))?;
        let prompt_tokens = session.tokens().len();
        let generation = Generation::new(&model, text.prompt, text.sampling);
        let mut generation = generation.max_tokens(text.tokens).with_fingerprint();
        while !matches!(block_on(generation.step(&mut session))?, Step::Done(_)) {}
        let rillm::Traffic { reads, bytes, seeks, .. } = session.stats().traffic;
        all.push(Written {
            ids: session.tokens().to_vec(),
            prompt_tokens,
            logits: generation.fingerprint().unwrap_or_default(),
            traffic: Traffic { reads, bytes, seeks },
        });
    }
    Ok((all, plan))
}
