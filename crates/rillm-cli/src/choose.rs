//! `rillm choose`: chooses among texts by their likelihood.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use rillm::{Choice, Choose, ChooseError, Error, Memory, Model, Nats, Session, block_on};
use serde::Serialize;

use crate::memory_args::MemoryArgs;
use crate::model_file::ModelArgs;
use crate::source::ModelSource;
use crate::{interrupt, progress, say, text, threads};

/// Choose among texts by their likelihood
///
/// Prints the text that is likeliest after the prompt, and on standard error the likelihood of each.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "A text follows the prompt directly: `--prompt \"The lamp is \" --option on` and `--prompt \"The lamp is\" --option \" on\"` \
are the same. A likelihood is the product of the probabilities of a text's tokens, at temperature 1. Longer texts are less likely by \
nature. A text that is the beginning of another is chosen for ending there. The definition: \
https://github.com/rillm/rillm/blob/main/docs/choose.md

Examples:
  rillm choose --prompt \"He looked at the \" --option moon --option sun
  rillm choose --prompt \"Is the sky blue? \" --option yes --option no --json
  # One text a line, and the prompt from a pipe
  echo \"Turn the light on. Command: \" | rillm choose --options commands.txt"
)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Text before the options, in which marks such as `</s>` are special tokens. Without it: standard input, whose
    /// final newline is left out
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    /// A text to choose from; may be given many times
    #[arg(long, short, value_name = "TEXT", allow_negative_numbers = true, required_unless_present = "options")]
    option: Vec<String>,
    /// File with one more text to choose from on each line, empty lines left out; `-` for standard input
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

/// The JSON object of `--json`. Scripts depend on these field names.
#[derive(Debug, Serialize)]
struct ChoiceJson<'a> {
    choice: &'a str,
    index: usize,
    options: Vec<OptionJson<'a>>,
}

#[derive(Debug, Serialize)]
struct OptionJson<'a> {
    text: &'a str,
    tokens: &'a [u32],
    log_probability: f64,
}

impl Args {
    fn prompt(&self) -> Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        if self.options.as_deref().is_some_and(crate::files::is_dash) {
            bail!("standard input has the options, so the prompt must be given with --prompt");
        }
        text::read_prompt()
    }

    fn texts(&self) -> Result<Vec<String>> {
        let mut texts = self.option.clone();
        if let Some(path) = &self.options {
            let file = text::read(path)?;
            texts.extend(file.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            if texts.is_empty() {
                bail!("{} has no line with a text to choose; write one on each line", path.display());
            }
        }
        Ok(texts)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (prompt, texts) = (args.prompt()?, args.texts()?);
    let mut choices: Vec<Choice<'_>> = texts.iter().map(|text| Choice::new(text)).collect();
    let (model, source) = args.model.open(args.memory.default_source())?;
    // No token is sampled.
    let (plan, mut memory) = args.memory.plan(&model, &source, 1)?;
    let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut memory))?;
    threads::use_in(&mut session, args.memory.threads.number())?;
    interrupt::watch()?;
    let Some(index) = block_on(choose(&mut session, &prompt, &mut choices))
        .map_err(|error| refused(error, &texts, &session, &model))?
    else {
        return Ok(ExitCode::from(interrupt::exit_code()));
    };
    if args.json {
        let options = choices.iter().map(|choice| OptionJson {
            text: choice.text(),
            tokens: session.tokens_of(choice),
            log_probability: decimals(choice.log_probability()),
        });
        let object = ChoiceJson { choice: &texts[index], index, options: options.collect() };
        writeln!(say::out(), "{}", serde_json::to_string(&object)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(say::out(), "{}", texts[index])?;
    for choice in &choices {
        let logarithm = decimals(choice.log_probability());
        say::note(format_args!("{logarithm:>12.6} {:>9.4} %  {}", 100.0 * logarithm.exp(), choice.text()));
    }
    if let Some(joined) = joined_word(&prompt, &texts) {
        say::note(format_args!("note: `{joined}` is one word; end the prompt with a space if it should be two"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The index of the likeliest text; `None` after Ctrl-C.
async fn choose(
    session: &mut Session<'_, ModelSource>,
    prompt: &str,
    choices: &mut [Choice<'_>],
) -> Result<Option<usize>, ChooseError<io::Error>> {
    let mut choose = Choose::new(session, prompt, choices).await?;
    let bar = progress::passes();
    while choose.step(session).await? {
        if interrupt::requested() {
            return Ok(None);
        }
        bar.inc(1);
    }
    Ok(Some(choose.finish(session)))
}

/// Rephrases an error so that it names the options that help.
fn refused(
    error: ChooseError<io::Error>,
    texts: &[String],
    session: &Session<'_, ModelSource>,
    model: &Model,
) -> anyhow::Error {
    match error {
        ChooseError::Empty { index } => {
            anyhow!("the option {:?} has no tokens; give it a character or more that the model knows", texts[index])
        }
        ChooseError::Same { first, second } => {
            anyhow!("the options {:?} and {:?} have the same tokens; leave one out", texts[first], texts[second])
        }
        ChooseError::Session(Error::ContextFull { tokens, .. }) => {
            let (context, most) = (session.plan().context, model.header().context_length as usize);
            let remedy = if context < most { ", or raise --ram or --context" } else { "" };
            anyhow!(
                "the prompt and the options take {tokens} tokens or more, and there is room for {context}; shorten them{remedy}"
            )
        }
        error => error.into(),
    }
}

/// A logarithm as a number with the decimals of its accuracy.
fn decimals(Nats(bits): Nats) -> f64 {
    (bits as f64 / f64::from(1 << Nats::FRACTION_BITS) * 1e6).round() / 1e6
}

/// The word that the prompt's end and the start of one of the texts make together, if they do.
fn joined_word(prompt: &str, texts: &[String]) -> Option<String> {
    let end = prompt.rsplit(|c: char| !c.is_alphanumeric()).next().filter(|end| !end.is_empty())?;
    let starts = texts.iter().map(|text| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default());
    Some(format!("{end}{}", starts.into_iter().find(|start| !start.is_empty())?))
}
