//! Runs a case on a board and on this computer, and compares them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rillm::{Bytes, CHECK_EVERY, MemoryLen, PlanOptions, Region};

use super::board::{self, Seen};
use super::cases::{Case, Layout, Request};
use super::host::{self, Setup, Written};
use super::memory::{Expected, expected};
use super::trace::Traffic;
use crate::machine::{Machine, Storage};

/// The result of a case.
pub struct Proof {
    /// The texts.
    pub texts: Vec<Compared>,
    /// SRAM and PSRAM: the use, and the expected use.
    pub memories: Vec<(board::Memory, Expected)>,
    /// The differences, in words.
    pub differences: Vec<String>,
    /// Duration of the case.
    pub time: Duration,
}

/// A text on the board and on this computer.
pub struct Compared {
    /// The sampling in a few words.
    pub sampling: String,
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// Number of generated tokens on this computer.
    pub tokens: usize,
    /// Fingerprints of the logits: on this computer, on the board.
    pub logits: [u32; 2],
    /// The engine's traffic on the board for this text.
    pub engine: Traffic,
    /// The card's traffic for this text.
    pub card: Option<Traffic>,
}

/// Runs a case on the board and on this computer.
///
/// # Errors
/// The board cannot be booted, or does not reach the end.
pub fn prove(machine: &Machine, model: &Path, case: &Case, trace: Option<&Path>) -> Result<Proof> {
    let start = Instant::now();
    let seen = board::run(machine, case, trace)?;
    let file = fs::read(model).with_context(|| format!("cannot read {}", model.display()))?;
    // The reference takes another path through the engine, with memory-mapped weights.
    let (reference, _) = host::write(Bytes::lent(&file), Setup::reference(), &case.texts)?;
    // The twin takes the board's path, to compare traffic and memory.
    let setup = board_setup(&case.layout, &seen);
    let (twin, plan) = match case.layout.source {
        Storage::Card | Storage::Both => host::write(Bytes::copied(&file), setup, &case.texts)?,
        Storage::Flash => host::write(Bytes::lent(&file), setup, &case.texts)?,
    };

    let tokens = reference.iter().map(|text| text.ids.len()).max().unwrap_or_default();
    let expect = |region| expected(&plan, region, tokens);
    let memories: Vec<_> = seen.memories.into_iter().zip([Region::Internal, Region::External].map(expect)).collect();
    let mut differences = Vec::new();
    for (at, text) in case.texts.iter().enumerate() {
        let name = format!("text {} ({})", at + 1, text.describe());
        let found = differences_of(&reference[at], &seen.texts[at], &twin[at]);
        differences.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    for (name, (memory, expected)) in ["SRAM", "PSRAM"].iter().zip(&memories) {
        if !expected.touched.contains(&memory.touched) {
            let (touched, (least, most)) = (memory.touched, (expected.touched.start(), expected.touched.end()));
            differences
                .push(format!("{touched} bytes of {name} were touched, and by the plan it is {least} to {most}"));
        }
    }
    let texts = compared(&case.texts, &reference, &seen);
    Ok(Proof { texts, memories, differences, time: start.elapsed() })
}

/// The setup of the console, with the memory that the board gave to the engine.
fn board_setup(layout: &Layout, seen: &Seen) -> Setup {
    let [internal, external] = seen.memories.map(|memory| memory.given);
    let options = PlanOptions::default().context(layout.context.map(|n| n as usize));
    Setup { memory: MemoryLen { internal, external }, options, check_every: CHECK_EVERY }
}

/// The differences of a text, in words.
fn differences_of(reference: &Written, seen: &board::SeenText, twin: &Written) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(at) = (0..reference.ids.len().max(seen.ids.len())).find(|&at| reference.ids.get(at) != seen.ids.get(at))
    {
        let id = |ids: &[u32]| ids.get(at).map_or("missing".to_owned(), u32::to_string);
        let (board, host) = (id(&seen.ids), id(&reference.ids));
        let of = if at < reference.prompt_tokens { "the prompt" } else { "the text" };
        differences.push(format!("token {at}, of {of}, is {board} on the board and {host} on this computer"));
    }
    if reference.logits != seen.logits {
        let (board, host) = (seen.logits, reference.logits);
        differences.push(format!("the logits are {board:08x} on the board and {host:08x} on this computer"));
    }
    if (&reference.ids, reference.logits) != (&twin.ids, twin.logits) {
        differences.push("this computer itself computes something else with the board's plan".to_owned());
    }
    let mut traffic = |who: &str, other: Traffic| {
        if other != seen.engine {
            let engine = seen.engine;
            differences.push(format!("so far the board's engine has counted {engine}, and {who} {other}"));
        }
    };
    traffic("this computer's, with the same plan,", twin.traffic);
    if let Some(card) = seen.card {
        traffic("the card", card);
    }
    differences
}

/// The rows of the texts. Traffic is the increase with each text.
fn compared(texts: &[Request], reference: &[Written], seen: &Seen) -> Vec<Compared> {
    let mut before = (Traffic::default(), Traffic::default());
    let mut rows = Vec::new();
    for ((text, host), board) in texts.iter().zip(reference).zip(&seen.texts) {
        rows.push(Compared {
            sampling: text.describe(),
            prompt_tokens: host.prompt_tokens,
            tokens: host.ids.len() - host.prompt_tokens,
            logits: [host.logits, board.logits],
            engine: board.engine.since(before.0),
            card: board.card.map(|card| card.since(before.1)),
        });
        before = (board.engine, board.card.unwrap_or_default());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAFFIC: Traffic = Traffic { reads: 3, bytes: 2048, seeks: 2 };

    fn written(ids: &[u32], logits: u32) -> Written {
        Written { ids: ids.to_vec(), prompt_tokens: 2, logits, traffic: TRAFFIC }
    }

    fn seen(ids: &[u32], logits: u32, card: Traffic) -> board::SeenText {
        board::SeenText { ids: ids.to_vec(), logits, engine: TRAFFIC, card: Some(card) }
    }

    #[test]
    fn the_same_is_the_same() {
        let host = written(&[1, 2, 3], 7);
        assert!(differences_of(&host, &seen(&[1, 2, 3], 7, TRAFFIC), &host).is_empty());
    }

    #[test]
    fn the_first_token_that_differs_is_told() {
        let host = written(&[1, 2, 3, 4], 7);
        let told = differences_of(&host, &seen(&[1, 2, 5, 6], 8, TRAFFIC), &host);
        assert_eq!(told[0], "token 2, of the text, is 5 on the board and 3 on this computer");
        assert_eq!(told[1], "the logits are 00000008 on the board and 00000007 on this computer");
        let told = differences_of(&host, &seen(&[1], 7, TRAFFIC), &host);
        assert_eq!(told, ["token 1, of the prompt, is missing on the board and 2 on this computer"]);
    }

    #[test]
    fn a_card_that_saw_something_else_is_told() {
        let host = written(&[1, 2, 3], 7);
        let told = differences_of(&host, &seen(&[1, 2, 3], 7, Traffic { seeks: 3, ..TRAFFIC }), &host);
        assert!(told.len() == 1 && told[0].contains("and the card 2,048 bytes in 3 reads and 3 seeks"), "{told:?}");
        let twin = Written { traffic: Traffic::default(), ..host.clone() };
        assert_eq!(differences_of(&host, &seen(&[1, 2, 3], 7, TRAFFIC), &twin).len(), 1);
    }
}
