//! What is waited for, on a clock that stands still but for what a source and a multiplication are said to take.
//!
//! `cargo test -p rillm --test waiting -- --nocapture` prints the figures of `docs/decisions/0006-spread-pins.md`. They are a
//! model: of a card that takes a time for a command and a rate after that, and of memories that a weight is multiplied
//! from at rates of their own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rillm::kernels::Rows;
use rillm::{Bytes, Memory, Model, PlanOptions, Residency, Sampling, Sector, Session, Stage, WeightSource};

thread_local! {
    /// Nanoseconds since the test's start.
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// When the read that is under way ends.
    static READY: Cell<Option<u64>> = const { Cell::new(None) };
    /// The addresses of the large memory.
    static LARGE: RefCell<Range<usize>> = const { RefCell::new(0..0) };
    /// Picoseconds that a byte of weights in the first memory takes, and one in the large memory.
    static PICOS_A_BYTE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// Microseconds, as a board would count them: the engine's ticks.
fn micros() -> u32 {
    (NOW.get() / 1000) as u32
}

/// Multiplies, and takes the time that the memory takes in which the rows lie.
///
/// Their address is that of the first one: the rows of a strip lie in one memory.
fn timed(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let large = LARGE.with_borrow(|large| large.contains(&(rows.as_bytes().as_ptr() as usize)));
    let picos = rows.as_bytes().len() as u64 * PICOS_A_BYTE.get()[usize::from(large)];
    NOW.set(NOW.get() + picos / 1000);
    rows.dot(x, sums);
}

/// A card that takes some time for each command and reads by itself.
struct Card {
    file: Bytes<'static>,
    nanos_a_command: u64,
    bytes_a_ms: u64,
    /// The CPU stands still meanwhile.
    blocks: bool,
}

impl WeightSource for Card {
    type Error = <Bytes<'static> as WeightSource>::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        // As DMA does not reach it everywhere.
        let in_large = LARGE.with_borrow(|large| large.contains(&(buf.as_ptr() as usize)));
        assert!(!in_large, "a read into the large memory");
        let ready = NOW.get() + self.nanos_a_command + buf.len() as u64 * 1_000_000 / self.bytes_a_ms;
        if self.blocks {
            NOW.set(ready);
        }
        READY.set(Some(ready));
        poll_fn(|_| if NOW.get() >= ready { Poll::Ready(()) } else { Poll::Pending }).await;
        READY.set(None);
        self.file.read(first, buf).await
    }
}

/// Runs a future; where it can go no further, the time passes until the read that is under way ends.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        NOW.set(READY.get().expect("nothing but a read to wait for").max(NOW.get()));
    }
}

/// What a token takes: microseconds in all, and those that the session says it multiplied, read and waited.
struct Token {
    micros: u64,
    multiplied: u64,
    read: u64,
    waited: u64,
    ids: Vec<u32>,
}

/// The average of a few tokens after the first one.
fn token(card: Card, options: &PlanOptions, picos_a_byte: [u64; 2]) -> Token {
    const TOKENS: u64 = 4;
    PICOS_A_BYTE.set(picos_a_byte);
    let mut card = card;
    let model = block_on(Model::open(&mut card)).unwrap();
    let (mut internal, mut external) = (vec![0; INTERNAL], vec![0; EXTERNAL]);
    let range = external.as_ptr_range();
    LARGE.replace(range.start as usize..range.end as usize);
    let memory = Memory { internal: &mut internal, external: &mut external };
    let mut session = Session::new(&model, card, memory, options).unwrap();
    session.set_check_every(0);
    session.set_dot(timed);
    session.set_clock(micros);
    session.push(&[1]).unwrap();
    block_on(session.next(&Sampling::GREEDY)).unwrap();
    let (start, before) = (NOW.get(), session.stats().times);
    for _ in 0..TOKENS {
        block_on(session.next(&Sampling::GREEDY)).unwrap();
    }
    let (micros, times) = ((NOW.get() - start) / 1000 / TOKENS, session.stats().times - before);
    let [multiplied, read, waited] =
        [times[Stage::Matmul] + times[Stage::Head], times[Stage::Read], times[Stage::Wait]].map(|ticks| ticks / TOKENS);
    Token { micros, multiplied, read, waited, ids: session.tokens().to_vec() }
}

static MODEL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));

/// Bytes of the board's two memories.
const INTERNAL: usize = 256 << 10;
const EXTERNAL: usize = 4 << 20;
/// A weight in SRAM: two cores at 240 MHz and 2.5 cycles each.
const SRAM: u64 = 5_200;
/// The rate of a card of 4 bits, in bytes a millisecond, and the time of a command.
const CARD: (u64, u64) = (9_000, 500_000);

fn card((bytes_a_ms, nanos_a_command): (u64, u64)) -> Card {
    Card { file: Bytes::copied(MODEL), nanos_a_command, bytes_a_ms, blocks: false }
}

fn options(chunk: usize, resident: usize, spread: bool) -> PlanOptions {
    let residency = if spread { Residency::Spread { most: resident } } else { Residency::Front };
    PlanOptions::default().context(64).batch(1).chunk(chunk).resident(resident).residency(residency)
}

fn tape_len() -> u64 {
    block_on(Model::open(&mut Bytes::lent(MODEL))).unwrap().tape_len()
}

/// Bytes a millisecond that a card gives in reads of `chunk` bytes.
fn rate((bytes_a_ms, nanos_a_command): (u64, u64), chunk: usize) -> u64 {
    let chunk = chunk as u64;
    chunk * 1_000_000 / (nanos_a_command + chunk * 1_000_000 / bytes_a_ms)
}

/// Bytes to keep so that the card and a large memory of so many bytes a millisecond finish together.
fn share(card: (u64, u64), chunk: usize, large: u64) -> usize {
    (tape_len() * large / (large + rate(card, chunk))) as usize
}

#[test]
fn spread_weights_are_multiplied_while_others_are_read() {
    println!("card: 9 MB/s and 0.5 ms a command, {} KB of weights a token", tape_len() / 1000);
    println!("large memory | kept   | Front: ms, of them waiting | Spread: ms, of them waiting");
    let chunk = 16 << 10;
    // As fast as the card in reads of this size; a quarter slower; as much as the PSRAM of an ESP32 gives.
    for large in [rate(CARD, chunk), rate(CARD, chunk) * 3 / 4, 20_000] {
        let kept = share(CARD, chunk, large);
        let picos = [SRAM, 1_000_000_000 / large];
        let [front, spread] = [false, true].map(|spread| token(card(CARD), &options(chunk, kept, spread), picos));
        println!(
            "{:>7}.{} MB/s | {:>3} KB | {:>12} {:>13} | {:>13} {:>13}",
            large / 1000,
            large / 100 % 10,
            kept / 1000,
            front.micros / 1000,
            front.waited / 1000,
            spread.micros / 1000,
            spread.waited / 1000,
        );
        assert_eq!(front.ids, spread.ids);
        assert!(spread.waited * 2 < front.waited && spread.micros < front.micros);
        for token in [front, spread] {
            // All time is told: nothing but reads and products takes any.
            assert!(token.micros.abs_diff(token.multiplied + token.waited) <= 2, "{}", token.micros);
        }
    }
}

#[test]
fn larger_chunks_are_better_while_there_are_many() {
    println!("card: 9 MB/s and 0.5 ms a command; large memory: 20 MB/s; kept so that both finish together");
    println!("chunk  | card      | kept    | ms a token | waiting | two buffers");
    let large = 20_000;
    let mut before = u64::MAX;
    for chunk in [2, 4, 8, 16, 32, 64].map(|kib| kib << 10) {
        let kept = share(CARD, chunk, large);
        let token = token(card(CARD), &options(chunk, kept, true), [SRAM, 1_000_000_000 / large]);
        let rate = rate(CARD, chunk);
        println!(
            "{:>2} KiB | {}.{} MB/s  | {:>4} KB | {:>10} | {:>7} | {:>3} KiB",
            chunk >> 10,
            rate / 1000,
            rate / 100 % 10,
            kept / 1000,
            token.micros / 1000,
            token.waited / 1000,
            chunk >> 9,
        );
        if chunk <= 32 << 10 {
            assert!(token.micros < before, "{chunk}");
        }
        before = token.micros;
    }
}

#[test]
fn what_is_read_while_rows_are_multiplied_is_not_waited_for() {
    let fast = (200_000, 0);
    let Token { micros, read, waited, ids, .. } = token(card(fast), &options(4096, 0, false), [20_000, 20_000]);
    // The first chunk, and the token's record.
    assert!(read > micros / 5 && waited < 2 * (4096 + 1024) * 1000 / 200_000, "{read} {waited}");
    // A source that blocks is always waited for.
    let blocking = Card { blocks: true, ..card(fast) };
    let blocked = token(blocking, &options(4096, 0, false), [20_000, 20_000]);
    assert_eq!((blocked.waited, blocked.ids), (blocked.read, ids));
    assert!(blocked.read.abs_diff(blocked.micros - blocked.multiplied) <= 2, "{}", blocked.multiplied);
    // So is one whose reads all take longer than what is multiplied meanwhile, for the difference.
    let slow = token(card((2_000, 0)), &options(4096, 0, false), [20_000, 20_000]);
    assert!(slow.waited > slow.read * 9 / 10 && slow.waited < slow.read, "{} {}", slow.waited, slow.read);
}
