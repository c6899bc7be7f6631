//! What the board is told at its start: `key=value` words on the emulator's command line.

use rillm_emulated::BadWord;

/// The words, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'w> {
    /// Those that every board knows.
    pub common: rillm_emulated::Options,
    /// `model=PATH`: the model's file on the host.
    pub model: Option<&'w str>,
}

impl<'w> Options<'w> {
    /// Reads the words; what they do not say is no model, and all the memory that there is.
    ///
    /// # Errors
    /// The first word that makes no sense.
    pub fn parse(words: impl Iterator<Item = &'w str>) -> Result<Self, BadWord<'w>> {
        let mut options = Self::default();
        for word in words {
            let bad = BadWord { word, own: "model=PATH" };
            match word.split_once('=').ok_or(bad)? {
                ("model", path) => options.model = Some(path),
                (key, value) => options.common.take(key, value).ok_or(bad)?,
            }
        }
        Ok(options)
    }
}
