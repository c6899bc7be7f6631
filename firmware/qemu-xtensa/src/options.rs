//! What the board is told at its start: `key=value` words on the emulator's command line.

use core::fmt;

use rillm::plan::PlanOptions;

use crate::memory::PSRAM_MAX;

/// The words, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'w> {
    /// `model=PATH`: the model's file on the host.
    pub model: Option<&'w str>,
    /// `ram=BYTES`: the most SRAM that the engine may use.
    pub ram: usize,
    /// `psram=BYTES`: the PSRAM that the board has, 0 to 4 MiB.
    pub psram: usize,
    /// `context=N`: positions to have room for; `check_every=N`: passes from one check of the weights to the next.
    pub plan: PlanOptions,
    /// `icount=1`: QEMU counts instructions.
    pub icount: bool,
}

/// A word that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'w>(&'w str);

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        write!(
            f,
            "the option `{word}` makes no sense; there are model=PATH, ram=BYTES, psram=0 to psram={PSRAM_MAX}, context=N, \
             check_every=N, icount=0, icount=1"
        )
    }
}

impl<'w> Options<'w> {
    /// Reads the words; what they do not say is no model, and all the memory that there is.
    ///
    /// # Errors
    /// The first word that makes no sense.
    pub fn parse(words: impl Iterator<Item = &'w str>) -> Result<Self, BadWord<'w>> {
        let mut options =
            Self { model: None, ram: usize::MAX, psram: PSRAM_MAX, plan: PlanOptions::new(0), icount: false };
        for word in words {
            let bad = BadWord(word);
            let (key, value) = word.split_once('=').ok_or(bad)?;
            let number = || value.parse().map_err(|_| bad);
            match (key, value) {
                ("model", _) => options.model = Some(value),
                ("ram", _) => options.ram = number()?,
                ("psram", _) => options.psram = Some(number()?).filter(|&len| len <= PSRAM_MAX).ok_or(bad)?,
                ("context", _) => options.plan.context = Some(number()?),
                ("check_every", _) => options.plan.check_every = value.parse().map_err(|_| bad)?,
                ("icount", "0" | "1") => options.icount = value == "1",
                _ => return Err(bad),
            }
        }
        Ok(options)
    }
}
