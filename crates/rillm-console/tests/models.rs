//! Several model files: the list, the choice among them, and what happens if one cannot be used.

use std::fmt::Display;

use rillm::Bytes;
use rillm_console::Files;

use crate::support::chat_model::MODEL as CHAT;
use crate::support::{BOARD, INT4, MODEL, Script, run_files};

/// A card with these files, of which some cannot be opened, and a model in flash.
struct Card {
    files: Vec<(String, Result<&'static [u8], &'static str>)>,
    /// Why the card cannot be read, if it cannot.
    broken: Option<&'static str>,
    flash: Option<&'static [u8]>,
    opened: Vec<String>,
}

impl Card {
    fn with(files: &[(&str, Result<&'static [u8], &'static str>)]) -> Self {
        let files = files.iter().map(|&(name, file)| (name.to_owned(), file)).collect();
        Self { files, broken: None, flash: None, opened: Vec::new() }
    }
}

impl Files for &mut Card {
    type Source = Bytes<'static>;
    type About = &'static str;
    type Error = &'static str;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn Display, u64)) -> Result<(), &'static str> {
        for (name, file) in self.files.iter().filter(|_| self.broken.is_none()) {
            visit(name, file.map_or(0, |file| file.len() as u64));
        }
        if let Some(flash) = self.flash {
            visit(&"flash", flash.len() as u64);
        }
        self.broken.map_or(Ok(()), Err)
    }

    async fn open(&mut self, name: &str) -> Result<(Bytes<'static>, &'static str), &'static str> {
        self.opened.push(name.to_owned());
        if let Some(flash) = self.flash.filter(|_| name == "flash") {
            return Ok((Bytes::lent(flash), "flash"));
        }
        if let Some(error) = self.broken {
            return Err(error);
        }
        let file = self.files.iter().find(|(other, _)| name.eq_ignore_ascii_case(other));
        let (_, file) = file.ok_or("there is no such file")?;
        file.map(|file| (Bytes::copied(file), "a file"))
    }
}

fn converse(card: &mut Card, typed: &str) -> String {
    run_files(&mut Script::new(typed), card)
}

/// A file of another version of the format, with the checksum of its header right.
fn of_version_2() -> &'static [u8] {
    let mut file = MODEL.to_vec();
    file[8] = 2;
    let crc = rillm::format::crc32(&file[..508]);
    file[508..512].copy_from_slice(&crc.to_le_bytes());
    file.leak()
}

#[test]
fn the_list_says_what_is_in_each_file_and_the_model_stays() {
    let long = "n".repeat(65);
    let mut card = Card::with(&[
        ("tales.rillm", Ok(MODEL)),
        ("small-chat.rillm", Ok(&CHAT)),
        ("four.rillm", Ok(INT4)),
        ("empty.rillm", Err("the file has no bytes; copy it again")),
        ("old.rillm", Ok(of_version_2())),
        (&long, Ok(MODEL)),
    ]);
    card.flash = Some(MODEL);
    let seen = converse(&mut card, "/temp 0\r/max 5\rOnce\r/models\rOnce\r/models\r");
    for expected in [
        "> /models\r\n*  1  tales.rillm                 1.73 MiB  base, 8 bits\r\n",
        "   2  small-chat.rillm           35.00 KiB  chat, 8 bits\r\n",
        "   3  four.rillm                 23.00 KiB  chat, 4 bits\r\n",
        "  4  empty.rillm                      0 B  cannot be used: the file has no bytes; copy it again\r\n",
        "  5  old.rillm                   1.73 MiB  cannot be used: this file has format version 2, this program reads",
        "   6  nnnnnnnnnnnn",
        "  cannot be used: the name is longer than 64 bytes; give the file a shorter one\r\n",
        "   7  flash                       1.73 MiB  base, 8 bits\r\n/model N opens one of them\r\n> Once\r\n",
    ] {
        assert!(seen.contains(expected), "{expected:?} in {seen}");
    }
    // The report is printed once, and the settings outlive the list.
    assert_eq!(seen.matches("\r\nmodel: ").count(), 1, "{seen}");
    let texts: Vec<&str> = seen.lines().filter(|line| line.starts_with("Once")).collect();
    assert!(texts.len() == 2 && texts[0] == texts[1] && texts[0].len() > 8, "{seen}");
    assert_eq!(card.opened.iter().filter(|name| *name == "tales.rillm").count(), 5, "{:?}", card.opened);
}

#[test]
fn a_number_of_the_list_opens_that_file() {
    let mut card = Card::with(&[("a.rillm", Ok(MODEL)), ("b.rillm", Ok(INT4)), ("c.rillm", Err("no"))]);
    let seen = converse(&mut card, "/model 2\r/models\r/model 3\r/model 9\r/model A.RILLM\r/models\r");
    assert_eq!(card.opened[..2], ["a.rillm", "b.rillm"]);
    assert!(seen.contains("*  2  b.rillm ") && seen.contains("*  1  a.rillm "), "{seen}");
    // What cannot be opened leaves the model before it.
    assert!(seen.contains("> /model 3\r\ncannot open c.rillm: no\r\nmodel: "), "{seen}");
    assert!(seen.contains("> /model 9\r\nthere is no model 9\r\nmodel: "), "{seen}");
    assert!(!seen.contains("Enter tries again"), "{seen}");
}

#[test]
fn files_that_cannot_be_used_are_passed_over() {
    let bad = [("cut.rillm", Ok(&MODEL[..MODEL.len() - 512])), ("old.rillm", Ok(of_version_2()))];
    let mut card = Card::with(&[bad[0], bad[1], ("good.rillm", Ok(INT4)), ("tales.rillm", Ok(MODEL))]);
    let seen = converse(&mut card, "");
    assert_eq!(card.opened, ["cut.rillm", "old.rillm", "good.rillm"]);
    assert!(seen.contains("cannot open cut.rillm: ") && seen.contains("it was not copied whole"), "{seen}");
    assert!(seen.contains("cannot open old.rillm: this file has format version 2"), "{seen}");

    // The model in flash is the last one.
    let mut card = Card { flash: Some(MODEL), ..Card::with(&bad) };
    let seen = converse(&mut card, "/max\r");
    assert_eq!(card.opened, ["cut.rillm", "old.rillm", "flash"]);
    assert!(seen.contains("model: rill-tales-1m") && seen.contains("> /max\r\nmax 256"), "{seen}");

    // Without any, the console waits. The list is there, too.
    let mut card = Card::with(&bad);
    let seen = converse(&mut card, "/models\r/model 2\r\r");
    assert_eq!(seen.matches("Enter tries again, /models lists the files, /model NAME opens one.\r\n").count(), 4);
    assert!(seen.contains("   2  old.rillm ") && !seen.contains('*'), "{seen}");
    assert_eq!(seen.matches("cannot open cut.rillm: ").count(), 3, "{seen}");
}

#[test]
fn a_card_that_cannot_be_read_leaves_the_flash() {
    let mut card = Card { broken: Some("no card answers; push one in"), ..Card::with(&[]) };
    let seen = converse(&mut card, "/models\r");
    assert!(seen.contains("cannot open a model: no card answers; push one in\r\nEnter tries again"), "{seen}");
    assert!(seen.contains("cannot list the models of the card: no card answers; push one in\r\n"), "{seen}");

    let mut card = Card { broken: card.broken, flash: Some(MODEL), ..Card::with(&[]) };
    let seen = converse(&mut card, "/models\r");
    assert_eq!(card.opened, ["flash", "flash", "flash"]);
    assert!(seen.contains("*  1  flash ") && seen.contains("models of the card: no card answers"), "{seen}");

    let seen = converse(&mut Card::with(&[]), "/models\r");
    assert_eq!(seen.matches("there is no model\r\n").count(), 2, "{seen}");
}

#[test]
fn a_list_ends_at_ctrl_c_and_says_that_a_chat_is_forgotten() {
    let mut card = Card::with(&[("a.rillm", Ok(&CHAT)), ("b.rillm", Ok(MODEL))]);
    let seen = converse(&mut card, "/max 2\rthe sea\r/models\r");
    assert!(seen.contains("the chat is forgotten, as the model is opened again\r\n*  1  a.rillm"), "{seen}");
    let seen = converse(&mut card, "/models\r\x03/max\r");
    assert!(seen.contains("> /models\r\nstopped\r\n> ") && seen.contains("max 256"), "{seen}");
}

#[test]
fn a_model_that_needs_more_memory_is_told() {
    let mut card = Card::with(&[("a.rillm", Ok(MODEL)), ("four.rillm", Ok(INT4))]);
    let mut script = Script::new("/models\r");
    rillm::block_on(rillm_console::run(&mut script, &BOARD, &mut card, &mut [0; 8_000], &mut [])).unwrap();
    let seen = script.seen();
    assert!(seen.contains("cannot open a.rillm: 8000 bytes of memory are "), "{seen}");
    assert!(seen.contains(" chat, 4 bits\r\n") && seen.contains(" cannot be used: 8000 bytes of memory"), "{seen}");
}
