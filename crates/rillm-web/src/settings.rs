//! What a user chooses on the page.

use rillm::{Q16, Sampling};
use rillm_generate::number::{penalty, probability, q16};
use serde::Deserialize;

/// The settings of a text or a chat. Numbers that are not whole are text, and are parsed like the command's options: the same
/// digits give the same bits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The text to continue; for a chat, the system prompt, empty for the template's own.
    pub prompt: String,
    /// As `--temperature`.
    pub temperature: String,
    /// As `--top-k`.
    pub top_k: u32,
    /// As `--top-p`.
    pub top_p: String,
    /// As `--min-p`.
    pub min_p: String,
    /// As `--repeat-penalty`.
    pub repeat_penalty: String,
    /// As `--seed`. Text, because a number in JavaScript has 53 bits.
    pub seed: String,
    /// As `--max-tokens`.
    pub max_tokens: usize,
    /// As `--stop`.
    pub stop: Vec<String>,
    /// The memory in which the model runs.
    pub place: Place,
}

/// The memory in which a model runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Place {
    /// This computer's: the weights are used where they lie.
    Computer {
        /// Bytes for the engine, as `--ram`.
        ram: usize,
    },
    /// A board's, as the firmware gives it to the engine.
    Board(BoardChoice),
}

/// A board, where the model is stored, and how much of the board's memory the engine gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardChoice {
    /// The name of the board, as `--board`.
    pub board: String,
    /// Whether the model is in flash, not on the card.
    pub flash: bool,
    /// Most bytes for the engine, internal memory first; `None` for all that the firmware gives.
    pub budget: Option<usize>,
}

impl Settings {
    /// The sampling parameters.
    ///
    /// # Errors
    /// The name of the number, and what it must be.
    pub fn sampling(&self) -> Result<Sampling, String> {
        type Parse = fn(&str) -> Result<Q16, &'static str>;
        let number = |name: &str, text: &str, parse: Parse| {
            parse(text).map_err(|expected| format!("{name} is {text:?}: {expected}"))
        };
        let seed = self.seed.parse();
        let seed =
            seed.map_err(|_| format!("seed is {:?}: it must be a whole number from 0 to 2^64 - 1", self.seed))?;
        Ok(Sampling::GREEDY
            .temperature(number("temperature", &self.temperature, q16)?)
            .top_k(self.top_k)
            .top_p(number("top-p", &self.top_p, probability)?)
            .min_p(number("min-p", &self.min_p, probability)?)
            .repeat_penalty(number("repeat penalty", &self.repeat_penalty, penalty)?)
            .seed(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_commands() {
        let json = r#"{"prompt": "", "temperature": "0.8", "top_k": 0, "top_p": "0.95", "min_p": "0", "repeat_penalty": "1",
            "seed": "0", "max_tokens": 9, "stop": [], "place": {"kind": "computer", "ram": 1}}"#;
        let settings: Settings = serde_json::from_str(json).expect("settings");
        assert_eq!(settings.sampling(), Ok(Sampling::default()));
        let seed = Settings { seed: "18446744073709551615".to_owned(), ..settings.clone() };
        assert_eq!(seed.sampling().map(|sampling| sampling.seed), Ok(u64::MAX));
        for wrong in [
            Settings { temperature: "101".to_owned(), ..settings.clone() },
            Settings { top_p: "1.1".to_owned(), ..settings.clone() },
            Settings { repeat_penalty: "0.5".to_owned(), ..settings.clone() },
            Settings { seed: "-1".to_owned(), ..settings },
        ] {
            let error = wrong.sampling().expect_err("out of range");
            assert!(error.contains("it must be"), "{error}");
        }
    }
}
