//! `rillm monitor`: the console of a board.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use console::style;

use crate::board_check::{Reference, sampling};
use crate::board_link::{Link, Received};
use crate::board_screen::BoardScreen;
use crate::lines::{Line, Lines};
use crate::{files, interrupt, say};

/// Silence after which a prompt is one. A byte takes 0.1 ms at 115200 baud, and a USB adapter holds bytes back for 16 ms.
const QUIET: Duration = Duration::from_millis(100);
/// Silences after which a prompt is one although the figures of the text have not come: it may be a part of the text.
const LONG: u32 = 30;
/// Silences after which the user is told that the board is silent.
const SILENT: u32 = 30;
/// Silences after which a script gives up a board that has never said anything.
const DEAD: u32 = 300;
/// Longest line of the console in bytes.
const LINE_LEN: usize = 512;
const CTRL_C: u8 = 3;

/// Talk with a board over its serial port, and compare its texts with this computer's
///
/// Lines are edited on this computer, with history; up recalls them. Ctrl-C ends a text, and twice at the prompt the monitor,
/// as Ctrl-D does. The board's command /help lists the commands of its console. If standard input is no terminal, each of its
/// lines is sent when the board has answered the one before.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm monitor --port /dev/ttyUSB0
  # Each text is computed here, too, and compared: tokens and logits
  rillm monitor --port /dev/ttyUSB0 --model tiny-llm.rillm
  # A script: exit code 1 if the board computes otherwise
  echo \"Once upon a time\" | rillm monitor --port COM3 --model

Exit codes: 0 all texts that were compared are equal, 1 a text differs or cannot be compared, a line cannot be sent, or the
board is gone.")]
pub struct Args {
    /// The serial port: /dev/ttyUSB0, /dev/cu.usbserial-1, COM3
    #[arg(long, value_name = "PORT")]
    port: String,
    /// Bits a second of the port
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(300..))]
    baud: u32,
    /// The board's model, to compute its texts again; without FILE the bundled one
    #[arg(long, short, value_name = "FILE", num_args = 0..=1, value_parser = files::input())]
    model: Option<Option<PathBuf>>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let reference = args.model.clone().map(Reference::new).transpose()?;
    let link = Link::open(&args.port, args.baud)?;
    interrupt::watch()?;
    let lines = Lines::new()?;
    let is_script = !lines.is_terminal();
    Monitor { link, reference, is_script, is_checking: false, has_spoken: false, exit: ExitCode::SUCCESS }.go_on(lines)
}

struct Monitor {
    link: Link,
    reference: Option<Reference>,
    is_script: bool,
    /// Whether the board has said anything yet.
    has_spoken: bool,
    /// Whether the board prints check lines, because the monitor has asked for them.
    is_checking: bool,
    exit: ExitCode,
}

impl Monitor {
    fn go_on(&mut self, mut lines: Lines) -> Result<ExitCode> {
        // An empty line makes a board that waits print its prompt.
        self.link.send(b"\r")?;
        let mut screen = BoardScreen::after("", false);
        loop {
            if !self.listen(&mut screen, &mut say::out())? {
                return Ok(ExitCode::from(interrupt::exit_code()));
            }
            self.is_checking &= !screen.restarted;
            self.compare(&screen)?;
            let mut later = BoardScreen::default();
            let link = &mut self.link;
            let line = lines.next_while(|| {
                // A board that was reset starts in the middle of the wait.
                if let Received::Bytes(bytes) = link.receive(Duration::ZERO)? {
                    later.push(&bytes, &mut say::out())?;
                }
                Ok(())
            })?;
            self.is_checking &= !later.restarted;
            let line = match line {
                Line::End if interrupt::requested() => return Ok(ExitCode::from(interrupt::exit_code())),
                Line::End => return Ok(self.exit),
                Line::NotUtf8 => Err("what was typed is not UTF-8"),
                Line::Text(line) => String::from_utf8(line).map_err(|_| "the line is not UTF-8"),
            };
            let line = line.map(|line| line.trim_end().replace(char::is_control, " "));
            let line =
                line.and_then(
                    |line| if line.len() < LINE_LEN { Ok(line) } else { Err("the line is longer than 511 bytes") },
                );
            match line {
                Ok(line) => screen = self.send(&line)?,
                Err(why) => {
                    say::note(format_args!("{why}, and was left out"));
                    if self.is_script {
                        self.exit = ExitCode::FAILURE;
                    }
                    screen = self.send("")?;
                }
            }
        }
    }

    /// Sends a line, and returns the screen for what the board prints.
    fn send(&mut self, line: &str) -> Result<BoardScreen> {
        let is_text = !line.is_empty() && !line.starts_with('/');
        if is_text && self.reference.is_some() && !self.is_checking {
            self.ask("/check on")?;
            self.is_checking = true;
        }
        self.is_checking &= !line.starts_with("/reset") && !line.starts_with("/check");
        self.link.send(line.as_bytes())?;
        self.link.send(b"\r")?;
        Ok(BoardScreen::after(line, is_text))
    }

    /// Sends a command that the user does not see, and returns the answer.
    fn ask(&mut self, command: &str) -> Result<String> {
        self.link.send(command.as_bytes())?;
        self.link.send(b"\r")?;
        let mut answer = Vec::new();
        self.listen(&mut BoardScreen::after(command, false), &mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Shows what the board prints until it waits for a line. Ctrl-C is passed on to it. Returns `false` after a signal that
    /// ends the monitor: any in a script, and Ctrl-C where the board says nothing, or has said nothing since the one before.
    fn listen(&mut self, screen: &mut BoardScreen, out: &mut impl Write) -> Result<bool> {
        let (mut silences, mut interrupted) = (0, false);
        loop {
            if interrupt::ended() {
                return Ok(false);
            }
            if interrupt::requested() {
                if self.is_script || interrupted || silences >= SILENT {
                    return Ok(false);
                }
                interrupt::clear();
                interrupted = true;
                self.link.send(&[CTRL_C])?;
            }
            match self.link.receive(QUIET)? {
                Received::Bytes(bytes) => {
                    (silences, interrupted, self.has_spoken) = (0, false, true);
                    screen.push(&bytes, out)?;
                }
                Received::Nothing => {
                    silences += 1;
                    if screen.is_at_prompt() && (!screen.in_text || silences >= LONG) {
                        return Ok(true);
                    }
                    if silences == SILENT && !self.has_spoken {
                        say::note("the board says nothing; is --baud right? Its reset button makes it start anew");
                    }
                    ensure!(
                        silences < DEAD || self.has_spoken || !self.is_script,
                        "the board says nothing; give its --baud"
                    );
                }
            }
        }
    }

    /// Computes the text of a check line again, and says whether it is the same.
    fn compare(&mut self, screen: &BoardScreen) -> Result<()> {
        let (Some(check), Some(figures)) = (&screen.check, screen.figures) else { return Ok(()) };
        if self.reference.is_none() {
            return Ok(());
        }
        if screen.forgotten {
            say::note("not compared: turns of the chat were forgotten");
            return Ok(());
        }
        let answers = [self.ask("/temp")?, self.ask("/top_k")?, self.ask("/top_p")?];
        let answers = answers.each_ref().map(String::as_str);
        let Some(reference) = &self.reference else { return Ok(()) };
        let result =
            sampling(answers, figures.seed).and_then(|sampling| reference.difference(check, figures, sampling));
        match result {
            Ok(None) => say::line(style("check: equal, computed on this computer").green().for_stderr()),
            Ok(Some(difference)) => {
                say::line(style(format_args!("check: differs: {difference}")).red().for_stderr());
                self.exit = ExitCode::FAILURE;
            }
            Err(error) => {
                say::error(&error.context("not compared"));
                self.exit = ExitCode::FAILURE;
            }
        }
        Ok(())
    }
}
