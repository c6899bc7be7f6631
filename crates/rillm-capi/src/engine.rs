//! A model that runs, behind the handle.

use rillm::{Memory, MemoryLen, Model, Q16, Sampling, Session, block_on};
use rillm_generate::{Generation, Step, StopReason};

use crate::place::Region;
use crate::setup::Setup;
use crate::source::CallerSource;
use crate::status::Failure;

/// How the next token is chosen, and when the text ends. All zeros: always the likeliest token, as many as there is room for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Tokens to generate; 0 for as many as there is room for.
    pub max_tokens: u32,
    /// Above 1 bolder, below 1 safer, 0 always the likeliest token.
    pub temperature: f32,
    /// Choose among so many of the likeliest tokens, 256 at most; 0 for all.
    pub top_k: u32,
    /// Choose among the fewest tokens that have this probability together; 0, and from 1 on, for all.
    pub top_p: f32,
    /// The same seed gives the same text.
    pub seed: u64,
}

/// Why a text ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// There is none, or it failed: a prompt of NULL goes on.
    #[default]
    RillmEndNone = 0,
    /// The model ended it.
    RillmEndOfText = 1,
    /// As many tokens as were wanted. A prompt of NULL goes on.
    RillmEndMaxTokens = 2,
    /// No room for another token.
    RillmEndContextFull = 3,
    /// The callback wanted it. A prompt of NULL goes on.
    RillmEndStopped = 4,
}

impl From<StopReason> for End {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::MaxTokens => Self::RillmEndMaxTokens,
            StopReason::ContextFull => Self::RillmEndContextFull,
            StopReason::EndOfText | StopReason::StopString => Self::RillmEndOfText,
            StopReason::Interrupted => Self::RillmEndStopped,
        }
    }
}

/// What a model has done so far, and the last text.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Why the last rillm_generate ended.
    pub end: End,
    /// Tokens of the last prompt, with the one that starts a text.
    pub prompt_tokens: u32,
    /// Tokens that the last rillm_generate generated.
    pub generated_tokens: u32,
    /// Tokens that there is room for, prompt and answer together.
    pub context: u32,
    /// Since rillm_init: tokens that went through the layers, prompts included.
    pub tokens: u64,
    /// Since rillm_init: reads, their bytes, and those of them that did not start where the one before ended.
    pub reads: u64,
    /// See `reads`.
    pub read_bytes: u64,
    /// See `reads`.
    pub seeks: u64,
    /// Since rillm_init: bytes of weights that were used where they lay in memory.
    pub resident_bytes: u64,
}

/// A model, its session, and the text at hand.
pub struct Engine {
    model: &'static Model,
    session: Session<'static, CallerSource>,
    generation: Generation<'static>,
    prompt_tokens: usize,
    end: End,
}

impl Engine {
    /// Opens the model, and puts it into `memory`.
    pub fn open(
        setup: &Setup,
        mut source: CallerSource,
        memory: &mut Region<'static>,
        large: &mut Region<'static>,
    ) -> Result<Self, Failure> {
        let model = block_on(Model::open(&mut source))?;
        let plan = setup.plan(&model, &source)?;
        // There is room: the plan is of what the handle and the model leave, wherever the memory starts.
        let none = Failure::Setup("setup.memory is smaller than setup.memory_len");
        let model: &Model = memory.place(model).ok_or(none)?;
        let MemoryLen { internal, external } = plan.memory();
        let memory =
            Memory { internal: memory.bytes(internal).ok_or(none)?, external: large.bytes(external).ok_or(none)? };
        let session = Session::from_plan(model, source, plan, memory).map_err(|_| none)?;
        let generation = Generation::new(model, "", Sampling::GREEDY);
        Ok(Self { model, session, generation, prompt_tokens: 0, end: End::RillmEndNone })
    }

    /// Writes a text after `prompt`, or goes on with the one at hand. `print` gets what comes, and nothing before each pass
    /// over the weights; the text ends where it returns false.
    pub fn generate(
        &mut self,
        prompt: Option<&str>,
        config: &Config,
        mut print: impl FnMut(&str) -> bool,
    ) -> Result<(), Failure> {
        let sampling = config.sampling()?;
        let most = if config.max_tokens == 0 { usize::MAX } else { config.max_tokens as usize };
        let Self { model, session, generation, prompt_tokens, end } = self;
        generation.resume(sampling, most);
        *end = End::RillmEndNone;
        if let Some(prompt) = prompt {
            session.reset();
            *prompt_tokens = 0;
            *prompt_tokens = block_on(session.push_text(prompt))?;
            *generation = Generation::new(model, prompt, sampling).max_tokens(most);
        }
        *end = loop {
            if let Some(reason) = generation.done(session) {
                break reason.into();
            }
            if !print("") {
                break End::RillmEndStopped;
            }
            if let Step::Token(text) = block_on(generation.step(session))? {
                // All of a token's text comes: what goes on later goes on after it.
                let go_on = text.fold(true, |go_on, piece| print(piece) & go_on);
                if !go_on && generation.done(session) != Some(StopReason::EndOfText) {
                    break End::RillmEndStopped;
                }
            }
        };
        // Of a text that may go on, the rest of a character may still come.
        if let End::RillmEndOfText | End::RillmEndContextFull = *end {
            generation.finish().for_each(|rest| _ = print(rest));
        }
        Ok(())
    }

    /// Every token of the text at hand, prompt and answer.
    pub fn tokens(&self) -> &[u32] {
        self.session.tokens()
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let stats = self.session.stats();
        Stats {
            end: self.end,
            prompt_tokens: self.prompt_tokens as u32,
            generated_tokens: self.generation.generated() as u32,
            context: self.session.plan().context as u32,
            tokens: stats.tokens,
            reads: stats.traffic.reads,
            read_bytes: stats.traffic.bytes,
            seeks: stats.traffic.seeks,
            resident_bytes: stats.traffic.resident_bytes,
        }
    }
}

impl Config {
    fn sampling(&self) -> Result<Sampling, Failure> {
        let top_p = q16("top_p", self.top_p)?;
        let temperature = q16("temperature", self.temperature)?;
        let top_p = if top_p == Q16::ZERO { Q16::ONE } else { top_p };
        Ok(Sampling::GREEDY.temperature(temperature).top_k(self.top_k).top_p(top_p).seed(self.seed))
    }
}

/// The nearest number with 16 fraction bits, or the largest.
fn q16(field: &'static str, value: f32) -> Result<Q16, Failure> {
    if value.is_nan() {
        return Err(Failure::Number(field, "not a number"));
    }
    if value < 0.0 {
        return Err(Failure::Number(field, "negative"));
    }
    Ok(Q16((value * 65536.0 + 0.5) as u32))
}
