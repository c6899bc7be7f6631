//! The types of JavaScript.

use js_sys::Promise;
use rillm::{Bytes, Chat, Memory, Model, Plan, PlanOptions, Session, WeightSource, block_on};
use rillm_flash_image::FlashImage;
use rillm_generate::{Check, Generation, Step, StopReason, StopStrings};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::board::{self, BoardPlan};
use crate::settings::{BoardChoice, Place, Settings};

#[wasm_bindgen]
extern "C" {
    /// What the page does meanwhile: an object with these methods.
    pub type Listener;

    /// A batch of the prompt was computed, with an empty `piece`, or a token was generated, with the text that is final by
    /// now. `tokens` counts those that are computed, of prompt and answer, `generated` those of the answer; `reads`, `bytes` and
    /// `seeks` are the session's. If a promise is returned, it is awaited, and a value that is true ends the text.
    #[wasm_bindgen(method)]
    fn step(
        this: &Listener,
        piece: &str,
        tokens: usize,
        generated: usize,
        reads: f64,
        bytes: f64,
        seeks: f64,
    ) -> Option<Promise>;

    /// The session is open; `info` is JSON: `prompt_tokens` and `context`.
    #[wasm_bindgen(method)]
    fn opened(this: &Listener, info: &str);

    /// The answer of a chat is complete; `result` is JSON as [`ModelFile::write`] returns it. The promise is for what is said
    /// next, `undefined` to end the chat.
    #[wasm_bindgen(method)]
    fn answered(this: &Listener, result: Option<String>) -> Promise;
}

/// All boards, as JSON.
#[wasm_bindgen]
pub fn boards() -> String {
    board::boards().to_string()
}

/// A `.rillm` file in memory.
#[wasm_bindgen]
pub struct ModelFile {
    bytes: Vec<u8>,
    model: Model,
}

#[wasm_bindgen]
impl ModelFile {
    /// Opens a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: Vec<u8>) -> Result<Self, JsError> {
        let model = block_on(Model::open(&mut Bytes::lent(&bytes))).map_err(error)?;
        let (len, expected) = (bytes.len() as u64, model.header().file_len());
        if len < expected {
            let message =
                format!("the file has {len} bytes and should have {expected}: it was not copied whole; copy it again");
            return Err(JsError::new(&message));
        }
        Ok(Self { bytes, model })
    }

    /// The model as JSON.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn describe(&self) -> Result<String, JsError> {
        let read = |offset: u64, len| self.bytes.get(offset as usize..)?.get(..len);
        Ok(board::describe(&self.model, self.bytes.len() as u64, read).map_err(error)?.to_string())
    }

    /// The image of a board's flash with this model in place of the image's.
    ///
    /// # Errors
    /// It is no image of rillm's, or the model is too long for it.
    pub fn in_image(&self, image: &[u8]) -> Result<Vec<u8>, JsError> {
        FlashImage::parse(image).and_then(|image| image.with_model(&self.bytes)).map_err(error)
    }

    /// The model's plan on a board, as JSON. `choice` is a [`BoardChoice`].
    ///
    /// # Errors
    /// The board has too little memory or storage for the model.
    pub fn plan(&self, choice: &str) -> Result<String, JsError> {
        let choice: BoardChoice = serde_json::from_str(choice).map_err(error)?;
        Ok(self.board_plan(&choice)?.json(&self.model).to_string())
    }

    /// Continues a prompt. `settings` are [`Settings`]. Returns the end of the text and its figures as JSON.
    ///
    /// # Errors
    /// A setting is out of range, the prompt too long, or the memory too small.
    pub async fn write(&self, settings: String, listener: Listener) -> Result<String, JsError> {
        let settings: Settings = serde_json::from_str(&settings).map_err(error)?;
        let stops: Vec<&str> = settings.stop.iter().map(String::as_str).collect();
        let stops = StopStrings::new(&stops).map_err(error)?;
        let sampling = settings.sampling().map_err(|message| JsError::new(&message))?;
        let (plan, source) = self.place(&settings, sampling.top_k)?;
        let (mut internal, mut external) = memory(&plan);
        let memory = Memory { internal: &mut internal, external: &mut external };
        let mut session = Session::from_plan(&self.model, source, plan, memory).map_err(error)?;
        session.push_text(&settings.prompt).await.map_err(error)?;
        opened(&session, &listener);
        let generation = Generation::new(&self.model, &settings.prompt, sampling)
            .max_tokens(settings.max_tokens)
            .stop_strings(stops)
            .with_fingerprint();
        Ok(generate(&mut session, generation, &listener).await?.to_string())
    }

    /// Chats, turn by turn, until the listener ends it. The system prompt is `prompt` of `settings`.
    ///
    /// # Errors
    /// The model has no chat template, a setting is out of range, a turn too long, or the memory too small.
    pub async fn chat(&self, settings: String, listener: Listener) -> Result<(), JsError> {
        let settings: Settings = serde_json::from_str(&settings).map_err(error)?;
        let stops: Vec<&str> = settings.stop.iter().map(String::as_str).collect();
        let stops = StopStrings::new(&stops).map_err(error)?;
        let sampling = settings.sampling().map_err(|message| JsError::new(&message))?;
        let (plan, source) = self.place(&settings, sampling.top_k)?;
        let (mut internal, mut external) = memory(&plan);
        let memory = Memory { internal: &mut internal, external: &mut external };
        let mut session = Session::from_plan(&self.model, source, plan, memory).map_err(error)?;
        let system = Some(settings.prompt.as_str()).filter(|prompt| !prompt.is_empty());
        let mut chat = Chat::new(&mut session, system).await.map_err(error)?;
        opened(&session, &listener);
        let mut result = None;
        loop {
            let said = JsFuture::from(listener.answered(result.take()))
                .await
                .map_err(|_| JsError::new("the chat was broken off"))?;
            let Some(said) = said.as_string() else { return Ok(()) };
            chat.ask(&mut session, &said).await.map_err(error)?;
            let generation = Generation::new(&self.model, "", sampling)
                .max_tokens(settings.max_tokens)
                .stop_strings(stops.clone())
                .in_chat(&mut chat);
            result = Some(generate(&mut session, generation, &listener).await?.to_string());
        }
    }
}

impl ModelFile {
    fn board_plan(&self, choice: &BoardChoice) -> Result<BoardPlan, JsError> {
        let source = self.source(choice.flash);
        let plan = BoardPlan::new(&self.model, &source, self.bytes.len() as u64, choice);
        plan.map_err(|message| JsError::new(&message))
    }

    /// The file, lent as from flash, or read as from a card.
    fn source(&self, lent: bool) -> Bytes<'_> {
        if lent { Bytes::lent(&self.bytes) } else { Bytes::copied(&self.bytes) }
    }

    fn place(&self, settings: &Settings, top_k: u32) -> Result<(Plan, Bytes<'_>), JsError> {
        match &settings.place {
            Place::Computer { ram } => {
                let candidates = PlanOptions::default().candidates.max(top_k as usize);
                let options = PlanOptions::default().candidates(candidates);
                let source = self.source(true);
                let plan =
                    Plan::new(&self.model, &source, rillm::MemoryLen::internal(*ram), &options).map_err(error)?;
                Ok((plan, source))
            }
            Place::Board(choice) => Ok((self.board_plan(choice)?.plan, self.source(choice.flash))),
        }
    }
}

fn error(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

/// Internal and external memory for a plan.
fn memory(plan: &Plan) -> (Vec<u8>, Vec<u8>) {
    let needed = plan.memory();
    (vec![0; needed.internal], vec![0; needed.external])
}

fn opened<S: WeightSource>(session: &Session<'_, S>, listener: &Listener) {
    let info = json!({"prompt_tokens": session.tokens().len(), "context": session.plan().context});
    listener.opened(&info.to_string());
}

/// Steps a generation to its end.
async fn generate<S: WeightSource<Error: std::fmt::Display>>(
    session: &mut Session<'_, S>,
    mut generation: Generation<'_>,
    listener: &Listener,
) -> Result<Value, JsError> {
    let prompt_tokens = session.tokens().len();
    let stop = loop {
        let piece = match generation.step(session).await.map_err(error)? {
            Step::Prefill => String::new(),
            Step::Token(text) => text.to_string(),
            Step::Done(reason) => break reason,
        };
        let traffic = session.stats().traffic;
        let [reads, bytes, seeks] = [traffic.reads, traffic.bytes, traffic.seeks].map(|count| count as f64);
        let generated = generation.generated();
        let tokens = if generated == 0 { session.computed() } else { session.tokens().len() };
        if let Some(pause) = listener.step(&piece, tokens, generated, reads, bytes, seeks) {
            let ends = JsFuture::from(pause).await.map_err(|_| JsError::new("the text was broken off"))?;
            if ends.is_truthy() {
                break StopReason::Interrupted;
            }
        }
    };
    let rest = generation.finish().to_string();
    let ids = session.tokens();
    Ok(json!({
        "rest": rest,
        "stop": match stop {
            StopReason::EndOfText => "end_of_text",
            StopReason::StopString => "stop_string",
            StopReason::MaxTokens => "max_tokens",
            StopReason::ContextFull => "context_full",
            StopReason::Interrupted => "interrupted",
        },
        "prompt_tokens": prompt_tokens,
        "generated_tokens": generation.generated(),
        "forgotten_turns": generation.forgotten_turns(),
        "check": generation.fingerprint().map(|logits| Check { ids, logits }.to_string()),
    }))
}
