//! A scenario, played: what the console says, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::scenarios::{End, Scenario};
use crate::dialogue::{Answer, Dialogue};
use crate::machine::{Machine, Setup};

const PROMPT: &str = "Once upon a time";
const TOKENS: &str = "6";
/// How often Enter is tried where there is no model.
const ENTERS: usize = 3;
/// So little memory that the weights are read for every token.
const RAM: u64 = 64 << 10;
/// What starts the console's complaints, and what it says once a model is open.
const COMPLAINTS: [&str; 2] = ["[", "cannot open a model: "];
const OPEN: &str = "Type the beginning of a text";

/// What was seen of a board from the start to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The line of `/check` of the first text, and of the one after a text that was given up.
    pub texts: [Option<String>; 2],
    /// The console's complaints, each once.
    pub complaints: Vec<String>,
    /// Everything that it said.
    pub words: String,
    /// What it said at the end, when the input was over.
    pub last_words: String,
}

/// What the setup is but for the fault.
pub fn setup(scenario: &Scenario) -> Setup {
    let Scenario { crc, check_every, .. } = *scenario;
    Setup { ram: Some(RAM), psram: 0, crc, check_every, timeout: 120, ..Setup::default() }
}

/// Boots the machine and asks for a text; after one that was given up, for another one. Where there is no model, Enter is tried
/// a few times.
///
/// # Errors
/// The board hangs, traps, or ends in another way than at the end of its input.
pub fn play(machine: &Machine, setup: &Setup) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut console = machine.boot(setup, |said| seen.words += said)?;
    let is_open = seen.words.contains(OPEN) || enter(&mut console, &mut seen)?;
    if is_open {
        for (name, value) in [("temp", "0"), ("max", TOKENS), ("check", "on")] {
            console.set(name, value)?;
        }
        let answer = ask(&mut console, &mut seen)?;
        seen.texts[0] = answer.check;
        let is_open = || answer.text.contains(OPEN);
        if seen.texts[0].is_none() && (is_open() || enter(&mut console, &mut seen)?) {
            seen.texts[1] = ask(&mut console, &mut seen)?.check;
        }
    }
    // Whatever has happened, it answers.
    let reply = console.command("/model")?;
    ensure!(
        reply.starts_with("model: ") || reply.contains(COMPLAINTS[1]),
        "the console does not answer `/model`, it says {reply:?}"
    );
    console.into_board().hang_up(|said| seen.last_words += &String::from_utf8_lossy(said))?;
    let complaints = seen.words.lines().filter(|line| COMPLAINTS.iter().any(|start| line.starts_with(start)));
    for line in complaints {
        if !seen.complaints.iter().any(|other| other == line) {
            seen.complaints.push(line.to_owned());
        }
    }
    Ok(seen)
}

/// Presses Enter until there is a model. False if there is none in the end.
fn enter(console: &mut Dialogue, seen: &mut Seen) -> Result<bool> {
    for _ in 0..ENTERS {
        let reply = console.command("")?;
        seen.words += &format!("{reply}\n");
        if reply.contains(OPEN) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn ask(console: &mut Dialogue, seen: &mut Seen) -> Result<Answer> {
    let answer = console.ask(PROMPT, |_| ())?;
    seen.words += &answer.text;
    Ok(answer)
}

impl Seen {
    /// How it ended, where the unfaulted run has said `expected`.
    pub fn end(&self, expected: &str) -> End {
        let same = |text: &Option<String>| text.as_ref().map(|text| text == expected);
        match [same(&self.texts[0]), same(&self.texts[1])] {
            [Some(true), _] => End::Same,
            [Some(false), _] | [None, Some(false)] => End::Unnoticed,
            [None, Some(true)] => End::SameLater,
            [None, None] => End::Words,
        }
    }

    /// What is not as `scenario` has it, in words.
    pub fn problems(&self, scenario: &Scenario, expected: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let end = self.end(expected);
        if end != scenario.end {
            problems.push(format!("it ended so: {}; and should have: {}", end.words(), scenario.end.words()));
        }
        if !self.words.contains(scenario.says) {
            problems.push(format!("the console did not say `{}`", scenario.says));
        }
        let most = match scenario.end {
            _ if scenario.says.is_empty() => 0,
            End::Same | End::Unnoticed => 1,
            End::SameLater | End::Words => usize::MAX,
        };
        if self.complaints.len() > most {
            problems.push(format!("the console complained: {}", self.complaints.join(" ")));
        }
        if scenario.fault.is_some() && !self.last_words.contains("the fault has struck") {
            problems.push(format!("the fault has not struck; the board's last words: {}", self.last_words.trim()));
        }
        problems
    }

    /// What to show of it: the last line that the scenario is about, or the first complaint.
    pub fn said(&self, scenario: &Scenario) -> &str {
        let about = self.words.lines().rfind(|line| !scenario.says.is_empty() && line.contains(scenario.says));
        about.or(self.complaints.first().map(String::as_str)).unwrap_or("nothing")
    }

    /// The board's count of how often the card was told to start anew.
    pub fn initialised(&self) -> Option<u32> {
        let (_, rest) = self.last_words.split_once(", initialised ")?;
        rest.split(' ').next()?.parse().ok()
    }
}

/// The numbers of the blocks that a card has sent, in order, by the emulator's trace.
///
/// # Errors
/// It cannot be read.
pub fn blocks(trace: &Path) -> Result<Vec<u64>> {
    let text = fs::read_to_string(trace).with_context(|| format!("cannot read {}", trace.display()))?;
    Ok(text.lines().filter_map(block).collect())
}

/// The block in `sdcard_read_block addr 0x4ed800 size 0x200`.
fn block(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("sdcard_read_block addr 0x")?;
    Some(u64::from_str_radix(rest.split(' ').next()?, 16).ok()? / 512)
}

/// How often a block does not follow the one before it; the first one counts.
pub fn seeks(blocks: &[u64]) -> usize {
    blocks.len().min(1) + blocks.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count()
}

/// The unfaulted run.
pub struct Unfaulted {
    /// Its line of `/check`.
    pub check: String,
    /// The blocks that the card sent.
    pub blocks: Vec<u64>,
    /// How many of them came before the console's first prompt.
    pub opening: usize,
}

/// Plays without a fault.
///
/// # Errors
/// As [`play`], or there was no text.
pub fn unfaulted(machine: &Machine, scenario: &Scenario, trace: PathBuf) -> Result<Unfaulted> {
    fs::write(&trace, "").with_context(|| format!("cannot write {}", trace.display()))?;
    let setup = Setup { trace: Some(trace.clone()), ..setup(scenario) };
    machine.boot(&setup, |_| ())?.into_board().hang_up(|_| ())?;
    let opening = blocks(&trace)?.len();
    let seen = play(machine, &setup)?;
    let [Some(check), _] = &seen.texts else {
        anyhow::bail!("without a fault there is no text but this:\n{}", seen.words)
    };
    Ok(Unfaulted { check: check.clone(), blocks: blocks(&trace)?, opening })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::scenarios::all;

    fn scenario(name: &str) -> Scenario {
        all().into_iter().find(|scenario| scenario.name == name).expect("there is one")
    }

    fn seen(texts: [Option<&str>; 2], complaints: &[&str]) -> Seen {
        let complaints: Vec<_> = complaints.iter().map(|&line| line.to_owned()).collect();
        let last_words = "card: 9 blocks sent, initialised 3 times, the fault has struck\r\n".to_owned();
        let words = format!("text\n{}\n", complaints.join("\n"));
        Seen { texts: texts.map(|text| text.map(str::to_owned)), complaints, words, last_words }
    }

    #[test]
    fn how_it_ends() {
        for (texts, end) in [
            ([Some("a"), None], End::Same),
            ([Some("b"), None], End::Unnoticed),
            ([None, Some("a")], End::SameLater),
            ([None, Some("b")], End::Unnoticed),
            ([None, None], End::Words),
        ] {
            assert_eq!(seen(texts, &[]).end("a"), end, "{texts:?}");
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_a_problem() {
        let error = scenario("error in the tokenizer");
        assert!(seen([Some("a"), None], &[]).problems(&error, "a").is_empty());
        assert!(seen([Some("b"), None], &[]).problems(&error, "a")[0].contains("ANOTHER TEXT"));
        assert!(seen([Some("a"), None], &["[hm]"]).problems(&error, "a")[0].contains("[hm]"));
        let missed = Seen { last_words: "the fault has not struck".into(), ..seen([Some("a"), None], &[]) };
        assert!(missed.problems(&error, "a")[0].contains("not struck"));

        let checked = scenario("a bit flips, checked");
        assert!(seen([Some("a"), None], &["[x - trying again, 1 of 3]"]).problems(&checked, "a").is_empty());
        assert!(seen([Some("a"), None], &[]).problems(&checked, "a")[0].contains("trying again, 1 of 3"));
        let twice = ["[x - trying again, 1 of 3]", "[x - trying again, 2 of 3]"];
        assert_eq!(seen([Some("a"), None], &twice).problems(&checked, "a").len(), 1);
    }

    #[test]
    fn what_is_shown() {
        let seen =
            seen([None, None], &["[x - trying again, 1 of 3]", "[x - given up; check that the card sits firmly]"]);
        assert_eq!(seen.said(&scenario("gone for long")), "[x - given up; check that the card sits firmly]");
        assert_eq!(seen.said(&scenario("exFAT")), "[x - trying again, 1 of 3]");
        assert_eq!(seen.initialised(), Some(3));
        assert_eq!(Seen::default().said(&scenario("exFAT")), "nothing");
    }

    #[test]
    fn blocks_of_a_trace_and_its_seeks() {
        assert_eq!(block("7@1.5:sdcard_read_block addr 0x4ed800 size 0x200"), Some(0x276c));
        assert_eq!(block("sdcard_normal_command SPI READ_SINGLE_BLOCK/ CMD17 arg 0x00000000 (state transfer)"), None);
        assert_eq!((seeks(&[]), seeks(&[7]), seeks(&[7, 8, 9, 9, 2, 3])), (0, 1, 3));
    }
}
