//! A running QEMU and its serial line.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write, stdin};
use std::mem;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::interrupt;

/// Polling interval for Ctrl-C while waiting.
const TICK: Duration = Duration::from_millis(50);
/// Two Ctrl-C within this time end the emulation.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// The byte that a console treats as Ctrl-C.
const CTRL_C: u8 = 3;
/// The byte that ends a console's input.
const CTRL_D: u8 = 4;
/// Number of bytes from the end of the output that an error shows.
const LAST_WORDS: usize = 2000;

/// An emulated board with its serial line. Dropping it ends QEMU.
pub struct Emulated {
    child: Child,
    stdin: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// Output that no wait has consumed yet.
    pending: Vec<u8>,
    /// The end of the output, for errors.
    last: Vec<u8>,
    timeout: Duration,
    interrupts: u32,
    interrupted: Option<Instant>,
}

impl Emulated {
    /// Starts `qemu`, whose standard input and output must be the board's serial line. A later wait fails if the board
    /// prints nothing for `timeout`.
    ///
    /// # Errors
    /// QEMU is not installed or does not start.
    pub fn start(mut qemu: Command, timeout: Duration) -> Result<Self> {
        let program = qemu.get_program().to_owned();
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // In a process group of its own, QEMU receives no Ctrl-C from the terminal. This program passes it on as a
        // byte.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut qemu, 0);
        let mut child = qemu.spawn().map_err(|error| not_started(&program, error))?;
        let stdin = child.stdin.take().context("QEMU has no standard input")?;
        let mut stdout = child.stdout.take().context("QEMU has no standard output")?;
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut buf) {
                if sender.send(buf[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stdin,
            output,
            pending: Vec::new(),
            last: Vec::new(),
            timeout,
            interrupts: interrupt::count(),
            interrupted: None,
        })
    }

    /// Types a line.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.type_bytes(line.as_bytes())?;
        self.type_bytes(b"\r")
    }

    /// Types bytes unchanged.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdin.write_all(bytes).and_then(|()| self.stdin.flush()).map_err(|_| self.ended())
    }

    /// Reads up to `mark` and returns the output before it. `show` receives this output as it is printed.
    ///
    /// A Ctrl-C is passed to the board, which then stops its current work. A second one soon after it ends the
    /// emulation.
    ///
    /// # Errors
    /// QEMU ends first, prints nothing for the timeout, or there is a second Ctrl-C.
    pub fn read_until(&mut self, mark: &str, mut show: impl FnMut(&[u8])) -> Result<Vec<u8>> {
        let mut deadline = Instant::now() + self.timeout;
        let mark = mark.as_bytes();
        let (mut text, mut shown) = (mem::take(&mut self.pending), 0);
        loop {
            if let Some(at) = find(&text, mark) {
                self.pending = text.split_off(at + mark.len());
                text.truncate(at);
                show(&text[shown.min(at)..]);
                return Ok(text);
            }
            // A possible start of the mark is held back.
            let held = (0..mark.len()).rev().find(|&len| text.ends_with(&mark[..len])).unwrap_or(0);
            let sure = text.len() - held;
            show(&text[shown..sure]);
            shown = sure;
            match self.output.recv_timeout(TICK) {
                Ok(bytes) => {
                    self.remember(&bytes);
                    text.extend(bytes);
                    deadline = Instant::now() + self.timeout;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => return Err(self.hangs()),
                Err(RecvTimeoutError::Timeout) => self.pass_interrupt_on()?,
            }
        }
    }

    /// Connects the serial line to this program's standard input and `show`, until the input or the board ends.
    ///
    /// # Errors
    /// The board ends otherwise than by Ctrl-D, or there is a second Ctrl-C.
    pub fn interact(mut self, mut show: impl FnMut(&[u8])) -> Result<()> {
        let (sender, input) = channel();
        thread::spawn(move || {
            let mut buf = [0; 256];
            while let Ok(len @ 1..) = stdin().read(&mut buf) {
                if sender.send(buf[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        show(&mem::take(&mut self.pending));
        loop {
            match self.output.recv_timeout(TICK) {
                Ok(bytes) => {
                    self.remember(&bytes);
                    show(&bytes);
                }
                Err(RecvTimeoutError::Disconnected) => return self.exit(),
                Err(RecvTimeoutError::Timeout) => self.pass_interrupt_on()?,
            }
            match input.try_recv() {
                Ok(bytes) => self.type_bytes(&bytes)?,
                Err(TryRecvError::Disconnected) => return self.hang_up(show),
                Err(TryRecvError::Empty) => {}
            }
        }
    }

    /// Ends the console's input, which ends the board. `show` receives the remaining output.
    ///
    /// # Errors
    /// The board does not end, or ends with an error.
    pub fn hang_up(mut self, mut show: impl FnMut(&[u8])) -> Result<()> {
        self.type_bytes(&[CTRL_D])?;
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.output.recv_timeout(TICK) {
                Ok(bytes) => {
                    self.remember(&bytes);
                    show(&bytes);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => return Err(self.hangs()),
                Err(RecvTimeoutError::Timeout) => self.pass_interrupt_on()?,
            }
        }
        self.exit()
    }

    /// Waits for QEMU and checks its exit status.
    fn exit(&mut self) -> Result<()> {
        if self.child.wait()?.success() { Ok(()) } else { Err(self.ended()) }
    }

    /// Passes a Ctrl-C to the board. Fails if there was one just before.
    fn pass_interrupt_on(&mut self) -> Result<()> {
        let count = interrupt::count();
        if count == self.interrupts {
            return Ok(());
        }
        let impatient = count - self.interrupts > 1 || self.interrupted.is_some_and(|at| at.elapsed() < IMPATIENCE);
        (self.interrupts, self.interrupted) = (count, Some(Instant::now()));
        if impatient {
            bail!("ended by a second Ctrl-C")
        }
        self.type_bytes(&[CTRL_C])
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.last.extend(bytes);
        self.last.drain(..self.last.len().saturating_sub(LAST_WORDS));
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.last).trim_end().to_owned()
    }

    fn hangs(&self) -> anyhow::Error {
        let (seconds, words) = (self.timeout.as_secs(), self.last_words());
        anyhow!("the board has not answered after {seconds} seconds (--timeout); its last words were:\n{words}")
    }

    fn ended(&mut self) -> anyhow::Error {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        anyhow!("the board ended ({status}); its last words were:\n{}", self.last_words())
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // QEMU may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks that the emulator `program` is installed.
///
/// # Errors
/// It is missing. The error says what to install.
pub fn look(program: &str) -> Result<()> {
    let status = Command::new(program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| not_started(program.as_ref(), error))?;
    if status.success() { Ok(()) } else { bail!("`{program} --version` does not work ({status})") }
}

fn not_started(program: &OsStr, error: io::Error) -> anyhow::Error {
    let program = program.display();
    match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("there is no {program}; install it with `apt install qemu-system-misc` or `brew install qemu`")
        }
        _ => anyhow!(error).context(format!("cannot start {program}")),
    }
}

/// `path` as a value in an option list of QEMU, where a comma is doubled.
pub fn option(path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("QEMU takes no path like {}", path.display()))?;
    Ok(path.replace(',', ",,"))
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A shell in place of QEMU.
    fn shell(script: &str, timeout: Duration) -> Emulated {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Emulated::start(command, timeout).expect("there is a shell")
    }

    #[test]
    fn the_text_before_a_mark_is_shown_as_it_comes_and_what_follows_stays() {
        let mut board = shell("printf 'one\n>'; sleep 0.1; printf ' two\n> '; cat", Duration::from_secs(60));
        let mut shown: Vec<u8> = Vec::new();
        assert_eq!(board.read_until("\n> ", |bytes| shown.extend(bytes)).expect("a mark"), b"one");
        assert_eq!(shown, *b"one");
        assert_eq!(board.read_until("\n> ", |_| ()).expect("a mark"), b"two");
        board.send("three").expect("it listens");
        assert_eq!(board.read_until("\r", |_| ()).expect("an echo"), b"three");
    }

    #[test]
    fn a_board_that_ends_is_told_with_its_last_words() {
        let error =
            shell("echo trap; exit 102", Duration::from_secs(60)).read_until("> ", |_| ()).expect_err("no mark");
        let text = error.to_string();
        assert!(text.contains("102") && text.contains("trap"), "{text}");
    }

    #[test]
    fn a_board_that_hangs_is_given_up() {
        let error = shell("echo hm; cat", Duration::from_millis(200)).read_until("> ", |_| ()).expect_err("no mark");
        let text = error.to_string();
        assert!(text.contains("--timeout") && text.contains("hm"), "{text}");
    }
}
