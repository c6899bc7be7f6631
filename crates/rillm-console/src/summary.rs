//! What a text took, in the same words on a board and on a laptop.

use core::fmt;

use rillm::counted::Traffic;

use crate::number::{Bytes, Grouped, Tenths};
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
        write!(f, "{} tokens", self.tokens)?;
        match self.unit {
            None => {}
            Some(Unit::Time { per_second }) => {
                let speed = Tenths { of: u128::from(tokens) * u128::from(per_second), by: ticks.into() };
                write!(f, " at {speed} tokens/s")?;
            }
            Some(Unit::Count(unit)) => {
                write!(f, " at {} {unit} a token", Grouped(ticks.checked_div(tokens).unwrap_or(0)))?;
            }
        }
        match self.stop {
            Stop::EndOfText => {}
            Stop::MaxTokens => write!(f, ", {} reached", self.max_tokens_name)?,
            Stop::ContextFull => write!(f, ", context of {} full", self.context)?,
            Stop::Interrupted => f.write_str(", interrupted")?,
        }
        write!(f, " · {}", Ram(self.ram))?;
        if self.has_read {
            let bytes = Bytes(traffic.bytes.checked_div(tokens).unwrap_or(0));
            let each = |count: u64| Tenths { of: count.into(), by: tokens.into() };
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
        write!(f, "check: {} tokens, ids", self.ids.len())?;
        for id in self.ids {
            write!(f, " {id}")?;
        }
        write!(f, ", logits {:08x}", self.logits)
    }
}
