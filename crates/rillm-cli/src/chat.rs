//! `rillm chat`: a conversation, turn by turn.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail, ensure};
use indicatif::BinaryBytes;
use rillm::format::{ChatHeader, ChatPart};
use rillm::{Chat, ChatError, Memory, Model, Session, block_on};
use rillm_generate::{ForgottenTurns, Generation, StopStrings};
use serde_json::json;

use crate::answer::{Outcome, generate, show};
use crate::files;
use crate::interrupt;
use crate::lines::{Line, Lines};
use crate::model_file::ModelArgs;
use crate::number::{self, Count, Word};
use crate::prompt_cache;
use crate::say;
use crate::sections::chat_form;
use crate::session_args::SessionArgs;
use crate::source::ModelSource;
use crate::threads;

const HELP: &str = "  \
  /help         this list
  /reset        forget what was said, but not the system prompt
  /stats        what the chat has taken so far
  /save [FILE]  save the chat, to go on with --prompt-cache FILE
  /exit         end, as Ctrl-D does
  Ctrl-C        ends an answer; the chat goes on
Everything else is said to the model.";

/// Chat with a model that has a chat template, turn by turn
///
/// The KV cache keeps the conversation, so that no turn is computed twice. When the context is full, the oldest turns
/// are forgotten. If standard input is not a terminal, each of its lines is a turn.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = format!("Typed in a chat:
{HELP}

Examples:
  rillm chat --model smollm2.rillm
  > What is a rill?
  > /save talk.cache
  rillm chat --model smollm2.rillm --system \"You are a pirate.\" --context 512
  # Continue it later
  rillm chat --model smollm2.rillm --prompt-cache talk.cache
  # Questions from a script, one JSON object for each answer
  rillm chat --model smollm2.rillm --seed 7 --json < questions.txt"), mut_arg("ram", |arg| arg.default_value("4M")))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// System prompt before the first turn; without it, the template's own
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    session: SessionArgs,
    /// Continue the chat in this file, if it exists, and save the chat there at the end
    #[arg(long, value_name = "FILE", value_parser = files::output())]
    prompt_cache: Option<PathBuf>,
    /// Print a line with one JSON object for each answer
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stops = args.session.stops();
    let stops = StopStrings::new(&stops)?;
    let (model, mut source) = args.model.open(args.session.memory.default_source())?;
    let Some(form) = chat_form(model.header(), &mut source)? else {
        bail!(
            "{} has no chat template that rillm can use; continue texts with it by `rillm run`, or name a chat model with --model, \
             such as SmolLM2-135M-Instruct converted by `rillm convert`",
            args.model.model.as_ref().map_or("the bundled model".into(), |path| path.display().to_string())
        );
    };
    let (plan, mut memory) = args.session.memory(&model, &source)?;
    check_room(args, &form, &model, &source, plan.context)?;
    let mut session = Session::from_plan(&model, source, plan, Memory::internal(&mut memory))?;
    threads::use_in(&mut session, args.session.memory.threads.number())?;
    let mut chat = block_on(Chat::new(&mut session, args.system.as_deref())).map_err(refused)?;
    if let Some(path) = &args.prompt_cache {
        resume(path, args, &mut chat, &mut session)?;
    }
    let mut talk = Talk { args, model: &model, session, chat, stops };
    // Ctrl-C ends an answer after the current token.
    interrupt::watch()?;
    let ended = talk.go_on(Lines::new()?);
    // The chat is saved whether it ended normally or with an error.
    let saved = args.prompt_cache.as_ref().map_or(Ok(()), |path| talk.save(path));
    match (ended, saved) {
        (Err(ended), Err(unsaved)) => {
            say::error(&unsaved);
            Err(ended)
        }
        (ended, saved) => saved.and(ended),
    }
}

/// What to do after a line.
enum Next {
    Line,
    End,
}

/// A line that is rejected with a message. The chat continues.
#[derive(Debug)]
struct Refusal(String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The state of a chat.
struct Talk<'a, 'm> {
    args: &'a Args,
    model: &'m Model,
    session: Session<'m, ModelSource>,
    chat: Chat,
    stops: StopStrings<'a>,
}

impl Talk<'_, '_> {
    fn greet(&self, is_terminal: bool) {
        if is_terminal {
            let (name, context) = (self.model.header().source_name().unwrap_or_default(), self.session.plan().context);
            say::note(format_args!("{name}, a context of {context}; /help lists the commands, Ctrl-D ends"));
        }
        if self.chat.turns() > 0 {
            say::note(format_args!("going on after {}", turns(self.chat.turns())));
        }
    }

    /// Answers line after line until the end of the input.
    fn go_on(&mut self, mut lines: Lines) -> Result<ExitCode> {
        self.greet(lines.is_terminal());
        let mut exit = ExitCode::SUCCESS;
        loop {
            let next = match lines.next()? {
                Line::Text(line) => self.line(&line),
                Line::NotUtf8 => {
                    Err(Refusal("what was typed is not UTF-8, and was left out; type it again".into()).into())
                }
                Line::End => Ok(Next::End),
            };
            match next {
                Ok(Next::End) if interrupt::requested() => return Ok(ExitCode::from(interrupt::exit_code())),
                Ok(Next::End) => return Ok(exit),
                Ok(Next::Line) => {}
                Err(error) if error.is::<Refusal>() => {
                    say::error(&error);
                    // A user sees the message and continues; a script is told by the exit code.
                    if !lines.is_terminal() {
                        exit = ExitCode::FAILURE;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Next> {
        let line = str::from_utf8(line).map_err(|error| {
            Refusal(format!("a line is not UTF-8 from its byte {} on, and was left out", error.valid_up_to() + 1))
        })?;
        let line = line.trim_end_matches(['\r', '\n']);
        let Some(command) = line.strip_prefix('/') else {
            if !line.trim().is_empty() {
                let answered = self.answer(line);
                // A Ctrl-C since then was meant for the answer.
                interrupt::clear();
                answered?;
            }
            // A signal ends the chat together with the answer.
            return Ok(if interrupt::ended() { Next::End } else { Next::Line });
        };
        let (name, value) = command.split_once(' ').unwrap_or((command, ""));
        match (name.trim_end(), value.trim()) {
            ("help", "") => say::line(HELP),
            ("reset", "") => self.chat.reset(&mut self.session),
            ("stats", "") => self.stats(),
            ("save", file) => {
                let path = Some(Path::new(file)).filter(|_| !file.is_empty()).or(self.args.prompt_cache.as_deref());
                let path = path.filter(|path| !files::is_dash(path));
                let path = path.ok_or(Refusal("name a file, as in /save talk.cache".to_owned()))?;
                self.save(path).map_err(|error| Refusal(say::causes(&error)))?;
                say::note(format_args!("saved to {}", path.display()));
            }
            ("exit", "") => return Ok(Next::End),
            ("help" | "reset" | "stats" | "exit", value) => {
                bail!(Refusal(format!("/{} takes no value, and there is `{value}`", name.trim_end())))
            }
            (name, _) => bail!(Refusal(format!("there is no command `/{name}`; /help lists them"))),
        }
        Ok(Next::Line)
    }

    /// Answers one turn.
    fn answer(&mut self, text: &str) -> Result<()> {
        let Self { args, model, session, chat, stops } = self;
        let pushed = block_on(chat.ask(session, text));
        let asked = pushed.map_err(|error| match error {
            ChatError::TooLong { .. } => Refusal(refused(error).to_string()).into(),
            error => refused(error),
        })?;
        let print = |piece: &str| show(piece, args.json);
        let sampling = args.session.sampling();
        // Without a prompt: the answer is a text of its own, whose leading space is not printed.
        let generation = Generation::new(model, "", sampling)
            .max_tokens(args.session.max_tokens)
            .stop_strings(stops.clone())
            .in_chat(chat);
        let outcome = block_on(generate(session, generation, &args.session, sampling.seed, print));
        if !args.json {
            // Ends the line of the answer, after an error too.
            writeln!(say::out())?;
        }
        let outcome = outcome?;
        self.tell(asked + outcome.forgotten, outcome)
    }

    /// Prints the figures of an answer.
    fn tell(&self, forgotten: u32, outcome: Outcome) -> Result<()> {
        if self.args.json {
            let mut value = serde_json::to_value(outcome.report(&self.session))?;
            value["context_tokens"] = json!(self.session.tokens().len());
            value["turns"] = json!(self.chat.turns());
            value["forgotten_turns"] = json!(forgotten);
            return Ok(writeln!(say::out(), "{value}")?);
        }
        say::note(outcome.summary);
        if forgotten > 0 {
            say::note(ForgottenTurns { context: self.session.plan().context, turns: forgotten });
        }
        Ok(())
    }

    fn stats(&self) {
        let (stats, context) = (self.session.stats(), self.session.plan().context);
        say::note(format_args!(
            "{}, {} of {context} {} · {} computed in {} · RAM {} of {} · {} read in {}",
            turns(self.chat.turns()),
            self.session.tokens().len(),
            Word(context as u64, "token"),
            Count(stats.tokens, "token"),
            Count(stats.passes, "pass"),
            BinaryBytes(stats.memory.internal as u64),
            BinaryBytes(self.args.session.memory.ram as u64),
            BinaryBytes(stats.traffic.bytes),
            Count(stats.traffic.reads, "read"),
        ));
    }

    fn save(&self, path: &Path) -> Result<()> {
        let numbers: Vec<u32> = self.chat.numbers().collect();
        prompt_cache::store(path, &self.session, &numbers)
    }
}

/// Rejects a context too short for the template's tokens around a question, one token of it and one token of the
/// answer.
fn check_room(args: &Args, form: &ChatHeader, model: &Model, source: &ModelSource, context: usize) -> Result<()> {
    let parts: &[ChatPart] = match args.system {
        None => &[ChatPart::Begin, ChatPart::Ask],
        Some(_) => &[ChatPart::BeginSystem, ChatPart::AfterSystem, ChatPart::Ask],
    };
    let template: usize = parts.iter().map(|&part| form.place(part).1).sum();
    let needed = template + 2;
    if context >= needed {
        return Ok(());
    }
    let template = Count(template as u64, "token");
    let takes = format!("this model's chat template takes {template}, besides what is said and answered");
    if context == model.header().context_length as usize {
        bail!("{takes}, and the model was made for {context}: it cannot chat");
    }
    if let Some(given) = args.session.memory.context {
        bail!("{takes}, and there is room for {given}; use --context {needed} or more");
    }
    let larger = args.session.larger_ram(model, source, needed);
    let remedy = larger.map_or_else(String::new, |(ram, _)| format!("; use --ram {} or more", number::exactly(ram)));
    bail!("{takes}, and --ram {} has room for {context}{remedy}", number::exactly(args.session.memory.ram))
}

/// Restores the chat from `path`, if the file exists.
fn resume(path: &Path, args: &Args, chat: &mut Chat, session: &mut Session<'_, ModelSource>) -> Result<()> {
    let begun = session.tokens().to_vec();
    let Some(numbers) = prompt_cache::load(path, session)? else { return Ok(()) };
    let (path, remedy) = (path.display(), prompt_cache::REMEDY);
    chat.resume(session, &numbers).map_err(|error| match error {
        ChatError::NotAChat => anyhow!("{path} is not of a chat; {remedy}"),
        error => refused(error),
    })?;
    ensure!(
        args.system.is_none() || session.tokens()[..chat.prologue()] == begun,
        "the chat in {path} has another system prompt; leave --system out, {remedy}"
    );
    Ok(())
}

/// Rephrases an error so that it names the options that help.
fn refused(error: ChatError<std::io::Error>) -> anyhow::Error {
    match error {
        ChatError::TooLong { tokens, context } => anyhow!(
            "the text makes {tokens} tokens or more, with what has to stand before it, and there is room for {context}; shorten \
             it, or raise --ram or --context"
        ),
        error => error.into(),
    }
}

fn turns(count: u32) -> String {
    Count(count.into(), "turn").to_string()
}
