//! The options of this board: `key=value` on the emulator's command line.

use rillm_emulated::{BadWord, flag};

#[cfg(feature = "faults")]
use crate::faults::Fault;

/// The parsed options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The options that every board understands.
    pub common: rillm_emulated::Options,
    /// Whether there is a card: `card=0`, `card=1`.
    pub card: bool,
    /// `flash=BYTES`: the length of the model in flash, 0 without one.
    pub flash: usize,
    /// `crc=1`: whether the card's driver verifies the CRC of every block.
    pub crc: bool,
    /// `fault=…`: see [`Fault`].
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

/// Usage of this board's own options.
const OWN: &str = if cfg!(feature = "faults") {
    "card=0, card=1, flash=BYTES, crc=0, crc=1, fault=error@N, fault=late@N:POLLS, \
     fault=gone@N:TRANSFERS, fault=flip@N and fault=flip@N:always"
} else {
    "card=0, card=1, flash=BYTES, crc=0 and crc=1; this firmware was built without the feature `faults`"
};

impl Options {
    /// Parses the options. The defaults are the model on the card, and all memory that there is.
    ///
    /// # Errors
    /// The first invalid option.
    pub fn parse<'w>(words: impl Iterator<Item = &'w str>) -> Result<Self, BadWord<'w>> {
        let mut options = Self {
            common: rillm_emulated::Options::default(),
            card: true,
            flash: 0,
            crc: false,
            #[cfg(feature = "faults")]
            fault: None,
        };
        for word in words {
            let bad = BadWord { word, own: OWN };
            let (key, value) = word.split_once('=').ok_or(bad)?;
            match key {
                "card" => options.card = flag(value).ok_or(bad)?,
                "flash" => options.flash = value.parse().map_err(|_| bad)?,
                "crc" => options.crc = flag(value).ok_or(bad)?,
                #[cfg(feature = "faults")]
                "fault" => options.fault = Some(value.parse().map_err(|()| bad)?),
                _ => options.common.take(key, value).ok_or(bad)?,
            }
        }
        Ok(options)
    }
}
