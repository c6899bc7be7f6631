//! Errors of a text, which cost only time while a card answers again.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::Error;
use rillm_generate::number::Count;

use crate::screen::Screen;

/// Number of consecutive retries after a failed read.
const RETRIES: u32 = 3;

/// How a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The text is complete, or the prompt was rejected.
    Done,
    /// Reads keep failing. The source must be opened again.
    GivenUp,
}

/// Number of consecutive errors.
#[derive(Default)]
pub struct Failures(u32);

impl Failures {
    /// Prints an error. Returns none if the call is to be repeated, otherwise the result of the answer.
    pub fn another<C, E>(&mut self, screen: &mut Screen<C>, error: Error<E>) -> Result<Option<Answer>, C::Error>
    where
        C: Read + ReadReady + Write,
        E: fmt::Display,
    {
        // A flipped bit in a tensor's header appears as a format error.
        let passing = matches!(error, Error::Source(_) | Error::Format(_));
        self.0 += 1;
        Ok(match error {
            Error::ContextFull { tokens, context } => {
                // A prompt that no plan can hold was not counted to its end.
                let tokens = Count(tokens as u64, "token");
                let line = format_args!("the text has at least {tokens} and there is room for {context}; shorten it\n");
                screen.say(line)?;
                Some(Answer::Done)
            }
            error if !passing => {
                screen.say(format_args!("\n[{error}]\n"))?;
                Some(Answer::Done)
            }
            error if self.0 <= RETRIES => {
                screen.say(format_args!("\n[{error} - trying again, {} of {RETRIES}]\n", self.0))?;
                None
            }
            error => {
                screen.say(format_args!(
                    "\n[{error} - given up; check that the card sits firmly, then enter the text again]\n"
                ))?;
                Some(Answer::GivenUp)
            }
        })
    }
}
