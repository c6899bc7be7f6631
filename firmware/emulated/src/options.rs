//! The words at the start that every board knows: `key=value`, on the emulator's command line.

use core::fmt;

use rillm::PlanOptions;

/// Bytes of PSRAM that a board can have.
pub const PSRAM_MAX: usize = 4 << 20;

/// The words, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `ram=BYTES`: the most SRAM that the engine may use.
    pub ram: usize,
    /// `psram=BYTES`: the PSRAM that the board has, 0 to 4 MiB.
    pub psram: usize,
    /// `context=N`: positions to have room for.
    pub plan: PlanOptions,
    /// `check_every=N`: passes from one check of the weights to the next.
    pub check_every: u32,
    /// `icount=1`: QEMU counts instructions.
    pub icount: bool,
    /// `generic=1`: rows are multiplied by means that every processor has.
    pub generic: bool,
}

impl Default for Options {
    /// All the memory that there is.
    fn default() -> Self {
        Self {
            ram: usize::MAX,
            psram: PSRAM_MAX,
            plan: PlanOptions::default(),
            check_every: rillm::CHECK_EVERY,
            icount: false,
            generic: false,
        }
    }
}

impl Options {
    /// Takes a word in. None if it is none of these, or makes no sense.
    pub fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "ram" => self.ram = value.parse().ok()?,
            "psram" => self.psram = value.parse().ok().filter(|&len| len <= PSRAM_MAX)?,
            "context" => self.plan.context = Some(value.parse().ok()?),
            "check_every" => self.check_every = value.parse().ok()?,
            "icount" => self.icount = flag(value)?,
            "generic" => self.generic = flag(value)?,
            _ => return None,
        }
        Some(())
    }
}

/// `0` or `1`.
pub fn flag(value: &str) -> Option<bool> {
    matches!(value, "0" | "1").then_some(value == "1")
}

/// A word that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'w> {
    /// The word.
    pub word: &'w str,
    /// The board's own words, as its user is told of them.
    pub own: &'static str,
}

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, own } = self;
        write!(
            f,
            "the option `{word}` makes no sense; there are ram=BYTES, psram=0 to psram={PSRAM_MAX}, context=N, check_every=N, \
             icount=0, icount=1, generic=0, generic=1, {own}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let mut options = Options::default();
        let words = [("ram", "65536"), ("psram", "0"), ("context", "50"), ("check_every", "1"), ("icount", "1")];
        for (key, value) in words.into_iter().chain([("generic", "1")]) {
            assert_eq!(options.take(key, value), Some(()), "{key}");
        }
        let plan = PlanOptions::default().context(50);
        assert_eq!(options, Options { ram: 65536, psram: 0, plan, check_every: 1, icount: true, generic: true });
        for (key, value) in [("ram", "64K"), ("psram", "4194305"), ("context", "-1"), ("icount", "2"), ("rom", "1")] {
            assert_eq!(options.take(key, value), None, "{key}");
        }
    }
}
