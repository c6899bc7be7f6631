//! A model that runs, behind the handle.

use rillm::{Decoder, Memory, MemoryLen, Model, Q16, Sampling, Session, block_on};

use crate::place::Region;
use crate::setup::Setup;
use crate::source::Source;
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
    session: Session<'static, Source>,
    decoder: Decoder,
    prompt_tokens: usize,
    generated: u32,
    end: End,
}

impl Engine {
    /// Opens the model, and puts it into `memory`.
    pub fn open(
        setup: &Setup,
        mut source: Source,
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
        let decoder = model.tokenizer().decoder();
        Ok(Self { model, session, decoder, prompt_tokens: 0, generated: 0, end: End::RillmEndNone })
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
        (self.generated, self.end) = (0, End::RillmEndNone);
        if let Some(prompt) = prompt {
            self.session.reset();
            self.prompt_tokens = 0;
            self.prompt_tokens = block_on(self.session.push_text(prompt))?;
            // After a prompt the text goes on; without one it starts.
            self.decoder = if prompt.is_empty() { self.model.tokenizer().decoder() } else { Decoder::new(false) };
        }
        let most = if config.max_tokens == 0 { u32::MAX } else { config.max_tokens };
        self.end = loop {
            if self.generated == most {
                break End::RillmEndMaxTokens;
            }
            if self.session.tokens().len() >= self.session.plan().context {
                break End::RillmEndContextFull;
            }
            if !print("") {
                break End::RillmEndStopped;
            }
            if block_on(self.session.prefill())? {
                continue;
            }
            let token = block_on(self.session.next(&sampling))?;
            self.generated += 1;
            let ended = self.model.header().is_eos(token.id);
            // All of a token's text comes: what goes on later goes on after it.
            let mut go_on = true;
            for piece in self.decoder.push(token.kind, token.text) {
                go_on &= print(piece);
            }
            if ended {
                break End::RillmEndOfText;
            }
            if !go_on {
                break End::RillmEndStopped;
            }
        };
        // Of a text that may go on, the rest of a character may still come.
        if let End::RillmEndOfText | End::RillmEndContextFull = self.end {
            let rest = self.decoder.finish();
            if !rest.is_empty() {
                print(rest);
            }
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
            generated_tokens: self.generated,
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
