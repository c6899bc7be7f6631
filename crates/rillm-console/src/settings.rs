//! The user's settings, and how they are parsed and shown.

use core::fmt;

use heapless::String;
use rillm::{PlanOptions, Q16, Sampling};

use rillm_generate::LONGEST_STOP_STRING;
use rillm_generate::number::{Decimal, Word, probability, q16};

/// Number of candidate tokens of a session, and the largest top-k.
pub const CANDIDATES: usize = PlanOptions::DEFAULT_CANDIDATES;

/// The settings. The defaults are those of `rillm run`, except for the seed, since a board may have no clock.
pub struct Settings {
    sampling: Sampling,
    /// Whether the user has set the seed. Otherwise it grows by one with each text.
    seed_is_set: bool,
    pub max_tokens: u32,
    /// The stop string.
    pub stop: Option<String<LONGEST_STOP_STRING>>,
    pub check: bool,
    /// Whether a model that can chat is talked with in turns.
    pub chat: bool,
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    Temp,
    TopK,
    TopP,
    Seed,
    Max,
    Stop,
    Check,
    Chat,
}

impl Settings {
    pub const fn new() -> Self {
        Self {
            sampling: Sampling::GREEDY.temperature(Q16::thousandths(800)).top_p(Q16::thousandths(950)).seed(1),
            seed_is_set: false,
            max_tokens: 256,
            stop: None,
            check: false,
            chat: true,
        }
    }

    /// The sampling settings of the next text.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Advances the seed after a text has started, unless the user has set it.
    pub fn next_text(&mut self) {
        if !self.seed_is_set {
            self.sampling.seed = self.sampling.seed.wrapping_add(1);
        }
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// The expected value. The setting is unchanged then.
    pub fn set(&mut self, setting: Setting, value: &str) -> Result<(), &'static str> {
        let Sampling { temperature, top_k, top_p, seed, .. } = &mut self.sampling;
        match setting {
            Setting::Temp => *temperature = q16(value)?,
            Setting::TopP => *top_p = probability(value)?,
            Setting::TopK => {
                *top_k = whole(value, 0, CANDIDATES as u32).ok_or("it must be a whole number, 0 to 256")?
            }
            Setting::Max => {
                self.max_tokens = whole(value, 1, u32::MAX).ok_or("it must be a whole number, 1 to 4294967295")?
            }
            Setting::Seed => {
                *seed = value.parse().map_err(|_| "it must be a whole number from 0 on, below 2^64")?;
                self.seed_is_set = true;
            }
            Setting::Stop if value.is_empty() => self.stop = None,
            Setting::Stop => {
                self.stop = Some(String::try_from(value).map_err(|_| "it must have at most 64 bytes")?);
            }
            Setting::Check => self.check = switch(value)?,
            Setting::Chat => self.chat = switch(value)?,
        }
        Ok(())
    }

    /// Shows a setting.
    pub fn show(&self, setting: Setting) -> impl fmt::Display {
        Shown { settings: self, setting }
    }
}

fn switch(value: &str) -> Result<bool, &'static str> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it must be on or off"),
    }
}

fn whole(value: &str, least: u32, most: u32) -> Option<u32> {
    value.parse().ok().filter(|number| (least..=most).contains(number))
}

struct Shown<'a> {
    settings: &'a Settings,
    setting: Setting,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, setting } = self;
        let sampling = &settings.sampling;
        match setting {
            Setting::Temp => write!(f, "temp {}", Decimal(sampling.temperature)),
            Setting::TopK if sampling.top_k == 0 => f.write_str("top_k 0, the whole vocabulary"),
            Setting::TopK => write!(f, "top_k {}", sampling.top_k),
            Setting::TopP => write!(f, "top_p {}", Decimal(sampling.top_p)),
            Setting::Seed if settings.seed_is_set => write!(f, "seed {}, for every text", sampling.seed),
            Setting::Seed => write!(f, "seed {}, then one more for each text", sampling.seed),
            Setting::Max => write!(f, "max {} {}", settings.max_tokens, Word(settings.max_tokens as u64, "token")),
            Setting::Stop => match &settings.stop {
                Some(stop) => write!(f, "stop before `{stop}`"),
                None => f.write_str("stop before no string"),
            },
            Setting::Check => write!(f, "check {}", if settings.check { "on" } else { "off" }),
            Setting::Chat => write!(f, "chat {}", if settings.chat { "on" } else { "off" }),
        }
    }
}
