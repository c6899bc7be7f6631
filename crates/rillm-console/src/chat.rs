//! Chats: a line is a turn of a conversation.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::{Chat, ChatError, Error, Session, WeightSource};
use rillm_generate::number::Count;

use crate::failures::{Answer, Failures};
use crate::screen::Screen;

/// Starts a chat with a system text, or with the template's own start. If there is none, prints and returns the reason.
pub async fn start<C, S>(
    screen: &mut Screen<C>,
    session: &mut Session<'_, S>,
    system: Option<&str>,
    chat: &mut Option<Chat>,
) -> Result<Option<Answer>, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    let mut failures = Failures::default();
    loop {
        match Chat::new(session, system).await {
            Ok(started) => {
                *chat = Some(started);
                return Ok(None);
            }
            Err(error) => {
                if let Some(answer) = refused(screen, &mut failures, error)? {
                    return Ok(Some(answer));
                }
            }
        }
    }
}

/// Appends a turn. Returns the number of turns that are forgotten for it.
pub async fn ask<C, S>(
    screen: &mut Screen<C>,
    session: &mut Session<'_, S>,
    chat: &mut Chat,
    text: &str,
) -> Result<Result<u32, Answer>, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    let mut failures = Failures::default();
    loop {
        match chat.ask(session, text).await {
            Ok(forgotten) => return Ok(Ok(forgotten)),
            Err(error) => {
                if let Some(answer) = refused(screen, &mut failures, error)? {
                    return Ok(Err(answer));
                }
            }
        }
    }
}

/// Prints an error. Returns none if the call is to be repeated.
fn refused<C, E>(
    screen: &mut Screen<C>,
    failures: &mut Failures,
    error: ChatError<E>,
) -> Result<Option<Answer>, C::Error>
where
    C: Read + ReadReady + Write,
    E: fmt::Display,
{
    match error {
        ChatError::Session(error) => failures.another(screen, error),
        ChatError::TooLong { tokens, context } => failures.another(screen, Error::<E>::ContextFull { tokens, context }),
        error => {
            screen.say(format_args!("{error}\n"))?;
            Ok(Some(Answer::Done))
        }
    }
}

/// Says that turns were forgotten, if any were.
pub fn say_forgotten<C>(screen: &mut Screen<C>, context: usize, turns: u32) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
{
    match turns {
        0 => Ok(()),
        1 => screen.say(format_args!("the context of {context} is full: forgot the oldest turn\n")),
        turns => {
            let turns = Count(turns.into(), "turn");
            screen.say(format_args!("the context of {context} is full: forgot the oldest {turns}\n"))
        }
    }
}
