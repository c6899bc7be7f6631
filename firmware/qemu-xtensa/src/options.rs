//! The options of this board: `key=value` on the emulator's command line.

use rillm_emulated::BadWord;

/// The parsed options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'w> {
    /// The options that every board understands.
    pub common: rillm_emulated::Options,
    /// `model=PATH`: the model's file on the host.
    pub model: Option<&'w str>,
}

impl<'w> Options<'w> {
    /// Parses the options. The defaults are no model, and all memory that there is.
    ///
    /// # Errors
    /// The first invalid option.
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
