//! Averages over the tokens of a text: ticks of a clock, reads, bytes.

use rillm::Traffic;

/// Counts the tokens of a text and what they take. The first token belongs to the prefill, so the averages leave it
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    start: Moment,
    first: Moment,
    tokens: u64,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    ticks: u64,
    traffic: Traffic,
}

/// Totals over some tokens.
#[derive(Clone, Copy, Debug)]
pub struct Averages {
    /// Number of tokens in the totals: those after the first one, or one if there is only the first.
    pub tokens: u64,
    /// Ticks of the clock.
    pub ticks: u64,
    /// Ticks from the start to the first token; 0 without one.
    pub ticks_to_first: u64,
    /// Reads, seeks and bytes.
    pub traffic: Traffic,
}

impl Metrics {
    /// Starts before the first token, at `ticks` and `traffic`.
    pub fn new(ticks: u64, traffic: Traffic) -> Self {
        let start = Moment { ticks, traffic };
        Self { start, first: start, tokens: 0 }
    }

    /// Counts a token that ended at `ticks` and `traffic`.
    pub fn token(&mut self, ticks: u64, traffic: Traffic) {
        self.tokens += 1;
        if self.tokens == 1 {
            self.first = Moment { ticks, traffic };
        }
    }

    /// The totals so far.
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

/// The unit of a clock's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A unit of time. The speed is given in tokens a second.
    Time {
        /// Ticks a second.
        per_second: u32,
    },
    /// Another unit, in the plural: `instructions`. The speed is given in units a token.
    Count(&'static str),
}

/// Converts ticks to microseconds.
pub fn micros(ticks: u64, per_second: u32) -> u64 {
    const MICROS: u64 = 1_000_000;
    let per_second = u64::from(per_second.max(1));
    // The remainder is below 2^32.
    (ticks / per_second).saturating_mul(MICROS).saturating_add(ticks % per_second * MICROS / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut metrics = Metrics::new(100, traffic(5, 5000, 5));
        assert_eq!(metrics.averages(100, traffic(5, 5000, 5)).tokens, 0);
        metrics.token(1100, traffic(105, 105_000, 10));
        let only = metrics.averages(1100, traffic(105, 105_000, 10));
        assert_eq!(
            (only.tokens, only.ticks, only.ticks_to_first, only.traffic),
            (1, 1000, 1000, traffic(100, 100_000, 5))
        );
        metrics.token(1500, traffic(115, 115_000, 12));
        metrics.token(1900, traffic(125, 125_000, 14));
        let rest = metrics.averages(2000, traffic(125, 125_000, 14));
        assert_eq!(
            (rest.tokens, rest.ticks, rest.ticks_to_first, rest.traffic),
            (2, 900, 1000, traffic(20, 20_000, 4))
        );
    }
}
