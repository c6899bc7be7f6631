//! Chats: a line is a turn of a conversation.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::{Chat, ChatError, Error, Session, WeightSource};

use crate::failures::{Answer, Failures};
use crate::screen::Screen;

/// Starts a chat with a system prompt, or with the template's own start. If there is none, prints and returns the reason.
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
            Err(ChatError::TooLong { tokens, context }) => {
                screen.say(format_args!(
                    "a chat starts with {tokens} tokens or more and there is room for {context}; shorten the system prompt, or type \
                     /chat off to continue texts\n"
                ))?;
                return Ok(Some(Answer::Done));
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
