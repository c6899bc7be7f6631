//! `/choose`: the likeliest of several texts.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use heapless::Vec;
use rillm::{Choice, Choose, ChooseError, Session, WeightSource};

use crate::failures::{Answer, Failures};
use crate::screen::Screen;

/// Largest number of texts. A line of 512 bytes has room for few more.
const MOST: usize = 20;

/// Chooses among the texts of a line, `PROMPT | TEXT | TEXT`, which follows the session's tokens, and prints the likelihood
/// of each.
///
/// Spaces before a bar are left out. A space after it belongs to the text, so that `is | on | off` are `is on` and
/// `is off`.
pub async fn choose<C, S>(screen: &mut Screen<C>, session: &mut Session<'_, S>, line: &str) -> Result<Answer, C::Error>
where
    C: Read + ReadReady + Write,
    S: WeightSource<Error: fmt::Display>,
{
    if line.matches('|').count() > MOST {
        screen.say(format_args!("there are more than {MOST} texts; leave some out\n"))?;
        return Ok(Answer::Done);
    }
    let mut choices = Vec::new();
    let prompt = parse(line, &mut choices);
    let mut failures = Failures::default();
    let mut choose = loop {
        match Choose::new(session, prompt, &mut choices).await {
            Ok(choose) => break choose,
            Err(ChooseError::Session(error)) => {
                if let Some(answer) = failures.another(screen, error)? {
                    return Ok(answer);
                }
            }
            Err(ChooseError::NoChoices) => {
                screen.print("there is nothing to choose from; type /choose PROMPT | TEXT | TEXT\n")?;
                return Ok(Answer::Done);
            }
            Err(error) => {
                screen.say(format_args!("{error}\n"))?;
                return Ok(Answer::Done);
            }
        }
    };
    failures = Failures::default();
    loop {
        if screen.interrupted()? {
            choose.finish(session);
            return Ok(Answer::Done);
        }
        match choose.step(session).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                if let Some(answer) = failures.another(screen, error)? {
                    return Ok(answer);
                }
            }
        }
    }
    let index = choose.finish(session);
    for choice in &choices {
        screen.say(format_args!("{} {}\n", choice.log_probability(), choice.text().trim_start()))?;
    }
    screen.say(format_args!("choice: {index}, {}\n", choices[index].text().trim_start()))?;
    Ok(Answer::Done)
}

/// Divides a line with at most [`MOST`] bars into the prompt, which is returned, and the texts.
fn parse<'l>(line: &'l str, choices: &mut Vec<Choice<'l>, MOST>) -> &'l str {
    let mut pieces = line.split('|').map(str::trim_end);
    let prompt = pieces.next().unwrap_or_default();
    choices.extend(pieces.map(Choice::new));
    prompt
}
