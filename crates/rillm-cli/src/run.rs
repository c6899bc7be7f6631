//! `rillm run`: continues a prompt.

use std::io::{self, IsTerminal, Write, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{Args as _, FromArgMatches as _};
use console::style;
use rillm::{Error, Memory, Model, Session, block_on};
use rillm_generate::{Check, Generation, StopReason, StopStrings};

use crate::answer::{generate, show};
use crate::files;
use crate::interrupt;
use crate::model_file::ModelArgs;
use crate::number;
use crate::prompt_cache;
use crate::say;
use crate::session_args::SessionArgs;
use crate::text;
use crate::threads;

const DEFAULT_PROMPT: &str = "Once upon a time";

/// Continue a prompt
///
/// The text is printed as it is generated. One line of figures follows on standard error.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm run --prompt \"Anna found a key\"
  echo \"The little fox\" | rillm run --max-tokens 100 --temperature 0
  # Through buffers in 64 KiB, as a device reads a card
  rillm run --model tiny-llm.rillm --source file --ram 64K --context 128
  rillm run --prompt Hello --seed 7 --source file --json | jq .bytes_per_token
  # The second run computes only the part after the instructions
  rillm run --prompt \"$(cat instructions.txt) Hello\" --prompt-cache run.cache
  # At the pace of a card over SPI
  rillm run --source throttled --card-rate 1.6M")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Text to continue, in which marks such as `</s>` are special tokens. Without it: standard input, or "Once upon a
    /// time" if that is a terminal or empty
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    #[command(flatten)]
    session: SessionArgs,
    /// Keep the computed KV cache in this file. A later prompt that starts with the same tokens does not compute them
    /// again. Written at the end, also after Ctrl-C
    #[arg(long, value_name = "FILE", value_parser = files::output())]
    prompt_cache: Option<PathBuf>,
    /// Print one more line, with the token ids and a fingerprint of the logits, to compare with a board's `/check on`
    #[arg(long)]
    check: bool,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The arguments of `rillm` without a command: the bundled model and the default prompt, whatever standard input
    /// is.
    pub fn story() -> Self {
        let command = Self::augment_args(clap::Command::new("run"));
        let matches = command.get_matches_from(["run", "--prompt", DEFAULT_PROMPT]);
        Self::from_arg_matches(&matches).expect("every other argument has a default")
    }

    fn prompt(&self) -> Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        if stdin().is_terminal() {
            return Ok(DEFAULT_PROMPT.to_owned());
        }
        let prompt = text::read_prompt()?;
        // Empty standard input, as schedulers provide it, means no prompt.
        Ok(if prompt.is_empty() { DEFAULT_PROMPT.to_owned() } else { prompt })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stops = args.session.stops();
    let stops = StopStrings::new(&stops)?;
    let prompt = args.prompt()?;
    let (model, source) = args.model.open(args.session.memory.default_source())?;
    let (plan, mut memory) = args.session.memory(&model, &source)?;
    let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut memory))?;
    threads::use_in(&mut session, args.session.memory.threads.number())?;
    block_on(session.push_text(&prompt)).map_err(|error| refused_prompt(error, &model))?;
    if let Some(path) = &args.prompt_cache {
        prompt_cache::reuse(path, &mut session)?;
    }
    // Ctrl-C ends the text after the current token.
    interrupt::watch()?;
    let print = |piece: &str| show(piece, args.json);
    let (sampling, max_tokens) = (args.session.sampling(), args.session.max_tokens);
    let mut generation = Generation::new(&model, &prompt, sampling).max_tokens(max_tokens).stop_strings(stops);
    if args.check {
        generation = generation.with_fingerprint();
    }
    let outcome = print(&style(&prompt).bold().to_string()).and_then(|()| {
        let outcome = block_on(generate(&mut session, generation, &args.session, sampling.seed, print));
        // Ends the line of the text, after an error too.
        print("\n").and(outcome)
    });
    // The cache is stored whether the text ended normally or with an error.
    let stored = args.prompt_cache.as_ref().map_or(Ok(()), |path| prompt_cache::store(path, &session, &[]));
    let outcome = outcome?;
    stored?;
    let (stop, wanted) = (outcome.summary.stop, outcome.prompt_tokens.saturating_add(max_tokens));
    if args.json {
        writeln!(say::out(), "{}", serde_json::to_string(&outcome.report(&session))?)?;
    } else {
        say::note(outcome.summary);
        if let Some(path) = &args.prompt_cache {
            let (cached, all, path) = (outcome.cached_tokens, outcome.prompt_tokens, path.display());
            let tokens = number::Word(all as u64, "token");
            say::note(format_args!("{cached} of the prompt's {all} {tokens} from {path}"));
        }
        if let Some(logits) = outcome.logits {
            say::line(Check { ids: session.tokens(), logits });
        }
        let wanted = wanted.min(model.header().context_length as usize);
        if stop == StopReason::ContextFull
            && session.plan().context < wanted
            && let Some((ram, context)) = args.session.larger_ram(&model, &session.into_source(), wanted)
        {
            let ram = number::exactly(ram);
            say::note(format_args!("--ram {ram} has room for a context of {context}"));
        }
    }
    Ok(if stop == StopReason::Interrupted { ExitCode::from(interrupt::exit_code()) } else { ExitCode::SUCCESS })
}

/// Rephrases a rejected prompt's error so that it names the options that help.
fn refused_prompt(error: Error<io::Error>, model: &Model) -> anyhow::Error {
    match error {
        Error::ContextFull { tokens, context } => {
            let most = model.header().context_length as usize;
            // A text longer than any context of this model is not counted to its end.
            let (count, or) =
                if tokens > most { (format!("more than {most}"), "and") } else { (tokens.to_string(), "or") };
            let remedy = if context < most { format!(", {or} raise --ram or --context") } else { String::new() };
            anyhow!("the prompt has {count} tokens and there is room for {context}; shorten it{remedy}")
        }
        error => error.into(),
    }
}
