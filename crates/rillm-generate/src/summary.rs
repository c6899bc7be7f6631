//! The figures of a text in words, the same on a board and on a computer.

use core::fmt;

use crate::StopReason;
use crate::metrics::{Averages, Unit};
use crate::number::{Bytes, Count, Grouped, Tenths, Word};

/// The figures as one line for people.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Number of generated tokens.
    pub tokens: usize,
    /// Totals over the tokens.
    pub averages: Averages,
    /// The unit of the clock. Without a clock the line has no speed.
    pub unit: Option<Unit>,
    /// Why the text ended.
    pub stop: StopReason,
    /// The user's name of the limit on tokens.
    pub max_tokens_name: &'static str,
    /// Length of the context in tokens.
    pub context: usize,
    /// Bytes used and given, of the internal and the external memory. The external one is shown if any of it was given.
    pub ram: [(usize, usize); 2],
    /// Whether anything was read from the source.
    pub has_read: bool,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Averages { tokens, ticks, traffic, .. } = self.averages;
        write!(f, "{} {}", self.tokens, Word(self.tokens as u64, "token"))?;
        match self.unit {
            None => {}
            Some(Unit::Time { per_second }) => {
                let speed = Tenths { of: tokens.saturating_mul(per_second.into()), by: ticks };
                write!(f, " at {speed} tokens/s")?;
            }
            Some(Unit::Count(unit)) => {
                write!(f, " at {} {unit} a token", Grouped(ticks.checked_div(tokens).unwrap_or(0)))?;
            }
        }
        match self.stop {
            StopReason::EndOfText => {}
            StopReason::StopString => f.write_str(", stop string found")?,
            StopReason::MaxTokens => write!(f, ", {} reached", self.max_tokens_name)?,
            StopReason::ContextFull => write!(f, ", context of {} full", self.context)?,
            StopReason::Interrupted => f.write_str(", interrupted")?,
        }
        write!(f, " · {}", Ram(self.ram))?;
        if self.has_read {
            let bytes = Bytes(traffic.bytes.checked_div(tokens).unwrap_or(0));
            let each = |count: u64| Tenths { of: count, by: tokens };
            write!(f, " · {bytes} in {} reads and {} seeks a token", each(traffic.reads), each(traffic.seeks))?;
        } else {
            f.write_str(" · nothing read")?;
        }
        write!(f, " · seed {}", self.seed)
    }
}

/// Bytes used and given, of the internal memory and, if there is one, the external memory.
#[derive(Clone, Copy, Debug)]
pub struct Ram(pub [(usize, usize); 2]);

impl fmt::Display for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(used, given), (external_used, external_given)] = self.0;
        write!(f, "RAM {} of {}", Bytes(used as u64), Bytes(given as u64))?;
        if external_given > 0 {
            write!(f, " and {} of {}", Bytes(external_used as u64), Bytes(external_given as u64))?;
        }
        Ok(())
    }
}

/// The line that tells how many of a chat's turns were forgotten, because the context was full.
#[derive(Clone, Copy, Debug)]
pub struct ForgottenTurns {
    /// Length of the context in tokens.
    pub context: usize,
    /// Number of turns, at least one.
    pub turns: u32,
}

const FORGOT: &str = " is full: forgot the oldest ";

impl ForgottenTurns {
    /// Whether a line is such a line.
    pub fn is_line(line: &str) -> bool {
        line.starts_with("the context of ") && line.contains(FORGOT)
    }
}

impl fmt::Display for ForgottenTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the context of {}{FORGOT}", self.context)?;
        match self.turns {
            1 => f.write_str("turn"),
            turns => write!(f, "{}", Count(turns.into(), "turn")),
        }
    }
}

/// The check line, which is equal wherever the same was computed.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// All tokens of the text, prompt and answer.
    pub ids: &'a [u32],
    /// The fingerprint of every logit of every generated token.
    pub logits: u32,
}

impl Check<'_> {
    /// The tokens and the fingerprint of a check line; `None` for any other line.
    pub fn parse(line: &str) -> Option<(impl Iterator<Item = u32>, u32)> {
        let (count, rest) = line.trim_end().strip_prefix("check: ")?.split_once(" token")?;
        let (ids, logits) = rest.strip_prefix('s').unwrap_or(rest).strip_prefix(", ids ")?.split_once(", logits ")?;
        let ids = || ids.split(' ').map(str::parse::<u32>);
        let is_whole = ids().all(|id| id.is_ok()) && count.parse() == Ok(ids().count());
        let logits = u32::from_str_radix(logits, 16).ok()?;
        is_whole.then(|| (ids().flatten(), logits))
    }
}

impl fmt::Display for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.ids.len();
        write!(f, "check: {tokens} {}, ids", Word(tokens as u64, "token"))?;
        for id in self.ids {
            write!(f, " {id}")?;
        }
        write!(f, ", logits {:08x}", self.logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rillm::Traffic;
    use std::string::ToString;

    #[test]
    fn a_line_of_forgotten_turns_is_known() {
        for (turns, end) in [(1, "turn"), (2, "2 turns"), (1000, "1,000 turns")] {
            let line = ForgottenTurns { context: 512, turns }.to_string();
            assert_eq!(line, std::format!("the context of 512 is full: forgot the oldest {end}"));
            assert!(ForgottenTurns::is_line(&line));
        }
        assert!(!ForgottenTurns::is_line("the context of 512 is full, and all is forgotten"));
    }

    #[test]
    fn a_check_line_is_parsed_back() {
        let parse = |line: &str| Check::parse(line).map(|(ids, logits)| (ids.collect::<std::vec::Vec<_>>(), logits));
        for ids in [&[7][..], &[1, 20, 3]] {
            let line = Check { ids, logits: 0x0254_a1de }.to_string();
            assert_eq!(parse(&std::format!("{line}\r\n")), Some((ids.to_vec(), 0x0254_a1de)), "{line}");
        }
        for line in [
            "check: 4 tokens, ids 1 20 3, logits 0254a1de",
            "check: 3 tokens, ids 1 20 x, logits 0254a1de",
            "check: 3 tokens, ids 1 20 3",
            "check: 1 token, ids 7, logits x",
            "check on",
            "check: ",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn every_word_of_a_summary() {
        let traffic = Traffic { reads: 333, bytes: 2_893_000, seeks: 5, resident_bytes: 0 };
        let averages = Averages { tokens: 2, ticks: 3_000_000, ticks_to_first: 0, traffic };
        let summary = Summary {
            tokens: 3,
            averages,
            unit: Some(Unit::Time { per_second: 1_000_000 }),
            stop: StopReason::EndOfText,
            max_tokens_name: "--max-tokens",
            context: 512,
            ram: [(261_735, 262_144), (0, 0)],
            has_read: true,
            seed: 7,
        };
        let read = "1.38 MiB in 166.5 reads and 2.5 seeks a token · seed 7";
        let ram = "RAM 255.60 KiB of 256.00 KiB";
        assert_eq!(summary.to_string(), std::format!("3 tokens at 0.7 tokens/s · {ram} · {read}"));
        for (stop, words) in [
            (StopReason::StopString, ", stop string found"),
            (StopReason::MaxTokens, ", --max-tokens reached"),
            (StopReason::ContextFull, ", context of 512 full"),
            (StopReason::Interrupted, ", interrupted"),
        ] {
            let line = Summary { stop, unit: None, ..summary }.to_string();
            assert_eq!(line, std::format!("3 tokens{words} · {ram} · {read}"));
        }
        let unit = Some(Unit::Count("instructions"));
        let line = Summary { unit, has_read: false, ram: [(1024, 2048), (3072, 4096)], ..summary }.to_string();
        let ram = "RAM 1.00 KiB of 2.00 KiB and 3.00 KiB of 4.00 KiB";
        assert_eq!(line, std::format!("3 tokens at 1,500,000 instructions a token · {ram} · nothing read · seed 7"));
        let line = Summary { tokens: 1, unit: None, ..summary }.to_string();
        assert!(line.starts_with("1 token · "), "{line}");
        assert_eq!(Check { ids: &[7], logits: 0 }.to_string(), "check: 1 token, ids 7, logits 00000000");
        let none = Averages { tokens: 0, ticks: 0, ..averages };
        let line = Summary { tokens: 0, averages: none, unit, ..summary }.to_string();
        assert!(line.starts_with("0 tokens at 0 instructions a token · "), "{line}");
    }
}
