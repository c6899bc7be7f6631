//! An open model, and the input lines that use it.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::{Chat, Memory, MemoryLen, Model, Session, WeightSource};

use crate::Board;
use crate::answer::answer;
use crate::bandwidth;
use crate::chat;
use crate::choose::choose;
use crate::commands::{Command, HELP};
use crate::failures::Answer;
use crate::files::{File, Files, LongName, Request, Wanted};
use crate::kernel_bench::KernelBench;
use crate::line::Line;
use crate::models::{self, can_chat, open_model};
use crate::report::{MemoryReport, ModelInfo, StatsJson, StatsReport, Totals};
use crate::screen::Screen;
use crate::selftest;
use crate::settings::{CANDIDATES, Settings};

/// What to do after a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open the same model again: reads of it failed.
    OpenAgain,
    /// Open another model.
    Open(Request),
    /// List the models.
    List,
    /// The model could not be opened.
    Failed,
    /// End: the input has ended.
    Ended,
}

/// What ends the service of lines.
enum Interlude {
    /// Another model, or none.
    Next(Next),
    /// The benchmark of the memories.
    Bench,
    /// The self-test.
    SelfTest,
}

impl From<Next> for Interlude {
    fn from(next: Next) -> Self {
        Self::Next(next)
    }
}

/// The state that outlives a model.
pub struct Console<'a, C> {
    screen: Screen<C>,
    line: Line,
    settings: Settings,
    totals: Totals,
    board: &'a dyn Board,
}

/// An open model and its memory.
pub struct LoadedModel<'a> {
    pub board: &'a dyn Board,
    pub model: &'a Model,
    /// Lengths in bytes of both memories.
    pub given: MemoryLen,
    /// Whether the source is memory-mapped, so that weights are used in place.
    pub lent: bool,
}

impl<'a> LoadedModel<'a> {
    /// The memory usage.
    pub fn memory<S: WeightSource>(&self, session: &'a Session<'_, S>) -> MemoryReport<'a> {
        MemoryReport { model: self.model, plan: session.plan(), given: self.given, lent: self.lent }
    }
}

impl<'a, C: Read + ReadReady + Write> Console<'a, C> {
    /// Prints the first lines of the console.
    pub fn new(io: C, board: &'a dyn Board) -> Result<Self, C::Error> {
        let mut screen = Screen::new(io);
        let start = fmt::from_fn(|f| board.describe(f));
        screen.say(format_args!("\nrillm {} on {}\n{start}", env!("CARGO_PKG_VERSION"), board.name()))?;
        Ok(Self { screen, line: Line::new(), settings: Settings::new(), totals: Totals::default(), board })
    }

    /// The file that was found. If there is none, prints the reason.
    pub fn file<E>(&mut self, found: Result<Option<File>, E>, wanted: Wanted) -> Result<Option<File>, C::Error>
    where
        E: fmt::Display,
    {
        match found {
            Ok(Some(file)) => return Ok(Some(file)),
            Ok(None) => match wanted {
                Wanted::Number(number) => self.screen.say(format_args!("there is no model {number}\n"))?,
                Wanted::FirstFrom(1) => self.screen.print("there is no model\n")?,
                // The files before it have been tried.
                _ => {}
            },
            Err(error) => self.screen.say(format_args!("cannot open a model: {error}\n"))?,
        }
        Ok(None)
    }

    /// Lists the models. No source may be open.
    pub async fn list<F: Files>(
        &mut self,
        files: &mut F,
        open: Option<&str>,
        given: MemoryLen,
    ) -> Result<(), C::Error> {
        models::list(&mut self.screen, self.board, files, open, given).await
    }

    /// Runs the model in the file `name` until the user opens another one, or the model must be opened again. `is_known`
    /// leaves out the report.
    pub async fn visit<S, D, E>(
        &mut self,
        name: &str,
        opened: Result<(S, D), E>,
        internal: &mut [u8],
        external: &mut [u8],
        is_known: bool,
    ) -> Result<Next, C::Error>
    where
        S: WeightSource<Error: fmt::Display>,
        D: fmt::Display,
        E: fmt::Display,
    {
        let (mut source, about) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.failed(name, error),
        };
        let model = match open_model(&mut source).await {
            Ok(model) => model,
            Err(error) => return self.failed(name, error),
        };
        let given = MemoryLen { internal: internal.len(), external: external.len() };
        let lent = source.memory().is_some();
        let loaded = LoadedModel { board: self.board, model: &model, given, lent };
        let dot = loaded.board.dot();
        let mut reported = is_known;
        // The result of a self-test, of which only the text is left.
        let mut tested = None;
        loop {
            let options = loaded.board.plan_options(&model).candidates(CANDIDATES);
            let mut session = match Session::new(&model, source, Memory { internal, external }, &options) {
                Ok(session) => session,
                Err(error) => return self.failed(name, error),
            };
            if let Some(clock) = loaded.board.clock() {
                session.set_clock(clock.ticks);
            }
            if let Some(dot) = &dot {
                session.set_multiplier(dot);
            }
            session.set_check_every(loaded.board.check_every());
            if !reported {
                let (info, memory) = (ModelInfo(model.header()), loaded.memory(&session));
                let expected = fmt::from_fn(|f| loaded.board.expect(f, &model, session.plan()));
                self.screen.say(format_args!("{info}\n{about}\n{memory}\n{expected}"))?;
                self.screen.print(if self.settings.chat && can_chat(loaded.model) {
                    "Say something to the model, or type /help.\n"
                } else {
                    "Type the beginning of a text, or /help.\n"
                })?;
                reported = true;
            }
            if let Some(passed) = tested.take() {
                let passed = selftest::text(&mut self.screen, &mut session).await? && passed;
                self.screen.print(if passed { "selftest: passed\n" } else { "selftest: failed\n" })?;
            }
            let interlude = self.serve(&loaded, &mut session).await?;
            self.totals = self.totals.and(session.stats());
            if let Interlude::Next(next) = interlude {
                return Ok(next);
            }
            // The session's memory becomes the buffer for reads, and is tested itself. Between two texts it holds only
            // weights, which the next text reads again.
            source = session.into_source();
            if let Interlude::SelfTest = interlude {
                let screen = &mut self.screen;
                let mut passed = selftest::kernels(screen)?;
                passed &= selftest::memory(screen, "internal memory", internal)?;
                if !external.is_empty() {
                    passed &= selftest::memory(screen, "external memory", external)?;
                }
                passed &= selftest::file(screen, loaded.board.clock(), &mut source, &model, internal).await?;
                tested = Some(passed);
            } else {
                self.screen.say(format_args!("{}", KernelBench(loaded.board.clock())))?;
            }
            if let (Interlude::Bench, Some(clock)) = (interlude, loaded.board.clock()) {
                let len = model.header().file_len();
                bandwidth::measure(&mut self.screen, clock, &mut source, len, internal, external).await?;
            }
        }
    }

    /// Prints why a file cannot be used.
    pub fn failed(&mut self, name: &str, error: impl fmt::Display) -> Result<Next, C::Error> {
        self.screen.say(format_args!("cannot open {name}: {error}\n"))?;
        Ok(Next::Failed)
    }

    /// Waits for the user while no model is open.
    pub fn ask(&mut self) -> Result<Next, C::Error> {
        self.screen.print("Enter tries again, /models lists the files, /model NAME opens one.\n")?;
        while self.line.read(&mut self.screen)? {
            let next = match Command::parse(self.line.text()) {
                Ok(Command::Models) => Some(Next::List),
                Ok(Command::Open(name)) => open(&mut self.screen, name)?,
                _ => Some(Next::OpenAgain),
            };
            if let Some(next) = next {
                return Ok(next);
            }
        }
        Ok(Next::Ended)
    }

    /// Serves lines until the user opens another model. Also ends where a command needs the session's
    /// memory.
    async fn serve<S>(&mut self, loaded: &LoadedModel<'_>, session: &mut Session<'_, S>) -> Result<Interlude, C::Error>
    where
        S: WeightSource<Error: fmt::Display>,
    {
        let Self { screen, line, settings, totals, board } = self;
        // The chat, once it has begun.
        let mut chat = None;
        while line.read(screen)? {
            let command = match Command::parse(line.text()) {
                Ok(command) => command,
                Err(unknown) => {
                    screen.say(format_args!("{unknown}\n"))?;
                    continue;
                }
            };
            match command {
                Command::Nothing => {}
                Command::Prompt(prompt) => {
                    if !(settings.chat && can_chat(loaded.model)) {
                        chat = None;
                    } else if chat.is_none() {
                        match chat::start(screen, session, None, &mut chat).await? {
                            None => {}
                            Some(Answer::Done) => continue,
                            Some(Answer::GivenUp) => return Ok(Next::OpenAgain.into()),
                        }
                    }
                    if answer(screen, settings, loaded, session, chat.as_mut(), prompt).await? == Answer::GivenUp {
                        return Ok(Next::OpenAgain.into());
                    }
                }
                Command::System(text) => {
                    chat = None;
                    let text = Some(text).filter(|text| !text.is_empty());
                    match chat::start(screen, session, text, &mut chat).await? {
                        None => {
                            settings.chat = true;
                            screen.print("the chat starts again\n")?;
                        }
                        Some(Answer::Done) => {}
                        Some(Answer::GivenUp) => return Ok(Next::OpenAgain.into()),
                    }
                }
                Command::Choose(line) => {
                    if chat.is_none() {
                        session.reset();
                    }
                    if choose(screen, session, line).await? == Answer::GivenUp {
                        return Ok(Next::OpenAgain.into());
                    }
                }
                Command::Show(setting) => screen.say(format_args!("{}\n", settings.show(setting)))?,
                Command::Set(setting, value) => match settings.set(setting, value) {
                    Ok(()) => screen.say(format_args!("{}\n", settings.show(setting)))?,
                    Err(expected) => {
                        let stays = settings.show(setting);
                        screen.say(format_args!("`{value}` cannot be taken: {expected}; still {stays}\n"))?;
                    }
                },
                Command::Stats | Command::StatsJson => {
                    let report = || StatsReport {
                        totals: totals.and(session.stats()),
                        board: *board,
                        memory: loaded.memory(session),
                    };
                    say_stats(screen, command == Command::StatsJson, report)?;
                }
                Command::Reset => {
                    match &mut chat {
                        Some(chat) => Chat::reset(chat, session),
                        None => session.reset(),
                    }
                    *settings = Settings::new();
                    screen.print("the text is forgotten, the settings are those of the start\n")?;
                }
                Command::Bench | Command::SelfTest => {
                    if chat.is_some() {
                        screen.print("the chat is forgotten, as its memory is needed\n")?;
                    }
                    return Ok(if command == Command::Bench { Interlude::Bench } else { Interlude::SelfTest });
                }
                Command::Help => screen.print(HELP)?,
                Command::Model => screen.say(format_args!("{}\n", ModelInfo(loaded.model.header())))?,
                Command::Open(name) => {
                    if let Some(next) = open(screen, name)? {
                        return Ok(next.into());
                    }
                }
                Command::Models => {
                    if chat.is_some() {
                        screen.print("the chat is forgotten, as the model is opened again\n")?;
                    }
                    return Ok(Next::List.into());
                }
            }
        }
        Ok(Next::Ended.into())
    }
}

/// Prints a report, as text or as JSON. Not inlined, so that its figures are not on the stack while a model runs.
#[inline(never)]
fn say_stats<'r, C>(
    screen: &mut Screen<C>,
    json: bool,
    report: impl FnOnce() -> StatsReport<'r>,
) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
{
    let report = report();
    if json { screen.say(format_args!("{}\n", StatsJson(report))) } else { screen.say(format_args!("{report}")) }
}

/// The file of this name or number. If the name is too long, prints an error.
fn open<C: Read + ReadReady + Write>(screen: &mut Screen<C>, name: &str) -> Result<Option<Next>, C::Error> {
    let request = Request::parse(name);
    if request.is_none() {
        screen.say(format_args!("{LongName}\n"))?;
    }
    Ok(request.map(Next::Open))
}
