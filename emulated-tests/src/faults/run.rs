//! Runs a scenario: the console's output, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::scenarios::{End, Scenario};
use crate::dialogue::{Dialogue, Reply};
use crate::machine::{Machine, Setup};
use crate::stats::{last_figure, last_report};

const PROMPT: &str = "Once upon a time";
const TOKENS: &str = "6";
/// How often Enter is pressed while no model is open.
const ENTERS: usize = 3;
/// Bytes of internal memory, so few that the weights are read for every token.
const RAM: u64 = 64 << 10;
/// Starts of the console's error messages: in a text, and while opening a model.
const COMPLAINTS: [&str; 2] = ["[", "cannot open "];
const OPEN: &str = "Type the beginning of a text";

/// The output of a board from the start to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The check line of the first text, and that of a text after one that was given up.
    pub texts: [Option<String>; 2],
    /// The console's error messages, each one once.
    pub complaints: Vec<String>,
    /// All output.
    pub words: String,
    /// The output after the end of the input.
    pub last_words: String,
}

/// The setup of a scenario.
pub fn setup(scenario: &Scenario) -> Setup {
    let Scenario { source, crc, check_every, .. } = *scenario;
    Setup { source, ram: Some(RAM), psram: 0, crc, check_every, timeout: 120, ..Setup::default() }
}

/// Boots the machine and enters a prompt, and enters it again after a text that was given up. While no model is open,
/// Enter is pressed a few times.
///
/// # Errors
/// The board hangs, traps, or ends otherwise than by the end of its input.
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
    // The console must answer, whatever has happened.
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

/// Presses Enter until a model is open. Returns whether there is one.
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

fn ask(console: &mut Dialogue, seen: &mut Seen) -> Result<Reply> {
    let answer = console.ask(PROMPT, |_| ())?;
    seen.words += &answer.text;
    Ok(answer)
}

impl Seen {
    /// How the scenario ended, given that the run without a fault printed `expected`.
    pub fn end(&self, expected: &str) -> End {
        let same = |text: &Option<String>| text.as_ref().map(|text| text == expected);
        match [same(&self.texts[0]), same(&self.texts[1])] {
            [Some(true), _] => End::Same,
            [Some(false), _] | [None, Some(false)] => End::Unnoticed,
            [None, Some(true)] => End::SameLater,
            [None, None] => End::Words,
        }
    }

    /// The deviations from what `scenario` expects, in words.
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
        if scenario.fault.is_some() && !self.has_struck() {
            problems.push(format!("the fault has not struck; the board's last words: {}", self.last_words.trim()));
        }
        problems
    }

    /// The line to show for the scenario: the last one with its expected message, or the first error message.
    pub fn said(&self, scenario: &Scenario) -> &str {
        let about = self.words.lines().rfind(|line| !scenario.says.is_empty() && line.contains(scenario.says));
        about.or(self.complaints.first().map(String::as_str)).unwrap_or("nothing")
    }

    /// The board's count of how often it initialised the card.
    pub fn initialised(&self) -> Option<u32> {
        last_figure(&self.last_words, "card", "/initialised")?.try_into().ok()
    }

    fn has_struck(&self) -> bool {
        last_report(&self.last_words, "card").is_some_and(|card| card["struck"] == true)
    }
}

/// The numbers of the blocks that a card has sent, in order, from the trace of the emulator.
///
/// # Errors
/// The file cannot be read.
pub fn blocks(trace: &Path) -> Result<Vec<u64>> {
    let text = fs::read_to_string(trace).with_context(|| format!("cannot read {}", trace.display()))?;
    Ok(text.lines().filter_map(block).collect())
}

/// The block number in `sdcard_read_block addr 0x4ed800 size 0x200`.
fn block(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("sdcard_read_block addr 0x")?;
    Some(u64::from_str_radix(rest.split(' ').next()?, 16).ok()? / 512)
}

/// The number of blocks that do not follow the previous one. The first block counts.
pub fn seeks(blocks: &[u64]) -> usize {
    blocks.len().min(1) + blocks.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count()
}

/// The run without a fault.
pub struct Unfaulted {
    /// The check line.
    pub check: String,
    /// The numbers of the blocks that the card sent.
    pub blocks: Vec<u64>,
    /// How many of them precede the console's first prompt.
    pub opening: usize,
}

/// Runs a scenario without its fault.
///
/// # Errors
/// Those of [`play`], or there was no text.
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
        let last_words = "card: {\"blocks\":9,\"initialised\":3,\"struck\":true}\r\n".to_owned();
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
        let missed = Seen {
            last_words: "card: {\"blocks\":9,\"initialised\":3,\"struck\":false}".into(),
            ..seen([Some("a"), None], &[])
        };
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
