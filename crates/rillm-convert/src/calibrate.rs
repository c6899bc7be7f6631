//! Quantises a checkpoint's matrices with text that they are used on.

use std::ops::ControlFlow;

use rillm_quantise::calibration::{given_texts, own_texts};
use rillm_quantise::mix::Mix;
use rillm_quantise::model::{self, QuantisedModel};
use rillm_quantise::weights::Weights;

use crate::chat::tokens;
use crate::checkpoint::Checkpoint;
use crate::write::{TokenizerSections, WriteError};

/// Texts to calibrate with, and tokens of each. Twice as many change the KL divergence by less than other seeds do.
const TEXTS: usize = 64;
const LENGTH: usize = 128;
/// The fewest tokens of a given text: with fewer, most columns of a small model have hardly been used.
const LEAST_TOKENS: usize = 1024;
/// The seed of texts that the model writes.
const SEED: u64 = 1;

/// What is done of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// Quantises every tensor of a checkpoint as `mix` says, in groups of `group` values, a power of two from 16 to 512; int4
/// matrices with error feedback ([`rillm_quantise::gptq`]). It is calibrated with the first tokens of `text`, or else with texts
/// that the model writes. The same input gives the same bytes. `progress` may break off.
///
/// The model is in memory in float32 meanwhile, 4 bytes a parameter, with the activations of 8,192 tokens.
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
    let given = match text {
        None => None,
        Some(text) => {
            let tokens = tokens::encode(&tokenizer.tokenizer, config.vocab_size, text)
                .map_err(|error| WriteError::Calibration { problem: error.to_string() })?;
            if tokens.len() < LEAST_TOKENS {
                return Err(WriteError::ShortCalibration { tokens: tokens.len(), least: LEAST_TOKENS });
            }
            Some(given_texts(&tokens, config.bos, length, TEXTS))
        }
    };
    let mut weights = Weights::new(config, |kind, layer| checkpoint.tensor(kind, layer));
    let texts = match given {
        Some(texts) => texts,
        None => {
            let tokens = TEXTS * length;
            let own = own_texts(&weights, TEXTS, length, SEED, |tokens_done| {
                progress(Progress::Text { tokens_done, tokens })
            });
            match own {
                ControlFlow::Continue(texts) => texts,
                ControlFlow::Break(()) => return Err(WriteError::Interrupted),
            }
        }
    };
    Ok(model::quantise(&mut weights, mix, group, &texts, |done| progress(Progress::Tensors(done)))?)
}
