//! Waiting times, on a simulated clock that advances only by the modelled times of reads and multiplications.
//!
//! `cargo test -p rillm-tests waiting -- --nocapture` prints the figures of `docs/decisions/0006-spread-residency.md`.
//! They come from a model: a card with a fixed time for each command and a fixed rate, and memories with different
//! times for the multiplication of a weight.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rillm::kernels::Rows;
use rillm::{Bytes, Memory, Model, PlanOptions, Residency, Sampling, Sector, Session, Stage, WeightSource};

thread_local! {
    /// Nanoseconds since the start of the test.
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// The end of the current read, in nanoseconds.
    static READY: Cell<Option<u64>> = const { Cell::new(None) };
    /// The addresses of the external memory.
    static EXTERNAL_RANGE: RefCell<Range<usize>> = const { RefCell::new(0..0) };
    /// Time for each byte of weights in internal and in external memory, in picoseconds.
    static PICOS_A_BYTE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// The clock in microseconds: the engine's ticks.
fn micros() -> u32 {
    (NOW.get() / 1000) as u32
}

/// Multiplies, and advances the clock by the time of the memory that holds the rows.
///
/// The address of the first row decides: the rows of a strip are in one memory.
fn timed(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    let external = EXTERNAL_RANGE.with_borrow(|external| external.contains(&(rows.as_bytes().as_ptr() as usize)));
    let picos = rows.as_bytes().len() as u64 * PICOS_A_BYTE.get()[usize::from(external)];
    NOW.set(NOW.get() + picos / 1000);
    rows.dot(x, sums);
}

/// A card with a fixed time for each command, as a DMA source.
struct SimulatedCard {
    file: Bytes<'static>,
    nanos_a_command: u64,
    bytes_a_ms: u64,
    /// Whether the CPU is blocked during a read.
    blocks: bool,
}

impl WeightSource for SimulatedCard {
    type Error = <Bytes<'static> as WeightSource>::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        // DMA does not reach external memory on every chip.
        let in_external = EXTERNAL_RANGE.with_borrow(|external| external.contains(&(buf.as_ptr() as usize)));
        assert!(!in_external, "a read into external memory");
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

/// Runs a future. When it is pending, advances the clock to the end of the current read.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        NOW.set(READY.get().expect("nothing but a read to wait for").max(NOW.get()));
    }
}

/// The time of a token in microseconds: in total, and the session's times for multiplication, reads and waiting.
struct Token {
    micros: u64,
    multiplied: u64,
    read: u64,
    waited: u64,
    ids: Vec<u32>,
}

/// The average of several tokens after the first one.
fn token(card: SimulatedCard, options: &PlanOptions, picos_a_byte: [u64; 2]) -> Token {
    const TOKENS: u64 = 4;
    PICOS_A_BYTE.set(picos_a_byte);
    let mut card = card;
    let model = block_on(Model::open(&mut card)).unwrap();
    let (mut internal, mut external) = (vec![0; INTERNAL], vec![0; EXTERNAL]);
    let range = external.as_ptr_range();
    EXTERNAL_RANGE.replace(range.start as usize..range.end as usize);
    let memory = Memory { internal: &mut internal, external: &mut external };
    let mut session = Session::new(&model, card, memory, options).unwrap();
    session.set_check_every(0);
    session.set_multiplier(&timed);
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

static MODEL: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../models/rill-tales-1m/model.rillm"));

/// The board's internal memory in bytes.
const INTERNAL: usize = 256 << 10;
const EXTERNAL: usize = 4 << 20;
/// Picoseconds for a weight in SRAM: two cores at 240 MHz and 2.5 cycles each.
const SRAM: u64 = 5_200;
/// The rate of a 4-bit card in bytes per millisecond, and the time of a command in nanoseconds.
const CARD: (u64, u64) = (9_000, 500_000);

fn card((bytes_a_ms, nanos_a_command): (u64, u64)) -> SimulatedCard {
    SimulatedCard { file: Bytes::copied(MODEL), nanos_a_command, bytes_a_ms, blocks: false }
}

fn options(chunk: usize, resident: usize, spread: bool) -> PlanOptions {
    let residency = if spread { Residency::Spread { most: resident } } else { Residency::Front };
    PlanOptions::default().context(64).batch(1).chunk(chunk).resident(resident).residency(residency)
}

fn tape_len() -> u64 {
    block_on(Model::open(&mut Bytes::lent(MODEL))).unwrap().tape_len()
}

/// The rate of a card in reads of `chunk` bytes, in bytes per millisecond.
fn rate((bytes_a_ms, nanos_a_command): (u64, u64), chunk: usize) -> u64 {
    let chunk = chunk as u64;
    chunk * 1_000_000 / (nanos_a_command + chunk * 1_000_000 / bytes_a_ms)
}

/// The number of resident bytes with which the card and an external memory of `external` bytes per millisecond finish
/// together.
fn share(card: (u64, u64), chunk: usize, external: u64) -> usize {
    (tape_len() * external / (external + rate(card, chunk))) as usize
}

#[test]
fn spread_weights_are_multiplied_while_others_are_read() {
    println!("card: 9 MB/s and 0.5 ms a command, {} KB of weights a token", tape_len() / 1000);
    println!("external memory | resident | Front: ms, of them waiting | Spread: ms, of them waiting");
    let chunk = 16 << 10;
    // As fast as the card in reads of this size; a quarter slower; as fast as the PSRAM of an ESP32.
    for external in [rate(CARD, chunk), rate(CARD, chunk) * 3 / 4, 20_000] {
        let resident = share(CARD, chunk, external);
        let picos = [SRAM, 1_000_000_000 / external];
        let [front, spread] = [false, true].map(|spread| token(card(CARD), &options(chunk, resident, spread), picos));
        println!(
            "{:>7}.{} MB/s | {:>3} KB | {:>12} {:>13} | {:>13} {:>13}",
            external / 1000,
            external / 100 % 10,
            resident / 1000,
            front.micros / 1000,
            front.waited / 1000,
            spread.micros / 1000,
            spread.waited / 1000,
        );
        assert_eq!(front.ids, spread.ids);
        assert!(spread.waited * 2 < front.waited && spread.micros < front.micros);
        for token in [front, spread] {
            // The times add up: only reads and products take time.
            assert!(token.micros.abs_diff(token.multiplied + token.waited) <= 2, "{}", token.micros);
        }
    }
}

#[test]
fn larger_chunks_are_better_while_there_are_many() {
    println!(
        "card: 9 MB/s and 0.5 ms a command; external memory: 20 MB/s; resident weights so many that both finish together"
    );
    println!("chunk  | card      | resident    | ms a token | waiting | two buffers");
    let external = 20_000;
    let mut before = u64::MAX;
    for chunk in [2, 4, 8, 16, 32, 64].map(|kib| kib << 10) {
        let resident = share(CARD, chunk, external);
        let token = token(card(CARD), &options(chunk, resident, true), [SRAM, 1_000_000_000 / external]);
        let rate = rate(CARD, chunk);
        println!(
            "{:>2} KiB | {}.{} MB/s  | {:>4} KB | {:>10} | {:>7} | {:>3} KiB",
            chunk >> 10,
            rate / 1000,
            rate / 100 % 10,
            resident / 1000,
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
    // A blocking source always causes waiting.
    let blocking = SimulatedCard { blocks: true, ..card(fast) };
    let blocked = token(blocking, &options(4096, 0, false), [20_000, 20_000]);
    assert_eq!((blocked.waited, blocked.ids), (blocked.read, ids));
    assert!(blocked.read.abs_diff(blocked.micros - blocked.multiplied) <= 2, "{}", blocked.multiplied);
    // A source whose reads take longer than the multiplication causes waiting for the difference.
    let slow = token(card((2_000, 0)), &options(4096, 0, false), [20_000, 20_000]);
    assert!(slow.waited > slow.read * 9 / 10 && slow.waited < slow.read, "{} {}", slow.waited, slow.read);
}
