//! `rillm chat` on a terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::support::{Models, TEMPLATE, chatty, path};
use nix::pty::openpty;
use nix::sys::termios::{Termios, tcgetattr};

/// A running chat and the other end of its terminal.
struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<String>,
    seen: String,
    slave: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn new(models: &Models) -> Self {
        let pty = openpty(None, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its mode");
        let end = || pty.slave.try_clone().expect("a descriptor");
        let child = Command::new(env!("CARGO_BIN_EXE_rillm"))
            .args(["chat", "--model", path(&models.file()), "-n", "3", "--prompt-cache", path(&models.at("cache"))])
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("a child");
        let keys = File::from(pty.master);
        let mut master = keys.try_clone().expect("a descriptor");
        let (shown, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = master.read(&mut bytes) {
                if shown.send(String::from_utf8_lossy(&bytes[..len]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, screen, seen: String::new(), slave: pty.slave, before }
    }

    /// Waits until `words` appear on the screen, and discards the output up to them.
    fn wait_for(&mut self, words: &str) {
        loop {
            if let Some((_, rest)) = self.seen.split_once(words) {
                self.seen = rest.to_owned();
                return;
            }
            match self.screen.recv_timeout(Duration::from_secs(60)) {
                Ok(shown) => self.seen += &shown,
                Err(_) => panic!("no {words:?} in {:?}", self.seen),
            }
        }
    }

    fn enter(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("a terminal");
    }

    /// Waits for the end. Returns the exit code, and whether the terminal's mode was restored.
    fn end(mut self) -> (Option<i32>, bool) {
        let code = self.child.wait().expect("an end").code();
        let after = tcgetattr(&self.slave).expect("its mode");
        (code, after == self.before)
    }
}

#[test]
fn bytes_that_are_no_utf_8_end_no_chat() {
    let models = chatty(TEMPLATE);
    let mut chat = Terminal::new(&models);
    chat.wait_for("> ");
    for (bytes, valid) in [(&b"caf\xe9 noir\r"[..], false), (b"\xff\r", false), (b"\xc3\r", false), (b"hello\r", true)]
    {
        chat.enter(bytes);
        chat.wait_for(if valid { "3 tokens at" } else { "what was typed is not UTF-8" });
        chat.wait_for("> ");
    }
    chat.enter(b"\x04");
    assert_eq!(chat.end(), (Some(0), true));
    assert!(fs::read(models.at("cache")).expect("a cache").starts_with(b"RILLS"));
}

#[test]
fn a_signal_at_the_prompt_leaves_the_terminal_as_it_was() {
    let models = chatty(TEMPLATE);
    for (signal, code) in [("-TERM", 143), ("-HUP", 129)] {
        let mut chat = Terminal::new(&models);
        chat.wait_for("> ");
        chat.enter(b"half a li");
        chat.wait_for("li");
        let kill = Command::new("kill").args([signal, &chat.child.id().to_string()]).status().expect("kill");
        assert!(kill.success());
        assert_eq!(chat.end(), (Some(code), true), "{signal}");
        fs::remove_file(models.at("cache")).expect("a cache");
    }
}

#[test]
fn a_terminal_that_goes_away_loses_nothing() {
    let models = chatty(TEMPLATE);
    let mut chat = Terminal::new(&models);
    chat.wait_for("> ");
    chat.enter(b"hello\r");
    chat.wait_for("3 tokens at");
    // Output after the terminal is gone is discarded without an error.
    let Terminal { mut child, keys, screen, slave, .. } = chat;
    drop((keys, screen, slave));
    let kill = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    assert_eq!(child.wait().expect("an end").code(), Some(129));
    assert!(fs::read(models.at("cache")).expect("a cache").starts_with(b"RILLS"));
}
