//! The text of a board, computed again on this computer.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rillm::{Fingerprint, Memory, MemoryLen, Model, Plan, PlanOptions, Sampling, Session, block_on};
use rillm_generate::number::{probability, q16};

use crate::board_screen::{Check, Figures};
use crate::model_file::{bundled, from_path};
use crate::source::{Access, CardPace, ModelSource};

/// The largest top-k of a board.
const CANDIDATES: usize = PlanOptions::DEFAULT_CANDIDATES;

/// The model of a board on this computer.
pub struct Reference {
    /// The file; `None` for the bundled model.
    path: Option<PathBuf>,
}

impl Reference {
    /// The model file at `path`, or the bundled one. It must open.
    pub fn new(path: Option<PathBuf>) -> Result<Self> {
        let reference = Self { path };
        reference.open().map(|_| reference)
    }

    fn open(&self) -> Result<(Model, ModelSource)> {
        match &self.path {
            None => bundled(Access::Mmap, CardPace::UNUSED),
            Some(path) => from_path(path, Access::Mmap, CardPace::UNUSED),
        }
    }

    /// Computes the answer after the prompt again. Returns how it differs from the board's, if it does.
    ///
    /// # Errors
    /// The board's tokens cannot be those of this model.
    pub fn difference(&self, check: &Check, figures: Figures, sampling: Sampling) -> Result<Option<String>> {
        let prompt = check.ids.len().checked_sub(figures.generated).filter(|&len| len > 0);
        let prompt = prompt.context("the board's figures and its check line are not of one text")?;
        let (model, source) = self.open()?;
        let vocab_size = model.header().vocab_size;
        if let Some(id) = check.ids.iter().find(|id| **id >= vocab_size) {
            bail!("the board has a token {id}, and the model only {vocab_size}: name the board's model with --model");
        }
        let most = model.header().context_length as usize;
        ensure!(check.ids.len() <= most, "the board has {} tokens, and the model room for {most}", check.ids.len());
        let options = PlanOptions::default().context(check.ids.len()).candidates(CANDIDATES);
        let plan = Plan::new(&model, &source, MemoryLen::internal(usize::MAX), &options)?;
        let mut memory = vec![0; plan.memory().internal];
        let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut memory))?;
        session.push(&check.ids[..prompt])?;
        let mut fingerprint = Fingerprint::new();
        for (at, &id) in check.ids.iter().enumerate().skip(prompt) {
            let here = block_on(session.next_observed(&sampling, |logit| fingerprint.add(logit)))?.id;
            if here != id {
                return Ok(Some(format!("token {at} is {id} there and {here} here")));
            }
        }
        let here = fingerprint.value();
        Ok((here != check.logits).then(|| format!("the logits are {:08x} there and {here:08x} here", check.logits)))
    }
}

/// The sampling of a text, from the answers of the board to `/temp`, `/top_k` and `/top_p`.
pub fn sampling([temperature, top_k, top_p]: [&str; 3], seed: u64) -> Result<Sampling> {
    let value = |answer: &str, name: &str| {
        let rest = answer.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        let value = rest.and_then(|rest| rest.split([',', ' ']).next()).map(str::to_owned);
        value.with_context(|| format!("the board answers `{}` to /{name}", answer.trim()))
    };
    let wrong = |name: &'static str| move |error: &str| anyhow!("the board's {name}: {error}");
    let temperature = q16(&value(temperature, "temp")?).map_err(wrong("temperature"))?;
    let top_p = probability(&value(top_p, "top_p")?).map_err(wrong("top_p"))?;
    let top_k = value(top_k, "top_k")?.parse().context("the board's top_k is no number")?;
    Ok(Sampling::GREEDY.temperature(temperature).top_k(top_k).top_p(top_p).seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rillm::Q16;

    /// `rillm run --prompt "Once upon a time" --temperature 0 -n 12 --check`, as in [the console's manual].
    ///
    /// [the console's manual]: https://github.com/rillm/rillm/blob/main/docs/console.md
    const IDS: [u32; 17] = [1, 544, 569, 261, 436, 1971, 383, 286, 261, 402, 901, 353, 264, 1787, 1308, 338, 432];
    const LOGITS: u32 = 0x9776_9a74;

    #[test]
    fn a_board_that_computes_otherwise_is_told_from_one_that_does_not() {
        let reference = Reference::new(None).expect("the bundled model");
        let figures = Figures { generated: 12, seed: 1 };
        let check = Check { ids: IDS.to_vec(), logits: LOGITS };
        let difference = |check: &Check| reference.difference(check, figures, Sampling::GREEDY).expect("a text");
        assert_eq!(difference(&check), None);
        let told = difference(&Check { logits: 7, ..check.clone() }).expect("other logits");
        assert_eq!(told, "the logits are 00000007 there and 97769a74 here");
        let mut ids = IDS.to_vec();
        ids[15] = 5;
        let told = difference(&Check { ids, ..check.clone() }).expect("another token");
        assert_eq!(told, "token 15 is 5 there and 338 here");
        let none = Check { ids: vec![9999; 17], ..check.clone() };
        assert!(reference.difference(&none, figures, Sampling::GREEDY).is_err());
        let figures = Figures { generated: 17, ..figures };
        assert!(reference.difference(&check, figures, Sampling::GREEDY).is_err());
    }

    #[test]
    fn the_boards_settings_are_understood() {
        let found = sampling(["temp 0.5\n", "top_k 0, the whole vocabulary\n", "top_p 1\n"], 3).expect("settings");
        assert_eq!(found, Sampling::GREEDY.temperature(Q16(32768)).top_p(Q16::ONE).seed(3));
        assert_eq!(sampling(["temp 1", "top_k 40", "top_p 0.5"], 3).expect("settings").top_k, 40);
        let told = sampling(["what?", "top_k 40", "top_p 0.5"], 3).expect_err("no temperature").to_string();
        assert_eq!(told, "the board answers `what?` to /temp");
    }
}
