//! A scripted byte console and a test board.

pub mod chat_model;

use core::fmt::Display;
use std::cell::Cell;
use std::collections::VecDeque;

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use rillm::{Bytes, WeightSource, block_on};
use rillm_console::{Board, Clock, Files, StackUse};
use rillm_generate::Unit;

pub static MODEL: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));
/// Random models of few tokens: one of 4 bits, and one whose best logits are computed again.
pub static INT4: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/rillm_file/int4"));
pub static RESCORING: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/rillm_file/rescoring"));
pub const RAM: usize = 128 * 1024;

/// Scripted input, and the captured output.
pub struct Script {
    typed: VecDeque<u8>,
    printed: Vec<u8>,
    /// Output to wait for, and the input that follows it.
    later: Option<(String, String)>,
    pub broken: bool,
}

impl Script {
    pub fn new(typed: &str) -> Self {
        Self { typed: typed.bytes().collect(), printed: Vec::new(), later: None, broken: false }
    }

    /// Types `typed` as soon as `printed` was printed.
    pub fn when(&mut self, printed: &str, typed: &str) {
        self.later = Some((printed.to_owned(), typed.to_owned()));
    }

    pub fn seen(&self) -> String {
        String::from_utf8(self.printed.clone()).expect("UTF-8")
    }
}

impl ErrorType for Script {
    type Error = ErrorKind;
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = buf.len().min(self.typed.len());
        buf[..len].iter_mut().zip(self.typed.drain(..len)).for_each(|(byte, typed)| *byte = typed);
        Ok(len)
    }
}

impl ReadReady for Script {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        // At the end of the input a read is ready too, unless more input is to come.
        Ok(!self.typed.is_empty() || self.later.is_none())
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe);
        }
        self.printed.extend(bytes);
        if self.later.as_ref().is_some_and(|(printed, _)| self.seen_so_far().contains(printed)) {
            self.typed.extend(self.later.take().unwrap_or_default().1.bytes());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Script {
    fn seen_so_far(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }
}

/// Checks that every line break is `\r\n`.
fn line_ends_are_whole(seen: &str) {
    assert_eq!(seen.matches('\n').count(), seen.matches("\r\n").count(), "{seen:?}");
}

thread_local! {
    static TICKS: Cell<u32> = const { Cell::new(u32::MAX - 5_500) };
}

/// A clock that advances by a thousand with each reading and soon wraps around.
fn ticks() -> u32 {
    TICKS.set(TICKS.get().wrapping_add(1000));
    TICKS.get()
}

/// A board with a clock of this unit, or without a clock.
pub struct TestBoard(pub Option<Unit>);

pub const BOARD: TestBoard = TestBoard(Some(Unit::Count("steps")));

impl Board for TestBoard {
    fn name(&self) -> &str {
        "a test"
    }

    fn clock(&self) -> Option<Clock> {
        self.0.map(|unit| Clock { ticks, unit })
    }

    fn stack(&self) -> Option<StackUse> {
        Some(StackUse { peak: 1234, len: 4096 })
    }
}

pub async fn bundled(_: Option<&str>) -> Result<(Bytes<'static>, &'static str), &'static str> {
    Ok((Bytes::copied(MODEL), "a file in memory"))
}

/// The name of the only file of [`One`].
const ONE: &str = "one.rillm";

/// A list of one file. The function opens it without a name, and others by their names.
pub struct One<F>(pub F);

impl<F, S, E> Files for One<F>
where
    F: AsyncFnMut(Option<&str>) -> Result<(S, &'static str), E>,
    S: WeightSource<Error: Display>,
    E: Display,
{
    type Source = S;
    type About = &'static str;
    type Error = E;

    async fn list(&mut self, visit: &mut dyn FnMut(&dyn Display, u64)) -> Result<(), E> {
        visit(&ONE, MODEL.len() as u64);
        Ok(())
    }

    async fn open(&mut self, name: &str) -> Result<(S, &'static str), E> {
        (self.0)((name != ONE).then_some(name)).await
    }
}

/// The output of a whole session.
pub fn run<S: WeightSource<Error: Display>, E: Display>(
    script: &mut Script,
    open: impl AsyncFnMut(Option<&str>) -> Result<(S, &'static str), E>,
) -> String {
    run_files(script, One(open))
}

/// The output of a whole session with these files.
pub fn run_files(script: &mut Script, files: impl Files) -> String {
    let mut ram = vec![0; RAM];
    block_on(rillm_console::run(&mut *script, &BOARD, files, &mut ram, &mut [])).expect("a console");
    line_ends_are_whole(&script.seen());
    script.seen()
}

/// The output of a session with the bundled model.
pub fn converse(typed: &str) -> String {
    run(&mut Script::new(typed), bundled)
}
