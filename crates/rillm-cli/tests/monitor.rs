//! `rillm monitor` and the console of a board, at the two ends of a terminal.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use rillm::kernels::{Dot, Rows};
use rillm::{Bytes, block_on};
use rillm_console::{Board, Files};

use crate::support::{Models, error, path, rillm, text};

/// The board's end of the line.
struct Uart(File);

impl ErrorType for Uart {
    type Error = ErrorKind;
}

impl Read for Uart {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        // When the monitor has closed its end, the input has ended.
        Ok(self.0.read(buf).unwrap_or(0))
    }
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(false)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(bytes).map_err(|_| ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// A board, and how it multiplies.
struct TestBoard(Option<Dot>);

impl Board for TestBoard {
    fn name(&self) -> &str {
        "a test"
    }

    fn dot(&self) -> Option<Dot> {
        self.0
    }
}

/// Its only file.
struct OneFile(&'static [u8]);

impl Files for OneFile {
    type Source = Bytes<'static>;
    type About = &'static str;
    type Error = &'static str;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn Display, u64)) -> Result<(), &'static str> {
        visit(&"model", self.0.len() as u64);
        Ok(())
    }

    async fn open(&mut self, _: &str) -> Result<(Bytes<'static>, &'static str), &'static str> {
        Ok((Bytes::copied(self.0), "a test's file"))
    }
}

/// Multiplies wrongly.
fn wrong(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    rows.dot(x, sums);
    sums[0] += 1 << 20;
}

/// Starts a board with a model. Returns the name of its port, and the board until the port is closed.
fn start(models: &Models, board: TestBoard) -> (String, File, JoinHandle<()>) {
    let pty = openpty(None, None).expect("a terminal");
    let mut mode = tcgetattr(&pty.slave).expect("its mode");
    cfmakeraw(&mut mode);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &mode).expect("another mode");
    let name = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).expect("a name");
    let files = OneFile(fs::read(models.file()).expect("a model").leak());
    let serve = move || {
        let _ = block_on(rillm_console::run(Uart(pty.master.into()), &board, files, &mut [0; 1 << 17], &mut []));
    };
    (path(&name).to_owned(), File::from(pty.slave), thread::spawn(serve))
}

const LINES: &str = "/temp 0.7\n/max 3\nhello\n/top_k 5\nhello again\n";

#[test]
fn a_board_that_computes_the_same_is_said_to_be_equal() {
    let models = Models::converted();
    let (port, slave, board) = start(&models, TestBoard(None));
    let mut monitor = rillm(&["monitor", "--port", &port, "--model", path(&models.file())]);
    let output = monitor.write_stdin(LINES).assert().success().get_output().clone();
    drop(slave);
    board.join().expect("the board ends");
    let (shown, notes) = (text(output.stdout), text(output.stderr));
    assert!(shown.contains("rillm 0.1.0 on a test\n"), "{shown}");
    assert!(shown.contains("temp 0.7\nmax 3 tokens\nhello"), "{shown}");
    assert_eq!(shown.matches("3 tokens, /max reached").count(), 2, "{shown}");
    assert_eq!(shown.matches("check: ").count(), 2, "{shown}");
    // What the monitor asks itself is not shown.
    assert_eq!((shown.matches("temp 0.7").count(), shown.contains("check on")), (1, false), "{shown}");
    assert_eq!(notes, "check: equal, computed on this computer\n".repeat(2));
}

#[test]
fn a_board_that_computes_otherwise_is_found_out() {
    let models = Models::converted();
    let (port, slave, board) = start(&models, TestBoard(Some(wrong)));
    let mut monitor = rillm(&["monitor", "--port", &port, "--model", path(&models.file())]);
    let output = monitor.write_stdin(LINES).assert().code(1).get_output().clone();
    drop(slave);
    board.join().expect("the board ends");
    let notes = text(output.stderr);
    assert_eq!(notes.matches("check: differs: ").count(), 2, "{notes}");
}

#[test]
fn a_port_that_is_not_there_is_named() {
    let told = error(&mut rillm(&["monitor", "--port", "/dev/no-such-port"]), 1);
    assert!(told.starts_with("error: cannot open the port /dev/no-such-port"), "{told}");
}
