//! The texts on a board, and its reports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cases::Case;
use super::trace::{self, Traffic};
use crate::machine::Machine;
use crate::stats::Stats;

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
        let (ids, logits) = check(&line).with_context(|| format!("this is no line of `/check`: {line}"))?;
        let Stats { reads, bytes, seeks, .. } = console.stats()?;
        let engine = Traffic { reads, bytes, seeks };
        let card = trace.map(card_reads).transpose()?.map(|reads| trace::traffic(&reads[opening..]));
        texts.push(SeenText { ids, logits, engine, card });
    }
    let mut end = String::new();
    console.into_board().hang_up(|said| end += &String::from_utf8_lossy(said))?;
    let memory = |name| memory(&end, name).with_context(|| format!("there is no {name} in this: {end}"));
    let memories = [memory("SRAM")?, memory("PSRAM")?];
    if let Some((said, trace)) = sent(&end).zip(trace) {
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

/// Tokens and fingerprint of a check line: `check: 3 tokens, ids 1 2 3, logits 0254a1de`.
pub fn check(line: &str) -> Option<(Vec<u32>, u32)> {
    let (count, rest) = line.strip_prefix("check: ")?.split_once(" token")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix(", ids ")?;
    let (ids, logits) = rest.split_once(", logits ")?;
    let ids: Vec<u32> = ids.split(' ').map(|id| id.parse().ok()).collect::<Option<_>>()?;
    let logits = u32::from_str_radix(logits.trim_end(), 16).ok()?;
    (ids.len() == count.parse::<usize>().ok()?).then_some((ids, logits))
}

/// A memory in a board's last report: `SRAM: 507,732 of 507,900 bytes touched`.
fn memory(words: &str, name: &str) -> Option<Memory> {
    let of = |line: &str| {
        let rest = line.trim().strip_prefix(name)?.strip_prefix(": ")?.strip_suffix(" bytes touched")?;
        let (touched, given) = rest.split_once(" of ")?;
        Some(Memory { touched: number(touched)? as usize, given: number(given)? as usize })
    };
    words.lines().find_map(of)
}

/// The number of blocks that the board has counted on the card's bus: `card: 11278 blocks sent, initialised 1 times`.
fn sent(words: &str) -> Option<u64> {
    let of = |line: &str| number(line.trim().strip_prefix("card: ")?.split_once(" blocks sent")?.0);
    words.lines().find_map(of)
}

/// Parses a number in groups of three.
fn number(text: &str) -> Option<u64> {
    text.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_taken_apart() {
        assert_eq!(check("check: 3 tokens, ids 1 20 3, logits 0254a1de"), Some((vec![1, 20, 3], 0x0254_a1de)));
        assert_eq!(check("check: 1 token, ids 7, logits 0254a1de"), Some((vec![7], 0x0254_a1de)));
        assert_eq!(check("check: 4 tokens, ids 1 20 3, logits 0254a1de"), None);
        assert_eq!(check("check: 3 tokens, ids 1 20 x, logits 0254a1de"), None);
        assert_eq!(check("check: 3 tokens, ids 1 20 3"), None);
    }

    #[test]
    fn memory_and_blocks_are_found_among_other_words() {
        let words = "\r\ncard: 11278 blocks sent, initialised 1 times\r\nstack: 16,096 of 24,576 bytes touched\r\nSRAM: 507,732 \
                     of 507,900 bytes touched\r\nPSRAM: 0 of 0 bytes touched\r\n";
        assert_eq!(memory(words, "SRAM"), Some(Memory { touched: 507_732, given: 507_900 }));
        assert_eq!(memory(words, "PSRAM"), Some(Memory { touched: 0, given: 0 }));
        assert_eq!(memory(words, "flash"), None);
        assert_eq!((sent(words), sent("SRAM: 1 of 2")), (Some(11278), None));
    }
}
