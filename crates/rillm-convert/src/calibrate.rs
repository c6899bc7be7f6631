//! Quantises a checkpoint's matrices with text that they are used on, and distils what comes of it.

use std::ops::ControlFlow;

use rillm_quantise::calibration::{given_texts, own_texts};
use rillm_quantise::distil::{self, Schedule, distil};
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::{self, QuantisedModel};
use rillm_quantise::weights::Weights;

use crate::chat::tokens;
use crate::checkpoint::Checkpoint;
use crate::write::{TokenizerSections, WriteError};

/// The most texts to distil with, and tokens of each. stories260K's KL divergence becomes 0.042 with half as many tokens, and
/// 0.038 with these.
const TEXTS: usize = 256;
const LENGTH: usize = 128;
/// Texts of these to calibrate with. Twice as many change the KL divergence by less than other seeds do.
const CALIBRATION_TEXTS: usize = 64;
/// The fewest tokens of a given text: with fewer, most columns of a small model have hardly been used.
const LEAST_TOKENS: usize = 1024;
/// The seed of texts that the model writes.
const SEED: u64 = 1;

/// What is done of a calibration.
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

/// Quantises every tensor of a checkpoint as `mix` says, in groups of `group` values, a power of two from 16 to 512; int4
/// matrices with error feedback ([`rillm_quantise::gptq`]). If the layers are int4, scales, norms and biases
/// are then distilled ([`rillm_quantise::distil`](mod@rillm_quantise::distil)). The text is the first tokens of `text`, or else what the model
/// writes. The same input gives the same bytes. `progress` may break off.
///
/// The model is in memory in float32 twice meanwhile, 8 bytes a parameter, with the activations of 8,192 tokens in one layer
/// and then of 512 tokens in all layers.
///
/// # Errors
/// [`WriteError::Interrupted`], [`NotFinite`](WriteError::NotFinite), [`Calibration`](WriteError::Calibration),
/// [`ShortCalibration`](WriteError::ShortCalibration) or [`Group`](WriteError::Group).
pub fn quantise(
    checkpoint: &Checkpoint,
    tokenizer: &TokenizerSections,
    mix: Mix,
    group: u32,
    text: Option<&str>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<QuantisedModel, WriteError> {
    if !(group.is_power_of_two() && (16..=512).contains(&group)) {
        return Err(WriteError::Group { found: group });
    }
    let config = checkpoint.config();
    let length = LENGTH.min(config.context_length as usize).max(2);
    let schedule = Schedule::for_model(config);
    // A large model's steps are few: it need not write more than it trains with twice.
    let texts = (schedule.steps as usize * schedule.tokens / length / 2).clamp(CALIBRATION_TEXTS, TEXTS);
    let given = match text {
        None => None,
        Some(text) => {
            let tokens = tokens::encode(&tokenizer.tokenizer, config.vocab_size, text)
                .map_err(|error| WriteError::Calibration { problem: error.to_string() })?;
            if tokens.len() < LEAST_TOKENS {
                return Err(WriteError::ShortCalibration { tokens: tokens.len(), least: LEAST_TOKENS });
            }
            Some(given_texts(&tokens, config.bos, length, texts))
        }
    };
    let mut weights = Weights::new(config, |kind, layer| checkpoint.tensor(kind, layer));
    let texts = match given {
        Some(texts) => texts,
        None => {
            let tokens = texts * length;
            let own = own_texts(&weights, texts, length, SEED, |tokens_done| {
                progress(Progress::Text { tokens_done, tokens })
            });
            match own {
                ControlFlow::Continue(texts) => texts,
                ControlFlow::Break(()) => return Err(WriteError::Interrupted),
            }
        }
    };
    // Layers of 8 bits leave nothing to gain, and would be bent towards a head whose best logits are computed again.
    let float = (mix.layers == Bits::Four).then(|| weights.clone());
    let calibration = &texts[..texts.len().min(CALIBRATION_TEXTS)];
    let mut model = model::quantise(&mut weights, mix, group, calibration, |done| progress(Progress::Tensors(done)))?;
    let Some(float) = float else { return Ok(model) };
    let mut state = ControlFlow::Continue(());
    distil(&float, &mut weights, &mut model, &texts, schedule, |done| {
        state = progress(Progress::Distillation(done));
        state
    });
    if state.is_break() { Err(WriteError::Interrupted) } else { Ok(model) }
}
