//! The options of this board: `key=value` on the emulator's command line.

use rillm_emulated::{BadWord, flag};

#[cfg(feature = "faults")]
use crate::faults::Fault;

/// Where the model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a file on the SD card.
    Card,
    /// In flash, with its length in bytes.
    Flash(usize),
}

/// The parsed options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'w> {
    /// The options that every board understands.
    pub common: rillm_emulated::Options,
    /// `source=card`, or `source=flash` with `flash=BYTES`.
    pub source: Storage,
    /// `file=NAME`: name of the model on the card; without it, the first *.rillm.
    pub file: Option<&'w str>,
    /// `crc=1`: whether the card's driver verifies the CRC of every block.
    pub crc: bool,
    /// `fault=…`: see [`Fault`].
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

/// Usage of this board's own options.
const OWN: &str = if cfg!(feature = "faults") {
    "source=card, source=flash with flash=BYTES, file=NAME, crc=0, crc=1, fault=error@N, fault=late@N:POLLS, \
     fault=gone@N:TRANSFERS, fault=flip@N and fault=flip@N:always"
} else {
    "source=card, source=flash with flash=BYTES, file=NAME, crc=0 and crc=1; this firmware was built without the feature `faults`"
};

impl<'w> Options<'w> {
    /// Parses the options. The defaults are the model on the card, and all memory that there is.
    ///
    /// # Errors
    /// The first invalid option.
    pub fn parse(words: impl Iterator<Item = &'w str>) -> Result<Self, BadWord<'w>> {
        let mut options = Self {
            common: rillm_emulated::Options::default(),
            source: Storage::Card,
            file: None,
            crc: false,
            #[cfg(feature = "faults")]
            fault: None,
        };
        let mut flash = 0;
        for word in words {
            let bad = BadWord { word, own: OWN };
            let (key, value) = word.split_once('=').ok_or(bad)?;
            match key {
                "source" if value == "card" => options.source = Storage::Card,
                "source" if value == "flash" => options.source = Storage::Flash(0),
                "flash" => flash = value.parse().map_err(|_| bad)?,
                "file" => options.file = Some(value),
                "crc" => options.crc = flag(value).ok_or(bad)?,
                #[cfg(feature = "faults")]
                "fault" => options.fault = Some(value.parse().map_err(|()| bad)?),
                _ => options.common.take(key, value).ok_or(bad)?,
            }
        }
        if let Storage::Flash(len) = &mut options.source {
            *len = flash;
        }
        Ok(options)
    }
}
