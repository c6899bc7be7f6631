//! The texts on a board, and its reports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rillm_generate::Check;

use super::cases::Case;
use super::trace::{self, Traffic};
use crate::machine::Machine;
use crate::stats::{Stats, last_figure};

/// The results of a board from the start to the end.
pub struct Seen {
    /// The texts.
    pub texts: Vec<SeenText>,
    /// Use of SRAM and PSRAM.
    pub memories: [Memory; 2],
}

/// A generated text.
pub struct SeenText {
    /// Its tokens, prompt and answer.
    pub ids: Vec<u32>,
    /// The fingerprint of every logit.
    pub logits: u32,
    /// Traffic of the session so far, by the engine's counters.
    pub engine: Traffic,
    /// The same by the card's trace, if the board has a card.
    pub card: Option<Traffic>,
}

/// A memory that was filled with a pattern before the engine received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// High-water mark: bytes from the start to the last one that was written.
    pub touched: usize,
    /// Length of the memory in bytes.
    pub given: usize,
}

/// Boots `machine` and generates the texts of `case`. A board with a card writes its trace to `trace`.
///
/// # Errors
/// The board ends, hangs or prints something unexpected.
pub fn run(machine: &Machine, case: &Case, trace: Option<&Path>) -> Result<Seen> {
    if let Some(trace) = trace {
        fs::write(trace, "").with_context(|| format!("cannot write {}", trace.display()))?;
    }
    let mut words = String::new();
    let mut console = machine.boot(&case.layout.setup(trace.map(Path::to_owned)), |said| words += said)?;
    // Reads while the card and the model are opened, which the engine does not count.
    let opening = trace.map(card_reads).transpose()?.map_or(0, |reads| reads.len());
    if opening > 0 && !words.contains(", 1 fragment\n") {
        bail!("the model has several fragments on the card, and reads are split there:\n{words}");
    }
    console.command("/check on")?;
    let mut texts = Vec::new();
    for text in &case.texts {
        for setting in text.settings() {
            let reply = console.command(&setting)?;
            if reply.contains("cannot be taken") {
                bail!("`{setting}` was refused: {}", reply.trim());
            }
        }
        let answer = console.ask(text.prompt, |_| ())?;
        let line = answer.check.with_context(|| format!("no text but this: {}", answer.text.trim()))?;
        let (ids, logits) = Check::parse(&line).with_context(|| format!("this is no line of `/check`: {line}"))?;
        let ids = ids.collect();
        let Stats { reads, bytes, seeks, .. } = console.stats()?;
        let engine = Traffic { reads, bytes, seeks };
        let card = trace.map(card_reads).transpose()?.map(|reads| trace::traffic(&reads[opening..]));
        texts.push(SeenText { ids, logits, engine, card });
    }
    let mut end = String::new();
    console.into_board().hang_up(|said| end += &String::from_utf8_lossy(said))?;
    let memory = |name| {
        let figure = |field| last_figure(&end, "memory", &format!("/{name}/{field}"));
        let (touched, given) =
            figure("touched").zip(figure("given")).with_context(|| format!("there is no {name} in this: {end}"))?;
        anyhow::Ok(Memory { touched: touched as usize, given: given as usize })
    };
    let memories = [memory("SRAM")?, memory("PSRAM")?];
    if let Some((said, trace)) = last_figure(&end, "card", "/blocks").zip(trace) {
        let traced: u64 = card_reads(trace)?.iter().map(|read| read.blocks).sum();
        if said != traced {
            bail!("{said} blocks came over the bus, and the card's trace has {traced}");
        }
    }
    Ok(Seen { texts, memories })
}

fn card_reads(path: &Path) -> Result<Vec<trace::Read>> {
    let trace = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    trace::reads(&trace)
}
