//! The options that every board understands: `key=value` on the emulator's command line.

use core::fmt;

use rillm::PlanOptions;

/// Most bytes of PSRAM on a board.
pub const PSRAM_MAX: usize = 4 << 20;

/// The parsed options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `ram=BYTES`: limit of the engine's SRAM.
    pub ram: usize,
    /// `psram=BYTES`: length of the board's PSRAM, 0 to 4 MiB.
    pub psram: usize,
    /// `context=N`: length of the context in tokens.
    pub plan: PlanOptions,
    /// `check_every=N`: passes between two checks of the weights.
    pub check_every: u32,
    /// `icount=1`: whether QEMU counts instructions.
    pub icount: bool,
    /// `generic=1`: whether to use the generic kernel.
    pub generic: bool,
}

impl Default for Options {
    /// All memory that the board has.
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
    /// Sets an option. None if the key is unknown or the value invalid.
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

/// Parses `0` or `1`.
pub fn flag(value: &str) -> Option<bool> {
    matches!(value, "0" | "1").then_some(value == "1")
}

/// An invalid option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'w> {
    /// The option.
    pub word: &'w str,
    /// The usage text of the board's own options.
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
