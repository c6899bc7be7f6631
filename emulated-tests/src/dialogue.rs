//! A dialogue with a board's console, and the parser of its answers.

use std::mem;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::emulator::Emulated;
use crate::say;
use crate::stats::Stats;

/// The console's prompt, printed when it waits for a line.
pub const PROMPT: &str = "\n> ";
/// Start of the check line.
const CHECK: &str = "check: ";
const SUMMARY: [&str; 2] = [" tokens", " token"];

/// A console that waits for a line.
pub struct Dialogue {
    board: Emulated,
}

/// A text, and what the console reports about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The prompt and the text, with `\n` as line end.
    pub text: String,
    /// The line of figures. None after an error.
    pub summary: Option<String>,
    /// The check line: tokens, and the fingerprint of their logits. Printed after `/check on`.
    pub check: Option<String>,
}

impl Dialogue {
    /// Asks the board to continue `prompt`, prints what it says, and ends it. Fails if the answer has no end.
    ///
    /// # Errors
    /// The board does not get to the end.
    pub fn answer(mut self, prompt: &str) -> Result<ExitCode> {
        let answer = self.ask(prompt, |text| say::text(text.as_bytes()))?;
        for line in answer.summary.iter().chain(&answer.check) {
            say::note(line);
        }
        self.into_board().hang_up(|words| say::words(&String::from_utf8_lossy(words)))?;
        Ok(if answer.summary.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Waits for the first prompt. `show` receives the output before it.
    ///
    /// # Errors
    /// The board ends, hangs or traps.
    pub fn new(mut board: Emulated, mut show: impl FnMut(&str)) -> Result<Self> {
        board.read_until(PROMPT, |bytes| show(&plain(bytes)))?;
        Ok(Self { board })
    }

    /// Enters a command and returns the console's reply.
    ///
    /// # Errors
    /// The board ends, hangs or traps.
    pub fn command(&mut self, line: &str) -> Result<String> {
        self.enter(line)?;
        let reply = self.board.read_until(PROMPT, |_| ())?;
        Ok(plain(&reply))
    }

    /// Reads the statistics since the start of the board.
    ///
    /// # Errors
    /// The console has no model open, or the board ends, hangs or traps.
    pub fn stats(&mut self) -> Result<Stats> {
        Stats::parse(self.command("/stats --json")?.trim())
    }

    /// Changes a setting and returns the console's reply.
    ///
    /// # Errors
    /// The value is rejected, no model is open, or the board ends, hangs or traps.
    pub fn set(&mut self, name: &str, value: &str) -> Result<String> {
        let reply = self.command(&format!("/{name} {value}"))?;
        let reply = reply.trim_end();
        // Without an open model, the console takes any line as a request to open it again.
        ensure!(reply.starts_with(&format!("{name} ")), "the board did not take `/{name} {value}`: it said\n{reply}");
        Ok(reply.to_owned())
    }

    /// Enters a prompt. `show` receives the prompt and the text as they are printed.
    ///
    /// # Errors
    /// The prompt contains characters that cannot be typed, the board receives another prompt, or it ends, hangs or
    /// traps.
    pub fn ask(&mut self, prompt: &str, show: impl FnMut(&str)) -> Result<Reply> {
        let is_line = !prompt.trim().is_empty() && !prompt.starts_with('/') && !prompt.contains(char::is_control);
        ensure!(is_line, "a console takes a prompt of one line that does not start with `/`, not {prompt:?}");
        self.enter(prompt)?;
        let mut parts = Parts::new(show);
        self.board.read_until(PROMPT, |bytes| parts.push(bytes))?;
        let answer = parts.finish();
        // The console cuts a line that is too long.
        let is_whole = answer.summary.is_none() || answer.text.starts_with(prompt);
        ensure!(is_whole, "the board did not take all of the prompt; a shorter one may fit its line");
        Ok(answer)
    }

    /// Returns the board.
    pub fn into_board(self) -> Emulated {
        self.board
    }

    fn enter(&mut self, line: &str) -> Result<()> {
        self.board.send(line)?;
        // The echo of the line.
        self.board.read_until("\n", |_| ())?;
        Ok(())
    }
}

/// A parser of an answer that is still being printed. Text is shown at once; a possible figures line only when it is
/// known not to be one.
struct Parts<F> {
    show: F,
    answer: Reply,
    /// The part of the current line that is not shown yet. It may end in an incomplete character.
    held: Vec<u8>,
    /// Whether `held` begins at the start of a line.
    is_start: bool,
}

impl<F: FnMut(&str)> Parts<F> {
    fn new(show: F) -> Self {
        Self { show, answer: Reply::default(), held: Vec::new(), is_start: true }
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\r' {
                self.held.push(byte);
            }
            if byte == b'\n' {
                self.end_line();
            } else if !(self.is_start && may_be_about_text(&self.held)) {
                self.show_held();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.held).trim_end().to_owned();
        if self.is_start && line.starts_with(CHECK) {
            self.answer.check = Some(line);
            self.held.clear();
        } else if self.is_start && may_be_about_text(&self.held) {
            self.answer.summary = Some(line);
            self.held.clear();
        } else {
            self.show_held();
        }
        self.is_start = true;
    }

    /// Shows the held bytes, without an incomplete character at the end.
    fn show_held(&mut self) {
        let whole = match str::from_utf8(&self.held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.held.len(),
        };
        let rest = self.held.split_off(whole);
        let text = String::from_utf8_lossy(&mem::replace(&mut self.held, rest)).into_owned();
        if !text.is_empty() {
            (self.show)(&text);
            self.answer.text += &text;
            self.is_start = false;
        }
    }

    fn finish(mut self) -> Reply {
        // The line end before the prompt belongs to the mark that ended the wait.
        self.held.push(b'\n');
        self.end_line();
        self.answer
    }
}

/// Whether a line, or the start of one, can be about the text: `20 tokens at …`, `1 token, …`, `check: …`.
fn may_be_about_text(line: &[u8]) -> bool {
    let starts_alike = |a: &[u8], b: &str| a.iter().zip(b.as_bytes()).all(|(a, b)| a == b);
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = line.split_at(digits);
    let summary = SUMMARY[usize::from(number == b"1")];
    let goes_on = after.get(summary.len()).is_none_or(|byte| b" ,".contains(byte));
    starts_alike(line, CHECK) || (digits > 0 && starts_alike(after, summary) && goes_on)
}

/// Console output with `\n` as line end.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pieces: &[&[u8]]) -> (Vec<String>, Reply) {
        let mut shown = Vec::new();
        let mut parts = Parts::new(|text: &str| shown.push(text.to_owned()));
        pieces.iter().for_each(|piece| parts.push(piece));
        let answer = parts.finish();
        (shown, answer)
    }

    #[test]
    fn a_text_its_figures_and_its_check_are_told_apart() {
        let (shown, answer) =
            parts(&[b"Once\r\n3 tok", b"ens\r\n\r\n20 pears\r\n20 tok", b"ens at 1.5 tokens/s\r\ncheck: 2 tokens\r"]);
        assert_eq!(answer.text, "Once\n3 tokens\n\n20 pears\n");
        assert_eq!(shown.concat(), answer.text);
        assert_eq!(answer.summary.as_deref(), Some("20 tokens at 1.5 tokens/s"));
        assert_eq!(answer.check.as_deref(), Some("check: 2 tokens"));
    }

    #[test]
    fn a_board_without_a_clock_says_nothing_of_speed() {
        let (_, answer) = parts(&[b"Once\r\n20 tokens, /max reached\r"]);
        assert_eq!((&*answer.text, answer.summary.as_deref()), ("Once\n", Some("20 tokens, /max reached")));
        let (_, answer) = parts(&[b"1 tokens\r\n1 tok", b"en, /max reached\r"]);
        assert_eq!((&*answer.text, answer.summary.as_deref()), ("1 tokens\n", Some("1 token, /max reached")));
    }

    #[test]
    fn a_text_is_shown_as_it_comes_and_in_whole_characters() {
        let (shown, answer) = parts(&[b"f\xc3", b"\xbcr\r"]);
        assert_eq!(shown, ["f", "ü", "r", "\n"]);
        assert_eq!(answer, Reply { text: "für\n".to_owned(), ..Reply::default() });
    }
}
