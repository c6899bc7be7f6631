//! The cases to run on the boards: models, memory layouts, and texts.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rillm::{Q16, Sampling};
use rillm_firmware_builder::root;
use rillm_generate::number::Decimal;

use crate::machine::{Board, Setup, Storage};
use crate::{bundled_model, command, say};

/// A text to generate.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The prompt.
    pub prompt: &'static str,
    /// How its tokens are chosen.
    pub sampling: Sampling,
    /// Number of tokens to generate.
    pub tokens: usize,
}

impl Request {
    /// The console commands for its settings.
    pub fn settings(&self) -> [String; 5] {
        let Sampling { temperature, top_k, top_p, seed, .. } = self.sampling;
        [
            format!("/temp {}", Decimal(temperature)),
            format!("/top_k {top_k}"),
            format!("/top_p {}", Decimal(top_p)),
            format!("/seed {seed}"),
            format!("/max {}", self.tokens),
        ]
    }

    /// The sampling in a few words.
    pub fn describe(&self) -> String {
        let Sampling { temperature, top_k, top_p, seed, .. } = self.sampling;
        match (temperature, top_k) {
            (Q16::ZERO, _) => "greedy".to_owned(),
            (_, 0) => format!("T {}, top-p {}, seed {seed}", Decimal(temperature), Decimal(top_p)),
            _ => format!("T {}, top-k {top_k}, seed {seed}", Decimal(temperature)),
        }
    }
}

/// The memory of a board, and where the model is stored.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Name of the layout.
    pub name: &'static str,
    /// Where the model is stored.
    pub source: Storage,
    /// Bytes of SRAM for the engine; without it, all that the board has.
    pub ram: Option<u64>,
    /// Bytes of PSRAM.
    pub psram: u64,
    /// Length of the context in tokens; without it, as the engine plans it.
    pub context: Option<u32>,
}

impl Layout {
    /// Whether the board supports this layout.
    pub fn is_for(&self, board: Board) -> bool {
        self.source == Storage::Card || board.has_flash()
    }

    /// The options that boot a board with this layout.
    pub fn setup(&self, trace: Option<PathBuf>) -> Setup {
        let Self { source, ram, psram, context, .. } = *self;
        Setup { source, ram, psram, context, trace, ..Setup::default() }
    }
}

/// A memory layout, and the texts of one session in it.
pub struct Case {
    /// The memory layout.
    pub layout: Layout,
    /// The texts.
    pub texts: Vec<Request>,
}

/// A model and its cases.
pub struct Model {
    /// Name of the model.
    pub name: &'static str,
    /// Path of the file.
    pub path: PathBuf,
    /// The cases to run.
    pub cases: Vec<Case>,
}

const SAMPLED: Sampling = Sampling::GREEDY.temperature(Q16::thousandths(800)).top_p(Q16::thousandths(950)).seed(7);
const TOP_K: Sampling = Sampling::GREEDY.temperature(Q16::thousandths(1200)).top_k(40).seed(1 << 40);

const WORD: &str = "Zoë";
const SENTENCE: &str = "The little fox wanted to see the sea, but it was far away.";
/// A paragraph of more than 60 tokens.
pub const LONG: &str = "Once upon a time there was a boy who lived in a small house on a hill. Every morning he looked at the \
                    river and the trees, and every evening he asked his mother what was on the other side of the forest. \
                    \"There is a town,\" she said, \"and in the town there is a clock that nobody can read.\" One day he";

const PLENTY: Layout =
    Layout { name: "SRAM and PSRAM", source: Storage::Card, ram: None, psram: 4 << 20, context: None };
const SRAM: Layout = Layout { name: "SRAM alone", psram: 0, ..PLENTY };
const SRAM_512: Layout = Layout { name: "SRAM alone, context 512", context: Some(512), ..SRAM };
const TINY: Layout = Layout { name: "64 KiB", ram: Some(64 << 10), ..SRAM };
/// KV cache in PSRAM, with a part of the weights.
const SPLIT: Layout = Layout { name: "64 KiB and 1 MiB of PSRAM", ram: Some(64 << 10), psram: 1 << 20, ..PLENTY };
const FLASH: Layout = Layout { name: "flash, mapped", source: Storage::Flash, ..SRAM };

fn case(layout: Layout, texts: &[(&'static str, Sampling, usize)]) -> Case {
    let texts = texts.iter().map(|&(prompt, sampling, tokens)| Request { prompt, sampling, tokens }).collect();
    Case { layout, texts }
}

fn small_cases() -> Vec<Case> {
    let three =
        |word, sentence, long| [(WORD, Sampling::GREEDY, word), (SENTENCE, SAMPLED, sentence), (LONG, TOP_K, long)];
    vec![
        case(PLENTY, &three(32, 24, 24)),
        case(TINY, &[(WORD, SAMPLED, 8), (SENTENCE, Sampling::GREEDY, 8)]),
        case(SRAM, &[(LONG, Sampling::GREEDY, 8)]),
        case(SPLIT, &[(SENTENCE, TOP_K, 12)]),
        case(FLASH, &three(24, 24, 24)),
    ]
}

fn int4_cases() -> Vec<Case> {
    let two = [(SENTENCE, Sampling::GREEDY, 12), (WORD, SAMPLED, 12)];
    vec![case(TINY, &two), case(FLASH, &two)]
}

fn tiny_llm_cases() -> Vec<Case> {
    let two = [(SENTENCE, Sampling::GREEDY, 4), (LONG, SAMPLED, 3)];
    vec![
        case(SRAM_512, &two),
        case(PLENTY, &two),
        case(FLASH, &[(WORD, Sampling::GREEDY, 6), (SENTENCE, TOP_K, 6), (LONG, SAMPLED, 6)]),
    ]
}

/// The bundled model, and those models of the shared data that are available.
///
/// # Errors
/// A checkpoint cannot be converted.
pub fn models() -> Result<Vec<Model>> {
    let mut models = vec![Model { name: "rill-tales-1m", path: bundled_model(), cases: small_cases() }];
    let shared = env::var_os("RILLM_SHARED").map_or(root().join("../shared"), PathBuf::from);
    // Weights of 4 bits, and a head that computes its best logits again, from the embedding table's rows.
    let options = ["--bits", "4", "--embed-bits", "8"];
    let path = command::convert(&root().join("models/rill-tales-1m"), "rill-tales-1m int4", &options)?;
    models.push(Model { name: "rill-tales-1m int4", path, cases: int4_cases() });
    for (name, cases) in [("stories260K", small_cases()), ("tiny-llm-synth", tiny_llm_cases())] {
        let checkpoint: &Path = &shared.join("models").join(name);
        if checkpoint.is_dir() {
            models.push(Model { name, path: command::convert(checkpoint, name, &[])?, cases });
        } else {
            say::skipped(&format!("{name}: there is no {} (RILLM_SHARED)", checkpoint.display()));
        }
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rillm_generate::number::{probability, q16};

    #[test]
    fn the_console_takes_a_texts_settings_as_they_are() {
        for case in small_cases().iter().chain(&tiny_llm_cases()).chain(&int4_cases()) {
            for text in &case.texts {
                let [temp, _, top_p, ..] = text.settings();
                assert_eq!(temp.strip_prefix("/temp ").map(q16), Some(Ok(text.sampling.temperature)));
                assert_eq!(top_p.strip_prefix("/top_p ").map(probability), Some(Ok(text.sampling.top_p)));
                assert!(text.prompt.len() <= 512, "the console's longest line");
            }
        }
    }
}
