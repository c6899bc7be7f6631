//! What is said to a board's console, and its answers taken apart.

use std::mem;

use anyhow::{Result, ensure};

use crate::emulator::Emulated;
use crate::stats::Stats;

/// What the console prints when it waits for a line.
pub const PROMPT: &str = "\n> ";
/// What starts the lines that tell about a text.
const CHECK: &str = "check: ";
const SUMMARY: [&str; 2] = [" tokens", " token"];

/// A console that waits for a line.
pub struct Dialogue {
    board: Emulated,
}

/// A text, and what the console says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The prompt and the text, each line with its `\n`.
    pub text: String,
    /// The line with the figures; none where there was an error.
    pub summary: Option<String>,
    /// The line with the tokens and the fingerprint of their logits, after `/check on`.
    pub check: Option<String>,
}

impl Dialogue {
    /// Waits for the first prompt. `show` gets what the console says before it.
    ///
    /// # Errors
    /// The board ends, hangs or traps.
    pub fn new(mut board: Emulated, mut show: impl FnMut(&str)) -> Result<Self> {
        board.read_until(PROMPT, |bytes| show(&plain(bytes)))?;
        Ok(Self { board })
    }

    /// Types a command and returns what the console says to it.
    ///
    /// # Errors
    /// The board ends, hangs or traps.
    pub fn command(&mut self, line: &str) -> Result<String> {
        self.enter(line)?;
        let reply = self.board.read_until(PROMPT, |_| ())?;
        Ok(plain(&reply))
    }

    /// Asks for the figures since the board's start.
    ///
    /// # Errors
    /// The console has no model open, or the board ends, hangs or traps.
    pub fn stats(&mut self) -> Result<Stats> {
        Stats::parse(self.command("/stats --json")?.trim())
    }

    /// Sets one of the console's settings and returns what it says to it.
    ///
    /// # Errors
    /// The value is refused, there is no model to set anything of, or the board ends, hangs or traps.
    pub fn set(&mut self, name: &str, value: &str) -> Result<String> {
        let reply = self.command(&format!("/{name} {value}"))?;
        let reply = reply.trim_end();
        // A console without a model takes any line for a wish to try again.
        ensure!(reply.starts_with(&format!("{name} ")), "the board did not take `/{name} {value}`: it said\n{reply}");
        Ok(reply.to_owned())
    }

    /// Types a prompt. `show` gets the text as it comes, the prompt with it.
    ///
    /// # Errors
    /// The prompt is none that can be typed, or the board takes another one, ends, hangs or traps.
    pub fn ask(&mut self, prompt: &str, show: impl FnMut(&str)) -> Result<Answer> {
        let is_line = !prompt.trim().is_empty() && !prompt.starts_with('/') && !prompt.contains(char::is_control);
        ensure!(is_line, "a console takes a prompt of one line that does not start with `/`, not {prompt:?}");
        self.enter(prompt)?;
        let mut parts = Parts::new(show);
        self.board.read_until(PROMPT, |bytes| parts.push(bytes))?;
        let answer = parts.finish();
        // A line that is too long is cut.
        let is_whole = answer.summary.is_none() || answer.text.starts_with(prompt);
        ensure!(is_whole, "the board did not take all of the prompt; a shorter one may fit its line");
        Ok(answer)
    }

    /// The board itself.
    pub fn into_board(self) -> Emulated {
        self.board
    }

    fn enter(&mut self, line: &str) -> Result<()> {
        self.board.send(line)?;
        // The line's echo.
        self.board.read_until("\n", |_| ())?;
        Ok(())
    }
}

/// Takes an answer apart while it comes: the text is shown at once, a line that may be about it once it is clear.
struct Parts<F> {
    show: F,
    answer: Answer,
    /// The line at hand as far as it is not shown, perhaps with a part of a character at its end.
    held: Vec<u8>,
    /// It starts a line.
    is_start: bool,
}

impl<F: FnMut(&str)> Parts<F> {
    fn new(show: F) -> Self {
        Self { show, answer: Answer::default(), held: Vec::new(), is_start: true }
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

    /// Shows what is held, but for a character that is not whole yet.
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

    fn finish(mut self) -> Answer {
        // The last line's end belongs to the mark that was waited for.
        self.held.push(b'\n');
        self.end_line();
        self.answer
    }
}

/// A line, perhaps not all of it, is or may become one about the text: `20 tokens at …`, `1 token, …`, `check: …`.
fn may_be_about_text(line: &[u8]) -> bool {
    let starts_alike = |a: &[u8], b: &str| a.iter().zip(b.as_bytes()).all(|(a, b)| a == b);
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = line.split_at(digits);
    let summary = SUMMARY[usize::from(number == b"1")];
    let goes_on = after.get(summary.len()).is_none_or(|byte| b" ,".contains(byte));
    starts_alike(line, CHECK) || (digits > 0 && starts_alike(after, summary) && goes_on)
}

/// The console's words with the line ends of a file.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pieces: &[&[u8]]) -> (Vec<String>, Answer) {
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
        assert_eq!(answer, Answer { text: "für\n".to_owned(), ..Answer::default() });
    }
}
