//! What a board prints: lines to show, and among them figures and check lines.

use std::io::{self, Write};

use console::{Style, StyledObject, style};
use rillm_generate::{Check as CheckLine, ForgottenTurns};

/// The prompt of the console.
const PROMPT: &[u8] = b"> ";

/// The figures below a text that the monitor uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Number of generated tokens.
    pub generated: usize,
    pub seed: u64,
}

/// A check line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// All tokens, prompt and answer.
    pub ids: Vec<u32>,
    /// The fingerprint of every logit of every generated token.
    pub logits: u32,
}

/// The output of a board since its last prompt.
#[derive(Debug, Default)]
pub struct BoardScreen {
    /// The line that has no end yet.
    line: Vec<u8>,
    /// Bytes of it that are shown.
    shown: usize,
    /// What the board repeats of the line that was sent to it, from the back to the front.
    echo: Vec<u8>,
    /// Whether a text is being generated: it is shown as it comes. Other lines are shown as wholes.
    pub in_text: bool,
    /// The figures of the text, after it.
    pub figures: Option<Figures>,
    /// The check line of the text, after it.
    pub check: Option<Check>,
    /// Whether turns of a chat were forgotten, so that the tokens of the check line are not those that were computed.
    pub forgotten: bool,
    /// Whether the board has started anew.
    pub restarted: bool,
}

impl BoardScreen {
    /// The screen after a line was sent, without what the board repeats of it.
    pub fn after(line: &str, in_text: bool) -> Self {
        let echo = line.bytes().chain(*b"\r\n").rev().collect();
        Self { echo, in_text, ..Self::default() }
    }

    /// Whether the board waits for a line, unless more is to come.
    pub fn is_at_prompt(&self) -> bool {
        self.line == PROMPT
    }

    /// Takes bytes from the board, and shows them on `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        for &byte in bytes {
            match self.echo.pop() {
                Some(expected) if expected == byte => continue,
                Some(_) => self.echo.clear(),
                None => {}
            }
            match byte {
                b'\r' | 7 => {}
                b'\n' => self.end_line(out)?,
                _ => self.line.push(byte),
            }
        }
        if self.in_text && !may_be_report(&self.line) {
            out.write_all(&self.line[self.shown..])?;
            self.shown = self.line.len();
        }
        out.flush()
    }

    fn end_line(&mut self, out: &mut impl Write) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let shown = std::mem::take(&mut self.shown);
        let text = String::from_utf8_lossy(&line);
        // A line of a text that is not the figures was shown in part.
        if let Some(figures) = figures(&text) {
            (self.figures, self.in_text) = (Some(figures), false);
        } else if let Some((ids, logits)) = CheckLine::parse(&text) {
            self.check = Some(Check { ids: ids.collect(), logits });
        } else if text.starts_with("rillm ") && text.contains(" on ") {
            *self = Self { restarted: true, ..Self::default() };
        }
        self.in_text &= !text.starts_with("cannot open a model");
        self.forgotten |= !self.in_text && ForgottenTurns::is_line(&text);
        if self.in_text || shown > 0 {
            out.write_all(&line[shown..])?;
            return out.write_all(b"\n");
        }
        writeln!(out, "{}", styled(&text))
    }
}

/// A line with the colour of its kind.
fn styled(line: &str) -> StyledObject<&str> {
    let has = |marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
    let kind = if figures(line).is_some() || line.starts_with("check: ") {
        Style::new().dim()
    } else if has(&["cannot ", "damaged", "do not hold", "computes wrongly", "selftest: failed"]) {
        Style::new().red()
    } else if line.starts_with("rillm ") || line.starts_with("selftest: passed") {
        Style::new().green()
    } else {
        return style(line);
    };
    kind.apply_to(line)
}

/// Whether the beginning of a line may be that of the figures, a check line or the prompt.
fn may_be_report(line: &[u8]) -> bool {
    if PROMPT.starts_with(line) || line.starts_with(b"check: ") || b"check: ".starts_with(line) {
        return true;
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &line[digits..];
    digits > 0 && (b" token".starts_with(rest) || rest.starts_with(b" token"))
}

/// The figures of a line such as `12 tokens at 1.1 tokens/s, /max reached · ... · seed 1`.
fn figures(line: &str) -> Option<Figures> {
    let (generated, rest) = line.split_once(" token")?;
    let (rest, seed) = rest.rsplit_once(" · seed ")?;
    if !rest.contains(" · RAM ") {
        return None;
    }
    Some(Figures { generated: generated.parse().ok()?, seed: seed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of bytes that come in pieces of `len`.
    fn shown(screen: &mut BoardScreen, bytes: &str, len: usize) -> String {
        let mut out = Vec::new();
        for piece in bytes.as_bytes().chunks(len) {
            screen.push(piece, &mut out).expect("memory");
        }
        console::strip_ansi_codes(&String::from_utf8(out).expect("UTF-8")).into_owned()
    }

    const SAID: &str = "Once\r\nOnce upon\r\n> a 3 tokens é\r\n3 tokens at 1.1 tokens/s, /max reached · RAM 1 of 2 · seed 9\r\n\
                        check: 5 tokens, ids 1 2 3 4 5, logits 0000beef\r\n> ";

    #[test]
    fn a_text_is_shown_as_it_comes_without_what_was_typed() {
        for len in 1..40 {
            let mut screen = BoardScreen::after("Once", true);
            let text = shown(&mut screen, SAID, len);
            let (_, expected) = SAID.split_once('\n').expect("lines");
            assert_eq!(text, expected.replace('\r', "").strip_suffix("> ").expect("a prompt"), "{len}");
            assert!(screen.is_at_prompt() && !screen.in_text);
            assert_eq!(screen.figures, Some(Figures { generated: 3, seed: 9 }));
            assert_eq!(screen.check, Some(Check { ids: vec![1, 2, 3, 4, 5], logits: 0xbeef }));
        }
        let mut screen = BoardScreen::after("Once", true);
        assert_eq!(shown(&mut screen, "Once\r\nOnce up", 3), "Once up");
        // Until it is clear that it is no figure, a number waits.
        assert_eq!(shown(&mut screen, "on\r\n12 to", 3), "on\n");
        assert_eq!(shown(&mut screen, "p", 3), "12 top");
    }

    #[test]
    fn forgotten_turns_are_told_after_a_text() {
        let line = ForgottenTurns { context: 512, turns: 2 };
        let said = |text: &str, after: &str| format!("hi\r\n{text}\r\n3 tokens · RAM 1 of 2 · seed 9\r\n{after}\r\n> ");
        for (text, after, expected) in [
            ("a", line.to_string(), true),
            ("a forgotten toy", String::new(), false),
            (&line.to_string(), String::new(), false),
        ] {
            let mut screen = BoardScreen::after("hi", true);
            shown(&mut screen, &said(text, &after), 7);
            assert_eq!(screen.forgotten, expected, "{text}");
        }
    }

    #[test]
    fn a_board_that_starts_anew_is_in_no_text() {
        let mut screen = BoardScreen::after("Once", true);
        let text = shown(&mut screen, "Once\r\nOnce upon\r\nrillm 0.1.0 on a board\r\nmodel: x\r\n> ", 5);
        assert_eq!(text, "Once upon\nrillm 0.1.0 on a board\nmodel: x\n");
        assert!(screen.restarted && !screen.in_text && screen.is_at_prompt());
    }

    #[test]
    fn figures_are_told_from_a_text() {
        assert_eq!(figures("3 tokens are much"), None);
        assert!(figures("1 token · RAM 1.00 KiB of 2.00 KiB · nothing read · seed 18446744073709551615").is_some());
    }
}
