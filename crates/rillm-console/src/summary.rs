//! What a text took, in the same words on a board and on a laptop.

use core::fmt;

use rillm::Traffic;

use crate::number::{Bytes, Grouped, Tenths, Word};
use crate::text::Stop;

/// Averages over the tokens of a text, of which the first one comes with the prompt and is not counted with the others.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    start: Moment,
    first: Moment,
    tokens: u64,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    ticks: u64,
    traffic: Traffic,
}

/// What some tokens took together.
#[derive(Clone, Copy, Debug)]
pub struct Averages {
    /// Tokens that the other figures are of: those after the first one, or that one if it is the only one.
    pub tokens: u64,
    /// Ticks of the clock.
    pub ticks: u64,
    /// Ticks from the start to the first token; 0 without one.
    pub ticks_to_first: u64,
    /// What was read.
    pub traffic: Traffic,
}

impl Meter {
    /// Starts before the first token.
    pub fn new(ticks: u64, traffic: Traffic) -> Self {
        let start = Moment { ticks, traffic };
        Self { start, first: start, tokens: 0 }
    }

    /// Counts a token that is done.
    pub fn token(&mut self, ticks: u64, traffic: Traffic) {
        self.tokens += 1;
        if self.tokens == 1 {
            self.first = Moment { ticks, traffic };
        }
    }

    /// The figures, at the end.
    pub fn averages(&self, ticks: u64, now: Traffic) -> Averages {
        let (tokens, since) = if self.tokens > 1 { (self.tokens - 1, self.first) } else { (self.tokens, self.start) };
        let before = since.traffic;
        Averages {
            tokens,
            ticks: ticks - since.ticks,
            ticks_to_first: self.first.ticks - self.start.ticks,
            traffic: Traffic {
                reads: now.reads - before.reads,
                bytes: now.bytes - before.bytes,
                seeks: now.seeks - before.seeks,
                resident_bytes: now.resident_bytes - before.resident_bytes,
            },
        }
    }
}

/// What the ticks of a clock are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// So many a second: the speed is given in tokens a second.
    Time {
        /// Ticks a second.
        per_second: u32,
    },
    /// Something else, in the plural: `instructions`. The speed is how many a token takes.
    Count(&'static str),
}

/// Microseconds of so many ticks of a clock.
pub(crate) fn micros(ticks: u64, per_second: u32) -> u64 {
    const MICROS: u64 = 1_000_000;
    let per_second = u64::from(per_second.max(1));
    // The rest is below 2^32.
    (ticks / per_second).saturating_mul(MICROS).saturating_add(ticks % per_second * MICROS / per_second)
}

/// One line for people.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Generated tokens.
    pub tokens: usize,
    /// What they took.
    pub averages: Averages,
    /// The clock's unit; if absent there is no clock, and nothing is said about speed.
    pub unit: Option<Unit>,
    /// Why the text ended.
    pub stop: Stop,
    /// What the user calls the greatest number of tokens.
    pub max_tokens_name: &'static str,
    /// Tokens that there is room for.
    pub context: usize,
    /// Bytes of RAM used and given; of a second memory if some of it is given.
    pub ram: [(usize, usize); 2],
    /// Whether anything was read.
    pub has_read: bool,
    /// The seed.
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
            Stop::EndOfText => {}
            Stop::StopString => f.write_str(", stop string found")?,
            Stop::MaxTokens => write!(f, ", {} reached", self.max_tokens_name)?,
            Stop::ContextFull => write!(f, ", context of {} full", self.context)?,
            Stop::Interrupted => f.write_str(", interrupted")?,
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

/// Bytes used and given, of one memory or two.
pub(crate) struct Ram(pub [(usize, usize); 2]);

impl fmt::Display for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(used, given), (large_used, large_given)] = self.0;
        write!(f, "RAM {} of {}", Bytes(used as u64), Bytes(given as u64))?;
        if large_given > 0 {
            write!(f, " and {} of {}", Bytes(large_used as u64), Bytes(large_given as u64))?;
        }
        Ok(())
    }
}

/// One line that is the same wherever the same was computed.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Every token of the text, prompt and answer.
    pub ids: &'a [u32],
    /// The fingerprint of every logit of every generated token.
    pub logits: u32,
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
    use std::string::ToString;

    fn traffic(reads: u64, bytes: u64, seeks: u64) -> Traffic {
        Traffic { reads, bytes, seeks, resident_bytes: 0 }
    }

    #[test]
    fn ticks_of_any_length() {
        assert_eq!(micros(3, 1_000_000), 3);
        assert_eq!(micros(937_500, 937_500), 1_000_000);
        assert_eq!(micros(1, 3), 333_333);
        assert_eq!(micros(u64::MAX, u32::MAX), 4_294_967_297_000_000);
        assert_eq!(micros(u64::MAX, 1), u64::MAX);
        assert_eq!(micros(5, 0), 5_000_000);
    }

    #[test]
    fn averages_are_of_the_tokens_after_the_first() {
        let mut meter = Meter::new(100, traffic(5, 5000, 5));
        assert_eq!(meter.averages(100, traffic(5, 5000, 5)).tokens, 0);
        meter.token(1100, traffic(105, 105_000, 10));
        let only = meter.averages(1100, traffic(105, 105_000, 10));
        assert_eq!(
            (only.tokens, only.ticks, only.ticks_to_first, only.traffic),
            (1, 1000, 1000, traffic(100, 100_000, 5))
        );
        meter.token(1500, traffic(115, 115_000, 12));
        meter.token(1900, traffic(125, 125_000, 14));
        let rest = meter.averages(2000, traffic(125, 125_000, 14));
        assert_eq!(
            (rest.tokens, rest.ticks, rest.ticks_to_first, rest.traffic),
            (2, 900, 1000, traffic(20, 20_000, 4))
        );
    }

    #[test]
    fn every_word_of_a_summary() {
        let averages = Averages { tokens: 2, ticks: 3_000_000, ticks_to_first: 0, traffic: traffic(333, 2_893_000, 5) };
        let summary = Summary {
            tokens: 3,
            averages,
            unit: Some(Unit::Time { per_second: 1_000_000 }),
            stop: Stop::EndOfText,
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
            (Stop::StopString, ", stop string found"),
            (Stop::MaxTokens, ", --max-tokens reached"),
            (Stop::ContextFull, ", context of 512 full"),
            (Stop::Interrupted, ", interrupted"),
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
