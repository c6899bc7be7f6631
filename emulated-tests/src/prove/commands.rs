//! Commands of the console on a board, compared with this computer: `/models`, `/choose` and `/selftest`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rillm::{Bytes, Choice, Memory, Model, Plan, Session, block_on};

use super::host;
use crate::machine::{Machine, Setup};

/// Little memory beside the SRAM, as every byte of it is written and read twice.
const PSRAM: u64 = 64 << 10;
/// The choices: a prompt and texts. The last ones have a text that is the start of another one.
const CHOICES: [(&str, &[&str]); 2] = [
    ("Every night, he looked at the", &[" sun", " moon"]),
    ("The little fox wanted to", &[" see the sea", " see", " sleep", " fly over the hills"]),
];

/// A command, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The command.
    pub command: &'static str,
    /// The last line of the board's answer to it.
    pub said: String,
    /// The differences, in words.
    pub differences: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

/// Enters the commands on a board with the bundled model in the file `model`.
///
/// # Errors
/// The board cannot be booted, or does not answer.
pub fn prove(machine: &Machine, model: &Path) -> Result<Vec<Checked>> {
    let name = model.file_name().and_then(|name| name.to_str()).context("the model has no name")?;
    let file = fs::read(model).with_context(|| format!("cannot read {}", model.display()))?;
    let mut console = machine.boot(&Setup { psram: PSRAM, ..Setup::default() }, |_| ())?;
    let mut all = Vec::new();
    let mut enter = |command: &'static str, line: &str, expected: &[String]| {
        let start = Instant::now();
        let reply = console.command(line)?;
        let said = reply.trim().lines().last().unwrap_or_default().to_owned();
        let differences = missing(&reply, expected);
        all.push(Checked { command, said, differences, time: start.elapsed() });
        anyhow::Ok(())
    };
    enter("/models", "/models", &[format!("*  1  {name}"), "base, 8 bits".to_owned()])?;
    for (prompt, texts) in CHOICES {
        let line = format!("/choose {prompt} |{}", texts.join("|"));
        enter("/choose", &line, &chosen(&file, prompt, texts)?)?;
    }
    enter("/selftest", "/selftest", &["as everywhere".to_owned(), "selftest: passed".to_owned()])?;
    console.into_board().hang_up(|_| ())?;
    Ok(all)
}

/// The lines that a reply lacks, in words.
fn missing(reply: &str, expected: &[String]) -> Vec<String> {
    let lacks = expected.iter().filter(|line| !reply.contains(&**line));
    lacks.map(|line| format!("this computer says `{line}`, and the board {:?}", reply.trim())).collect()
}

/// The lines of `/choose`, computed in another way than on a board: with all the memory it takes, token by token.
fn chosen(file: &[u8], prompt: &str, texts: &[&str]) -> Result<Vec<String>> {
    let mut source = Bytes::lent(file);
    let model = block_on(Model::open(&mut source))?;
    let setup = host::Setup::reference();
    let plan = Plan::new(&model, &source, setup.memory, &setup.options)?;
    let mut ram = vec![0; plan.memory().internal];
    let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut ram))?;
    let mut choices: Vec<Choice<'_>> = texts.iter().map(|text| Choice::new(text)).collect();
    let index = block_on(session.choose(prompt, &mut choices))?;
    let line = |choice: &Choice<'_>| format!("{} {}", choice.log_probability(), choice.text().trim_start());
    let mut lines: Vec<String> = choices.iter().map(line).collect();
    lines.push(format!("choice: {index}, {}", texts[index].trim_start()));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundled_model;

    #[test]
    fn what_a_board_does_not_say_is_a_difference() {
        let expected = ["-0.5 moon".to_owned(), "choice: 0, moon".to_owned()];
        assert!(missing("-0.5 moon\nchoice: 0, moon\n", &expected).is_empty());
        let told = missing("-0.4 moon\nchoice: 0, moon\n", &expected);
        assert!(told.len() == 1 && told[0].starts_with("this computer says `-0.5 moon`"), "{told:?}");
    }

    #[test]
    fn this_computer_says_what_the_manual_of_the_console_does() {
        let file = fs::read(bundled_model()).expect("the bundled model");
        let (prompt, texts) = CHOICES[0];
        let lines = chosen(&file, prompt, texts).expect("it fits");
        assert_eq!(lines, ["-9.494129 sun", "-0.000168 moon", "choice: 1, moon"]);
    }
}
