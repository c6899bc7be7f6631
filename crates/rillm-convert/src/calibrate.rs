//! Quantises a checkpoint's matrices with text that they are used on, and distils what comes of it.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use rillm_quantise::calibration::{given_texts, own_texts};
use rillm_quantise::distil::{self, Schedule, distil};
use rillm_quantise::mix::Bits;
use rillm_quantise::model::{self, QuantisedModel};
use rillm_quantise::weights::Weights;

use crate::chat::tokens;
use crate::checkpoint::Checkpoint;
use crate::write::{Options, TokenizerSections, WriteError};

/// The most texts to distil with, and tokens of each. stories260K's KL divergence becomes 0.042 with half as many tokens, and
/// 0.038 with these.
const TEXTS: usize = 256;
const LENGTH: usize = 128;
/// Tokens to calibrate with, for each column of the widest matrix: each of its rows is fitted to them with a number for a column.
/// With 10 instead of 3, the KL divergence of SmolLM2-135M falls by a third; with 190 instead of 48, that of stories260K by 3 %.
const CALIBRATION_TOKENS_A_COLUMN: usize = 16;
/// The fewest and the most.
const CALIBRATION_TOKENS: [usize; 2] = [8_192, 32_768];
/// The fewest tokens of a given text: with fewer, most columns of a small model have hardly been used.
const LEAST_TOKENS: usize = 1024;
/// The seed of texts that the model writes to be calibrated with, and of those to judge by.
const SEED: u64 = 1;
const JUDGING_SEED: u64 = 2;
/// Products of weights and values to judge by: at most minutes.
const JUDGING_WORK: u64 = 200_000_000_000;

/// Progress of a calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// The model writes the text.
    Text {
        /// Tokens so far.
        tokens_done: usize,
        /// Tokens of all texts.
        tokens: usize,
    },
    /// Tensors are quantised.
    Tensors(model::Progress),
    /// Scales, norms and biases are distilled.
    Distillation(distil::Progress),
}

/// A checkpoint in float32 and a text that it is used on, to quantise it to one mix of widths or to several.
#[derive(Clone, Debug)]
pub struct Calibrator {
    float: Arc<Weights>,
    schedule: Schedule,
    /// Tokens of a text.
    length: usize,
    /// Texts to calibrate with.
    calibration_texts: usize,
    /// Texts to distil with, of which those to calibrate with are the first.
    most_texts: usize,
    /// Whether the texts were given; if not, they are those that the model has written so far.
    given: bool,
    texts: Vec<Vec<u32>>,
}

impl Calibrator {
    /// Loads a checkpoint, which takes 4 bytes a parameter. The text is the first tokens of `text`, or else what the model
    /// writes once it is needed.
    ///
    /// # Errors
    /// [`Calibration`](WriteError::Calibration) or [`ShortCalibration`](WriteError::ShortCalibration).
    pub fn new(checkpoint: &Checkpoint, tokenizer: &TokenizerSections, text: Option<&str>) -> Result<Self, WriteError> {
        let config = checkpoint.config();
        let length = LENGTH.min(config.context_length as usize).max(2);
        let schedule = Schedule::for_model(config);
        let widest = config.tensors().map(|(kind, _)| config.shape(kind).1).max().unwrap_or(0);
        let [least, most] = CALIBRATION_TOKENS;
        let calibration_texts = (CALIBRATION_TOKENS_A_COLUMN * widest).clamp(least, most) / LENGTH;
        // A large model's steps are few: it need not write more than it trains with twice.
        let most_texts = (schedule.steps as usize * schedule.tokens / length / 2).clamp(calibration_texts, TEXTS);
        let texts = match text {
            None => vec![],
            Some(text) => {
                let tokens = tokens::encode(&tokenizer.tokenizer, config.vocab_size, text)
                    .map_err(|error| WriteError::Calibration { problem: error.to_string() })?;
                if tokens.len() < LEAST_TOKENS {
                    return Err(WriteError::ShortCalibration { tokens: tokens.len(), least: LEAST_TOKENS });
                }
                given_texts(&tokens, config.bos, length, most_texts)
            }
        };
        let float = Arc::new(checkpoint.weights());
        Ok(Self { float, schedule, length, calibration_texts, most_texts, given: text.is_some(), texts })
    }

    /// The weights in float32.
    pub fn float(&self) -> &Arc<Weights> {
        &self.float
    }

    /// Texts that the model writes and that are not used to quantise it, to judge the result by: 32 of 128 tokens, or of as
    /// many as the context holds; of a large model fewer, at least 8. `progress` may break off.
    ///
    /// # Errors
    /// [`WriteError::Interrupted`].
    pub fn judges(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Vec<Vec<u32>>, WriteError> {
        let weights = self.float.config.header().parameters();
        let texts = (JUDGING_WORK / weights / self.length as u64).clamp(8, 32);
        self.write_texts(0..texts as usize, JUDGING_SEED, &mut progress)
    }

    /// Quantises every tensor to the mix and groups of `options`: int4 matrices with error feedback
    /// ([`rillm_quantise::gptq`]). If the layers are int4, scales, norms and biases are then distilled
    /// ([`rillm_quantise::distil`](mod@rillm_quantise::distil)). No tensor, if the mix has none of int4. The same input gives the
    /// same bytes. `progress` may break off.
    ///
    /// The model is in memory in float32 twice meanwhile, 8 bytes a parameter, with the activations of at most 32,768 tokens in one layer
    /// and then of 512 tokens in all layers.
    ///
    /// # Errors
    /// [`WriteError::Interrupted`], [`NotFinite`](WriteError::NotFinite) or [`Group`](WriteError::Group).
    pub fn quantise(
        &mut self,
        options: Options,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<QuantisedModel, WriteError> {
        let Options { mix, group, .. } = options;
        if !(group.is_power_of_two() && (16..=512).contains(&group)) {
            return Err(WriteError::Group { found: group });
        }
        if !mix.has_int4() {
            return Ok(QuantisedModel::new());
        }
        // Layers of 8 bits leave nothing to gain by distillation, and would be bent towards a head whose best logits are
        // computed again.
        let is_distilled = mix.layers == Bits::Four;
        let needed = if is_distilled { self.most_texts } else { self.calibration_texts };
        if !self.given && self.texts.len() < needed {
            let more = self.write_texts(self.texts.len()..needed, SEED, &mut progress)?;
            self.texts.extend(more);
        }
        let mut weights = Weights::clone(&self.float);
        let calibration = &self.texts[..self.texts.len().min(self.calibration_texts)];
        let mut model =
            model::quantise(&mut weights, mix, group, calibration, |done| progress(Progress::Tensors(done)))?;
        if !is_distilled {
            return Ok(model);
        }
        let mut state = ControlFlow::Continue(());
        distil(&self.float, &mut weights, &mut model, &self.texts, self.schedule, |done| {
            state = progress(Progress::Distillation(done));
            state
        });
        if state.is_break() { Err(WriteError::Interrupted) } else { Ok(model) }
    }

    fn write_texts(
        &self,
        texts: Range<usize>,
        seed: u64,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Vec<u32>>, WriteError> {
        let tokens = texts.len() * self.length;
        let written = own_texts(&self.float, texts, self.length, seed, |tokens_done| {
            progress(Progress::Text { tokens_done, tokens })
        });
        written.continue_value().ok_or(WriteError::Interrupted)
    }
}
