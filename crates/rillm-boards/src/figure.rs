//! Figures as ranges of integers.

/// A range from the lowest to the highest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The lowest value.
    pub low: u64,
    /// The highest value.
    pub high: u64,
}

impl Range {
    /// A range of one value.
    pub const fn exactly(number: u64) -> Self {
        Self { low: number, high: number }
    }

    pub(crate) fn zip(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self { low: of(self.low, other.low), high: of(self.high, other.high) }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    pub(crate) fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    pub(crate) fn times(self, by: u64) -> Self {
        self.zip(Self::exactly(by), u64::saturating_mul)
    }

    pub(crate) fn over(self, by: u64) -> Self {
        self.zip(Self::exactly(by), |a, b| a / b.max(1))
    }

    /// Time of `amount` at this rate a second, in microseconds.
    pub(crate) fn microseconds(self, amount: u64) -> Self {
        let time = |rate: u64| amount.saturating_mul(1_000_000) / rate.max(1);
        Self { low: time(self.high), high: time(self.low) }
    }

    pub(crate) fn middle(self) -> u64 {
        self.low + (self.high - self.low) / 2
    }
}

/// A range with its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The lowest and the highest plausible value.
    pub range: Range,
    /// Where the range comes from.
    pub source: &'static str,
}

impl Figure {
    /// A figure from `low` to `high`.
    pub const fn new(low: u64, high: u64, source: &'static str) -> Self {
        Self { range: Range { low, high }, source }
    }
}
