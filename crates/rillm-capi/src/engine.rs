//! The model, session and text behind a handle.

use core::ffi::{c_char, c_int};
use core::ptr::null;

use rillm::{Chat, Choice, Memory, Model, Nats, Q16, Sampling, Session, block_on};
use rillm_generate::{Generation, Step, StopReason, StopStrings};

use crate::chat_place::ChatPlace;
use crate::cores::Cores;
use crate::place::Region;
use crate::setup::Setup;
use crate::source::CallerSource;
use crate::status::Failure;
use crate::stops::Stops;

/// Sampling settings, and the limit of the text. All zeros: always the likeliest token, as many tokens as fit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Largest number of tokens to generate; 0 for as many as fit.
    pub max_tokens: u32,
    /// Higher is more random; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Choose among this many of the likeliest tokens, 256 at most; 0 for all.
    pub top_k: u32,
    /// Choose among the fewest tokens whose probabilities add up to this; 0, and from 1 on, for all.
    pub top_p: f32,
    /// Choose among tokens with at least this share of the probability of the likeliest one; 0 for all.
    pub min_p: f32,
    /// Make the last 64 tokens less likely to be repeated: divides their logits, if positive. 0 and 1 for no penalty.
    pub repeat_penalty: f32,
    /// Seed of the random numbers: the same seed gives the same text.
    pub seed: u64,
    /// Zero-terminated strings before which the text ends: `stop_count` of them, at most 4, of at most 64 bytes. They are
    /// copied where a text begins, and hold for its continuations. Text that may be the beginning of one is held back until
    /// the next tokens show it. NULL if `stop_count` is 0.
    pub stop: *const *const c_char,
    /// Number of strings in `stop`.
    pub stop_count: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_tokens: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 0.0,
            min_p: 0.0,
            repeat_penalty: 0.0,
            seed: 0,
            stop: null(),
            stop_count: 0,
        }
    }
}

/// Why a text ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// There is no text, or it failed. A prompt of NULL continues it.
    #[default]
    RillmEndNone = 0,
    /// The model generated an end-of-text token.
    RillmEndOfText = 1,
    /// max_tokens were generated. A prompt of NULL continues the text.
    RillmEndMaxTokens = 2,
    /// The context has no room for another token.
    RillmEndContextFull = 3,
    /// The callback ended it. A prompt of NULL continues the text.
    RillmEndStopped = 4,
    /// The model generated one of the stop strings.
    RillmEndStopString = 5,
}

impl From<StopReason> for End {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::MaxTokens => Self::RillmEndMaxTokens,
            StopReason::ContextFull => Self::RillmEndContextFull,
            StopReason::EndOfText => Self::RillmEndOfText,
            StopReason::StopString => Self::RillmEndStopString,
            StopReason::Interrupted => Self::RillmEndStopped,
        }
    }
}

/// Statistics since rillm_init, and of the last text.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Why the last rillm_generate ended.
    pub end: End,
    /// Tokens of the last prompt, beginning-of-text token included.
    pub prompt_tokens: u32,
    /// Tokens that the last rillm_generate generated.
    pub generated_tokens: u32,
    /// In a chat, the number of oldest turns that were forgotten to make room for the last one and its answer.
    pub forgotten_turns: u32,
    /// Length of the context in tokens, prompt and answer together.
    pub context: u32,
    /// Since rillm_init: tokens computed, prompts included.
    pub tokens: u64,
    /// Since rillm_init: reads, their bytes, and seeks: reads that did not start where the one before ended.
    pub reads: u64,
    /// See `reads`.
    pub read_bytes: u64,
    /// See `reads`.
    pub seeks: u64,
    /// Since rillm_init: bytes of weights that were in memory and not read.
    pub resident_bytes: u64,
}

/// Largest number of options of rillm_choose.
pub const RILLM_OPTIONS_MAX: usize = 32;

/// A model, its session, and the current text.
pub struct Engine {
    model: &'static Model,
    session: Session<'static, CallerSource>,
    generation: Generation<'static>,
    /// The stop strings of `generation`.
    stops: Stops,
    /// The chat of `generation`, if the current text is one.
    chat: ChatPlace,
    is_chat: bool,
    /// Turns of the chat that were forgotten for the last one.
    forgotten: u32,
    /// If the current text was pushed or restored and nothing of it generated: a text that stands for its beginning.
    begun: Option<&'static str>,
    prompt_tokens: usize,
    end: End,
}

impl Engine {
    /// Opens the model and places it in `memory`.
    pub fn open(
        setup: &Setup,
        mut source: CallerSource,
        memory: &mut Region<'static>,
        external: &mut Region<'static>,
    ) -> Result<Self, Failure> {
        let cores = Cores::of(setup)?;
        let model = block_on(Model::open(&mut source))?;
        let plan = setup.plan(&model, &source)?;
        // The plan leaves room for the handle, the model, the stop strings, a chat and the cores, wherever the memory starts.
        let none = Failure::Setup("setup.memory is smaller than setup.memory_len");
        let (stops, chat) = (Stops::place(memory).ok_or(none)?, ChatPlace::take(memory).ok_or(none)?);
        let model: &Model = memory.place(model).ok_or(none)?;
        let len = plan.memory();
        let cores = match cores {
            Some(cores) => Some(memory.place(cores).ok_or(none)?),
            None => None,
        };
        let memory = Memory {
            internal: memory.bytes(len.internal).ok_or(none)?,
            external: external.bytes(len.external).ok_or(none)?,
        };
        let mut session = Session::from_plan(model, source, plan, memory).map_err(|_| none)?;
        if let Some(cores) = cores {
            session.set_multiplier(&*cores);
        }
        let generation = Generation::new(model, "", Sampling::GREEDY);
        let (is_chat, forgotten, begun, prompt_tokens, end) = (false, 0, None, 0, End::RillmEndNone);
        Ok(Self { model, session, generation, stops, chat, is_chat, forgotten, begun, prompt_tokens, end })
    }

    /// Generates a text after `prompt`, or continues the current one. `print` receives the text as it comes, and an
    /// empty string before each pass over the weights. If it returns false, the text ends.
    pub fn generate(
        &mut self,
        prompt: Option<&str>,
        config: &Config,
        stops: &[&str],
        mut print: impl FnMut(&str) -> bool,
    ) -> Result<(), Failure> {
        let sampling = config.sampling()?;
        StopStrings::new(stops)?;
        let most = if config.max_tokens == 0 { usize::MAX } else { config.max_tokens as usize };
        match prompt {
            Some(turn) if self.is_chat => self.ask(turn)?,
            Some(prompt) => {
                self.reset();
                self.push(prompt)?;
            }
            None => {}
        }
        self.end = End::RillmEndNone;
        if let Some(begun) = self.begun.take() {
            self.generation = Generation::new(self.model, begun, sampling);
            // SAFETY: the generation before, which alone had the filter and the chat before, is gone.
            let (filter, chat) = unsafe { (self.stops.copy(stops), self.chat.get()) };
            let generation = Generation::new(self.model, begun, sampling).stop_strings(filter);
            self.generation = match chat {
                Some(chat) if self.is_chat => generation.in_chat(chat),
                _ => generation,
            };
        }
        let Self { session, generation, end, .. } = self;
        generation.resume(sampling, most);
        *end = loop {
            if let Some(reason) = generation.done(session) {
                break reason.into();
            }
            if !print("") {
                break End::RillmEndStopped;
            }
            if let Step::Token(text) = block_on(generation.step(session))? {
                // All pieces of a token are printed, so that a continuation starts at the next token.
                let go_on = text.fold(true, |go_on, piece| print(piece) & go_on);
                let ended = matches!(generation.done(session), Some(StopReason::EndOfText | StopReason::StopString));
                if !go_on && !ended {
                    break End::RillmEndStopped;
                }
            }
        };
        // A text that can be continued may still complete its last character.
        if let End::RillmEndOfText | End::RillmEndContextFull = *end {
            generation.finish().for_each(|rest| _ = print(rest));
        }
        Ok(())
    }

    /// Starts a chat with a system prompt, or as the template starts without one. The current text ends.
    pub fn start_chat(&mut self, system: Option<&str>) -> Result<(), Failure> {
        self.reset();
        let chat = block_on(Chat::new(&mut self.session, system))?;
        self.prompt_tokens = self.session.tokens().len();
        // SAFETY: the generation of `reset` has no chat.
        unsafe { self.chat.set(chat) };
        (self.is_chat, self.begun) = (true, Some(""));
        Ok(())
    }

    /// Appends a turn to the chat.
    fn ask(&mut self, turn: &str) -> Result<(), Failure> {
        // An answer is a text of its own, whose leading space is not printed.
        self.begun = Some("");
        (self.prompt_tokens, self.forgotten, self.end) = (0, 0, End::RillmEndNone);
        self.generation = Generation::new(self.model, "", Sampling::GREEDY);
        // SAFETY: the generation before, which alone had the chat, is gone.
        let Some(chat) = (unsafe { self.chat.get() }) else { return Ok(()) };
        self.forgotten = block_on(chat.ask(&mut self.session, turn))?;
        self.prompt_tokens = self.session.tokens().len();
        Ok(())
    }

    /// Appends `text` to the current one.
    pub fn push(&mut self, text: &str) -> Result<(), Failure> {
        let is_first = self.session.tokens().is_empty();
        block_on(self.session.push_text(text))?;
        self.prompt_tokens = self.session.tokens().len();
        self.end = End::RillmEndNone;
        self.begun = Some(if is_first && text.is_empty() { "" } else { " " });
        Ok(())
    }

    /// The tokens that `text` would append to the current one go to `copy`.
    pub fn tokenize<T>(&mut self, text: &str, copy: impl FnOnce(&[u32]) -> T) -> Result<T, Failure> {
        let len = self.session.tokens().len();
        block_on(self.session.push_text(text))?;
        let copied = copy(&self.session.tokens()[len..]);
        self.session.truncate(len);
        Ok(copied)
    }

    /// Saves the current text and what was computed of it through `write`, which returns 0 or why it failed.
    pub fn save(&self, mut write: impl FnMut(&[u8]) -> c_int) -> Result<(), Failure> {
        self.session.save(|bytes| match write(bytes) {
            0 => Ok(()),
            code => Err(Failure::Write(code)),
        })
    }

    /// Replaces the current text by a saved one.
    pub fn restore(&mut self, mut read: impl FnMut(&mut [u8]) -> c_int) -> Result<(), Failure> {
        self.reset();
        let restored = self.session.restore(|bytes| match read(bytes) {
            0 => Ok(()),
            code => Err(code),
        });
        restored.map_err(Failure::Restore)?;
        self.prompt_tokens = self.session.tokens().len();
        self.begun = Some(" ");
        Ok(())
    }

    /// Ends the current text.
    pub fn reset(&mut self) {
        self.session.reset();
        self.generation = Generation::new(self.model, "", Sampling::GREEDY);
        (self.is_chat, self.forgotten) = (false, 0);
        (self.begun, self.prompt_tokens, self.end) = (None, 0, End::RillmEndNone);
    }

    /// Chooses among the texts that `text` returns, after the current text and `prompt`. Returns the index of the
    /// likeliest one, and passes the logarithm of each probability to `result`.
    pub fn choose<'t>(
        &mut self,
        prompt: &str,
        count: usize,
        text: impl Fn(usize) -> Result<&'t str, Failure>,
        mut result: impl FnMut(usize, f64),
    ) -> Result<usize, Failure> {
        if count > RILLM_OPTIONS_MAX {
            return Err(Failure::Options(count));
        }
        let mut choices = [const { Choice::new("") }; RILLM_OPTIONS_MAX];
        let choices = &mut choices[..count];
        for (index, choice) in choices.iter_mut().enumerate() {
            *choice = Choice::new(text(index)?);
        }
        let best = block_on(self.session.choose(prompt, choices))?;
        for (index, choice) in choices.iter().enumerate() {
            let Nats(bits) = choice.log_probability();
            result(index, bits as f64 / f64::from(1u32 << Nats::FRACTION_BITS));
        }
        Ok(best)
    }

    /// All tokens of the current text, prompt and answer.
    pub fn tokens(&self) -> &[u32] {
        self.session.tokens()
    }

    /// The statistics so far.
    pub fn stats(&self) -> Stats {
        let stats = self.session.stats();
        Stats {
            end: self.end,
            prompt_tokens: self.prompt_tokens as u32,
            generated_tokens: self.generation.generated() as u32,
            forgotten_turns: self.forgotten + self.generation.forgotten_turns(),
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
        let min_p = q16("min_p", self.min_p)?;
        let penalty = q16("repeat_penalty", self.repeat_penalty)?;
        let sampling = Sampling::GREEDY.temperature(temperature).top_k(self.top_k).top_p(top_p).seed(self.seed);
        Ok(sampling.min_p(min_p).repeat_penalty(penalty))
    }
}

/// The nearest number with 16 fraction bits, or the largest one.
fn q16(field: &'static str, value: f32) -> Result<Q16, Failure> {
    if value.is_nan() {
        return Err(Failure::Number(field, "not a number"));
    }
    if value < 0.0 {
        return Err(Failure::Number(field, "negative"));
    }
    Ok(Q16((value * 65536.0 + 0.5) as u32))
}
