//! What the board is told at its start: `key=value` words on the emulator's command line.

use core::fmt;

use rillm::plan::PlanOptions;

#[cfg(feature = "faults")]
use crate::faults::Fault;
use crate::memory::PSRAM_MAX;

/// Where the model lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file on the SD card.
    Card,
    /// In flash, so many bytes.
    Flash(usize),
}

/// The words, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'w> {
    /// `source=card`, or `source=flash` with `flash=BYTES`.
    pub source: Source,
    /// `file=NAME`: the model's name on the card; the first *.rillm if absent.
    pub file: Option<&'w str>,
    /// `ram=BYTES`: the most SRAM that the engine may use.
    pub ram: usize,
    /// `psram=BYTES`: the PSRAM that the board has, 0 to 4 MiB.
    pub psram: usize,
    /// `crc=1`: the card's driver checks every block.
    pub crc: bool,
    /// `context=N`: positions to have room for; `check_every=N`: passes from one check of the weights to the next.
    pub plan: PlanOptions,
    /// `icount=1`: QEMU counts instructions.
    pub icount: bool,
    /// `fault=…`: see [`Fault`].
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

/// A word that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'w>(&'w str);

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        write!(
            f,
            "the option `{word}` makes no sense; there are source=card, source=flash with flash=BYTES, file=NAME, \
             ram=BYTES, psram=0 to psram={PSRAM_MAX}, crc=0, crc=1, context=N, \
             check_every=N, icount=0, icount=1"
        )?;
        f.write_str(if cfg!(feature = "faults") {
            ", fault=error@N, fault=late@N:POLLS, fault=gone@N:TRANSFERS, fault=flip@N and fault=flip@N:always"
        } else {
            "; this firmware was built without the feature `faults`"
        })
    }
}

impl<'w> Options<'w> {
    /// Reads the words; what they do not say is the model of the card, and all the memory that there is.
    ///
    /// # Errors
    /// The first word that makes no sense.
    pub fn parse(words: impl Iterator<Item = &'w str>) -> Result<Self, BadWord<'w>> {
        let mut options = Self {
            source: Source::Card,
            file: None,
            ram: usize::MAX,
            psram: PSRAM_MAX,
            crc: false,
            plan: PlanOptions::new(0),
            icount: false,
            #[cfg(feature = "faults")]
            fault: None,
        };
        let mut flash = 0;
        for word in words {
            let bad = BadWord(word);
            let (key, value) = word.split_once('=').ok_or(bad)?;
            let number = || value.parse().map_err(|_| bad);
            let flag = || if let "0" | "1" = value { Ok(value == "1") } else { Err(bad) };
            match key {
                "source" if value == "card" => options.source = Source::Card,
                "source" if value == "flash" => options.source = Source::Flash(0),
                "flash" => flash = number()?,
                "file" => options.file = Some(value),
                "ram" => options.ram = number()?,
                "psram" => options.psram = Some(number()?).filter(|&len| len <= PSRAM_MAX).ok_or(bad)?,
                "crc" => options.crc = flag()?,
                "context" => options.plan.context = Some(number()?),
                "check_every" => options.plan.check_every = value.parse().map_err(|_| bad)?,
                "icount" => options.icount = flag()?,
                #[cfg(feature = "faults")]
                "fault" => options.fault = Some(value.parse().map_err(|()| bad)?),
                _ => return Err(bad),
            }
        }
        if let Source::Flash(len) = &mut options.source {
            *len = flash;
        }
        Ok(options)
    }
}
