//! What a token will take on a board: a model of the board, not a measurement.
//!
//! Instructions are counted on emulated processors, bandwidths are published figures or what a board measured itself, and
//! cycles an instruction are a range between what a pipeline does at best and what others measured. Everything is a
//! [`Range`], in integers. Microseconds are rounded down.

use core::fmt;

use rillm::counted::Traffic;
use rillm::format::Header;
use rillm::model::Model;
use rillm::plan::{Pinning, Place, Plan, PlanOptions};

use crate::boards::{Board, Figure};
use crate::settings::CANDIDATES;
use rillm_generate::number::Hundredths;

/// From the lowest to the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub low: u64,
    /// The highest.
    pub high: u64,
}

impl Range {
    /// A range of one number.
    pub const fn exactly(number: u64) -> Self {
        Self { low: number, high: number }
    }

    fn zip(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self { low: of(self.low, other.low), high: of(self.high, other.high) }
    }

    fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    fn times(self, by: u64) -> Self {
        self.zip(Self::exactly(by), u64::saturating_mul)
    }

    fn over(self, by: u64) -> Self {
        self.zip(Self::exactly(by), |a, b| a / b.max(1))
    }

    /// How long `amount` takes at so many a second, in microseconds.
    fn microseconds(self, amount: u64) -> Self {
        let time = |rate: u64| amount.saturating_mul(1_000_000) / rate.max(1);
        Self { low: time(self.high), high: time(self.low) }
    }

    fn middle(self) -> u64 {
        self.low + (self.high - self.low) / 2
    }
}

/// What a processor takes: instructions, in hundredths where the name says so, and cycles for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Hundredths of an instruction for a weight times an activation.
    pub weight: Figure,
    /// For each output of a layer's matrix.
    pub output: Figure,
    /// For each element that a norm goes over.
    pub norm: Figure,
    /// For each element of the feed-forward layer's gate.
    pub gate: Figure,
    /// For each value of a token's queries, keys and values.
    pub value: Figure,
    /// For each head and position that it looks at.
    pub look: Figure,
    /// Hundredths of an instruction for each value of a head at a position that it looks at.
    pub look_value: Figure,
    /// For each token of the vocabulary, to sample.
    pub logit: Figure,
    /// To sample, whatever the vocabulary.
    pub sample: Figure,
    /// For each byte of the weights' checksum.
    pub checksum: Figure,
    /// Hundredths of a cycle an instruction.
    pub cycles: Figure,
}

const MEASURED: &str = "`cargo xtask measure`, docs/performance.md";

impl Cpu {
    /// An RV32IMC core. The ranges are those of three models.
    pub const RV32: Self = Self {
        weight: Figure::new(357, 391, MEASURED),
        output: Figure::new(45, 75, MEASURED),
        norm: Figure::new(172, 198, MEASURED),
        gate: Figure::new(283, 287, MEASURED),
        value: Figure::new(98, 137, MEASURED),
        look: Figure::new(260, 290, MEASURED),
        look_value: Figure::new(490, 530, MEASURED),
        logit: Figure::new(176, 180, MEASURED),
        sample: Figure::new(100_000, 190_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; a taken branch takes 2 or 3 (ctrlsrc.io/posts/2023/counting-cpu-cycles-on-esp32c3-esp32c6); loads \
             and fetches that miss the cache more: a guess",
        ),
    };

    /// An Xtensa core with MAC16. What multiplies in 64 bits is between what `rv32` takes, which has the upper half of a
    /// product in one instruction as the LX6 has, and what the emulated Xtensa takes, which has not.
    pub const LX6: Self = Self {
        weight: Figure::new(244, 275, MEASURED),
        output: Figure::new(45, 75, MEASURED),
        norm: Figure::new(172, 389, MEASURED),
        gate: Figure::new(283, 798, MEASURED),
        value: Figure::new(98, 319, MEASURED),
        look: Figure::new(260, 620, MEASURED),
        look_value: Figure::new(490, 880, MEASURED),
        logit: Figure::new(176, 413, MEASURED),
        sample: Figure::new(100_000, 190_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; 437 cycles for 256 MAC16 instructions (docs.espressif.com, esp-dsp benchmarks, dsps_dotprod_s16); \
             taken branches, loads and fetches that miss the cache more: a guess",
        ),
    };

    /// The figures with what they are of, and by how much they are too large.
    pub fn figures(&self) -> [(&'static str, Figure, u64); 11] {
        [
            ("instructions a weight", self.weight, 100),
            ("instructions an output of a layer's matrix", self.output, 1),
            ("instructions an element of a norm", self.norm, 1),
            ("instructions an element of the gate", self.gate, 1),
            ("instructions a value of queries, keys, values", self.value, 1),
            ("instructions a head and position", self.look, 1),
            ("instructions a value of a head and position", self.look_value, 100),
            ("instructions a token of the vocabulary", self.logit, 1),
            ("instructions to sample", self.sample, 1),
            ("instructions a byte of a checksum", self.checksum, 1),
            ("cycles an instruction", self.cycles, 100),
        ]
    }
}

/// Instructions of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// Of rows times vectors, which all cores share.
    pub rows: Range,
    /// Of everything else.
    pub rest: Range,
}

impl Instructions {
    /// Of a token that looks at `positions`, itself included, and goes on through the head and the sampler, or of a prompt's
    /// earlier token, which of the last layer needs keys and values only.
    pub fn of(header: &Header, cpu: &Cpu, positions: u64, head: bool) -> Self {
        let [layers, hidden, intermediate, heads, head_dim, vocabulary] = [
            header.n_layers,
            header.hidden_size,
            header.intermediate_size,
            header.n_heads,
            header.head_dim,
            header.vocab_size,
        ]
        .map(u64::from);
        let (q, kv) = (u64::from(header.q_dim()), 2 * u64::from(header.kv_dim()));
        let whole = if head { layers } else { layers - 1 };
        let layer = hidden * (2 * q + kv + 3 * intermediate);
        let mut weights = layers.saturating_mul(layer);
        let mut norms = (2 * layers + 1).saturating_mul(hidden);
        if head {
            weights = weights.saturating_add(hidden.saturating_mul(vocabulary));
        } else {
            weights = weights - layer + hidden * kv;
            norms -= 2 * hidden;
        }
        let outputs = whole * (q + kv + 2 * hidden + 2 * intermediate) + if head { 0 } else { kv };
        let values = whole * (q + kv) + if head { 0 } else { kv };
        let looks = whole * heads * positions;
        let sum = [
            cpu.output.range.times(outputs),
            cpu.norm.range.times(norms),
            cpu.gate.range.times(whole * intermediate),
            cpu.value.range.times(values),
            cpu.look.range.times(looks),
            cpu.look_value.range.times(looks.saturating_mul(head_dim)).over(100),
            if head { cpu.logit.range.times(vocabulary).plus(cpu.sample.range) } else { Range::default() },
        ];
        Self {
            rows: cpu.weight.range.times(weights).over(100),
            rest: sum.into_iter().fold(Range::default(), Range::plus),
        }
    }

    /// All of them.
    pub fn all(self) -> Range {
        self.rows.plus(self.rest)
    }

    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows.plus(other.rows), rest: self.rest.plus(other.rest) }
    }

    fn times(self, by: u64) -> Self {
        Self { rows: self.rows.times(by), rest: self.rest.times(by) }
    }
}

/// Where the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// In a file on the card.
    Card,
    /// In flash that is mapped.
    Flash,
}

/// How fast a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Its processor.
    pub cpu: &'static Cpu,
    /// The processor's clock.
    pub mhz: u32,
    /// Cores that share rows.
    pub cores: u32,
    /// Bytes a second within a read from the card.
    pub card: Range,
    /// Microseconds a read from the card besides.
    pub command: Range,
    /// The processor computes while a chunk is read.
    pub reads_by_itself: bool,
    /// Bytes a second from the second memory.
    pub large: Range,
    /// Bytes a second from mapped flash.
    pub flash: Range,
}

impl Pace {
    /// The pace of `board` by published figures. A board that measured its card's rate puts that in.
    pub fn of(board: &Board) -> Self {
        let chip = board.chip;
        Self {
            cpu: chip.cpu,
            mhz: chip.mhz,
            cores: chip.cores,
            card: board.card.rate().range,
            command: board.card.command().range,
            reads_by_itself: board.card.reads_by_itself(),
            // Internal RAM is not waited for.
            large: board.psram.map_or(Range::exactly(u64::MAX), |psram| psram.rate.range),
            flash: chip.flash_rate.range,
        }
    }

    /// Microseconds of `instructions`. Two cores share rows evenly at best; at worst handing them over costs a tenth.
    fn computing(&self, instructions: Instructions) -> Range {
        let cores = u64::from(self.cores.max(1));
        let rows = instructions.rows.over(cores);
        let handing_over = if cores > 1 { rows.high / 10 } else { 0 };
        let all = Range { high: rows.high.saturating_add(handing_over), ..rows }.plus(instructions.rest);
        let cycles = all.zip(self.cpu.cycles.range, u64::saturating_mul).over(100);
        cycles.over(self.mhz.into())
    }

    /// Microseconds of reading `traffic` from the card.
    fn reading(&self, traffic: Traffic) -> Range {
        self.card.microseconds(traffic.bytes).plus(self.command.times(traffic.reads))
    }
}

/// What is expected of a model with a plan on a board. Where the card reads by itself, what is pinned is taken to lie among
/// what is read, as [`options`] has it.
#[derive(Clone, Copy, Debug)]
pub struct Estimate<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its plan.
    pub plan: &'a Plan,
    /// The board.
    pub pace: Pace,
    /// Where the weights are.
    pub weights: Weights,
    /// See [`PlanOptions::check_every`].
    pub check_every: u32,
}

impl Estimate<'_> {
    /// Microseconds of a token of an answer that looks at `positions`.
    pub fn token(&self, positions: u64) -> Range {
        let checksum = self.checksum().over(self.check_every.into());
        let work = Instructions::of(self.model.header(), self.pace.cpu, positions, true);
        let work = Instructions { rest: work.rest.plus(checksum), ..work };
        self.pass(work, self.plan.pass_traffic(self.model, true), self.cache(positions)).plus(self.embedding())
    }

    /// Microseconds from the end of a prompt of `tokens`, at least one, to the first token of the answer, in a session that
    /// has read what it keeps.
    pub fn prompt(&self, tokens: u64) -> Range {
        let header = self.model.header();
        let batch = self.plan.batch.max(1) as u64;
        let passes = tokens.max(1).div_ceil(batch);
        let mut sum = self.embedding().times(tokens);
        for pass in 0..passes {
            let (first, last) = (pass * batch, ((pass + 1) * batch).min(tokens.max(1)));
            let is_last = pass + 1 == passes;
            // On average, of those that are no more than prompt.
            let positions = (first + last).div_ceil(2);
            let earlier = Instructions::of(header, self.pace.cpu, positions, false);
            // In the last pass every token goes through all layers but the head.
            let work = if is_last {
                earlier.times(last - first - 1).plus(Instructions::of(header, self.pace.cpu, last, true))
            } else {
                earlier.times(last - first)
            };
            let cache = self.cache(positions).saturating_mul(last - first);
            sum = sum.plus(self.pass(work, self.plan.pass_traffic(self.model, is_last), cache));
        }
        sum
    }

    /// Microseconds that the first prompt takes besides: reading what is kept, and a checksum of all weights.
    pub fn start(&self) -> Range {
        let checksum = Instructions { rest: self.checksum(), ..Instructions::default() };
        // A span before each of a token's reads, or all of it in pieces.
        let spans = match self.plan.pinning {
            Pinning::Front => 0,
            Pinning::Spread { .. } => self.plan.pass_traffic(self.model, true).reads,
        };
        let reads = spans.max((self.plan.pinned as u64).div_ceil(CHUNK));
        let kept = Traffic { reads, bytes: self.plan.pinned as u64, ..Traffic::default() };
        let reading = if self.plan.pinned > 0 { self.pace.reading(kept) } else { Range::default() };
        self.pace.computing(checksum).plus(reading)
    }

    fn checksum(&self) -> Range {
        let of = if self.check_every == 0 { 0 } else { self.model.tape_len() };
        self.pace.cpu.checksum.range.times(of)
    }

    fn embedding(&self) -> Range {
        match self.weights {
            Weights::Card => self.pace.reading(self.plan.embedding_traffic(self.model, 0)),
            Weights::Flash => Range::default(),
        }
    }

    /// Bytes of the cache in the second memory that a token at `positions` reads.
    fn cache(&self, positions: u64) -> u64 {
        let bytes = self.in_large("kv cache");
        bytes.saturating_mul(positions) / (self.plan.context as u64).max(1)
    }

    fn in_large(&self, name: &str) -> u64 {
        let there = self.plan.regions().into_iter().find(|region| region.name == name && region.place == Place::Large);
        there.map_or(0, |region| region.len as u64)
    }

    /// A pass of `work` that reads `traffic`, and `cache` bytes of the second memory.
    fn pass(&self, work: Instructions, traffic: Traffic, cache: u64) -> Range {
        let pace = &self.pace;
        // Loads that wait, of what lies outside of internal RAM.
        let lent = match self.weights {
            Weights::Card => {
                let kept = if self.in_large("pinned weights") > 0 { traffic.resident_bytes } else { 0 };
                pace.large.microseconds(kept)
            }
            Weights::Flash => pace.flash.microseconds(traffic.resident_bytes),
        };
        let waiting = lent.plus(if cache > 0 { pace.large.microseconds(cache) } else { Range::default() });
        let computing = pace.computing(work);
        // With two cores one may compute while the other one waits.
        let both = computing.plus(waiting);
        let busy = if pace.cores > 1 { Range { low: computing.low.max(waiting.low), ..both } } else { both };
        let reading = pace.reading(traffic);
        if pace.reads_by_itself { busy.max(reading) } else { busy.plus(reading) }
    }
}

/// Bytes of a read, as plans have them where memory is not short.
const CHUNK: u64 = 16 << 10;
/// Positions that the token looks at that stands for all others.
const POSITIONS: u64 = 64;

impl Estimate<'_> {
    /// Positions that the token looks at whose speed is told: a short text's, or the context where that is shorter.
    pub fn positions(&self) -> u64 {
        POSITIONS.min(self.plan.context as u64)
    }
}

/// A line for a board's report.
impl fmt::Display for Estimate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { low, high } = self.token(self.positions());
        let [slow, fast] = [high, low].map(|time| Hundredths { of: 1_000_000, by: time.max(1) });
        write!(f, "expected: {slow} to {fast} tokens/s, by a model of the board, not a measurement")
    }
}

/// How the engine's memory is planned on `board` for the weights at `weights`. Where the card reads by itself, what is pinned
/// lies among what is read, and is no more than lets both end together.
pub fn options(board: &Board, pace: &Pace, model: &Model, weights: Weights) -> PlanOptions {
    let options = PlanOptions { large: board.large_len(), candidates: CANDIDATES, ..PlanOptions::new(board.chip.sram) };
    if weights == Weights::Flash || !pace.reads_by_itself {
        return options;
    }
    let computing = pace.computing(Instructions::of(model.header(), pace.cpu, POSITIONS, true));
    let most = most_pinned(pace, model.tape_len(), computing);
    PlanOptions { pinning: Pinning::Spread { most: usize::try_from(most).unwrap_or(usize::MAX) }, ..options }
}

/// How many bytes of a tape of `len` to pin, so that a card that reads the others by itself and a processor that takes
/// `computing` for all of them end together. The middle of every range counts.
fn most_pinned(pace: &Pace, len: u64, computing: Range) -> u64 {
    let all = Traffic { reads: len.div_ceil(CHUNK), bytes: len, ..Traffic::default() };
    let (reading, waiting) = (pace.reading(all).middle(), pace.large.microseconds(len).middle());
    let spare = reading.saturating_sub(computing.middle());
    // (len - pinned) · reading = len · computing + pinned · waiting. In KiB: their product with microseconds fits, as far as
    // a card's sectors are numbered.
    ((len >> 10).saturating_mul(spare)).checked_div(reading.saturating_add(waiting)).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use rillm::sources::Bytes;

    use super::*;
    use crate::boards;

    static FILE: &[u8] = include_bytes!("../../../models/rill-tales-1m/model.rillm");

    fn model() -> Model {
        let mut source = Bytes::copied(FILE);
        let mut open = pin!(Model::open(&mut source));
        match open.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(model) => model.expect("the bundled model"),
            Poll::Pending => unreachable!("bytes are there at once"),
        }
    }

    /// Of a board with its pace; a context that all of them have room for.
    fn estimated(board: &Board, pace: Pace, weights: Weights, of: impl Fn(Estimate<'_>) -> Range) -> Range {
        let model = model();
        let source = if weights == Weights::Flash { Bytes::lent(FILE) } else { Bytes::copied(FILE) };
        let options = PlanOptions { context: Some(128), ..options(board, &pace, &model, weights) };
        let plan = Plan::new(&model, &source, &options).expect("it fits");
        of(Estimate { model: &model, plan: &plan, pace, weights, check_every: options.check_every })
    }

    #[test]
    fn instructions_are_those_that_were_counted() {
        let model = model();
        // docs/performance.md: the stages of a token, but for reading, tokenizer and embedding.
        let count = |cpu, positions, head| Instructions::of(model.header(), cpu, positions, head).all();
        let within = |range: Range, counted: u64| {
            assert!((range.low * 98 / 100..=range.high * 102 / 100).contains(&counted), "{counted} {range:?}");
        };
        within(count(&Cpu::RV32, 21, true), 376_232 + 972_928 + 4_446_048 + 603_173 + 311_666 + 550_156);
        within(count(&Cpu::RV32, 40, false), 484_566 + 3_775_112 + 501_606 + 261_790);
        within(count(&Cpu::LX6, 21, true), 840_672 + 676_147 + 3_262_384 + 1_678_950 + 627_597 + 968_863);
        within(count(&Cpu::LX6, 40, false), 1_061_988 + 2_771_703 + 1_397_519 + 528_616);
    }

    #[test]
    fn a_board_says_what_to_expect() {
        let model = model();
        let board = &boards::ESP32_C3_SPI;
        let pace = Pace::of(board);
        let options = options(board, &pace, &model, Weights::Card);
        let plan = Plan::new(&model, &Bytes::copied(FILE), &options).expect("it fits");
        let estimate =
            Estimate { model: &model, plan: &plan, pace, weights: Weights::Card, check_every: options.check_every };
        let Range { low, high } = estimate.token(64);
        let rate = |time: u64| std::format!("{:.2}", 1e6 / time as f64);
        let line = std::format!("expected: {} to {} tokens/s, by", rate(high), rate(low));
        assert!(std::format!("{estimate}").starts_with(&line), "{estimate} {line}");
    }

    #[test]
    fn a_better_board_is_faster() {
        for board in boards::ALL {
            for weights in [Weights::Card, Weights::Flash] {
                let pace = Pace::of(board);
                let token = |pace| estimated(board, pace, weights, |estimate| estimate.token(64));
                let range = token(pace);
                assert!(0 < range.low && range.low <= range.high, "{} {range:?}", board.id);
                let clock = token(Pace { mhz: 2 * pace.mhz, ..pace });
                let card = token(Pace { card: Range { low: 2 * pace.card.low, high: 2 * pace.card.high }, ..pace });
                for faster in [clock, card] {
                    assert!(faster.low <= range.low && faster.high <= range.high, "{} {faster:?}", board.id);
                }
                let far = estimated(board, pace, weights, |estimate| estimate.token(128));
                assert!(far.low >= range.low && far.high > range.low, "{} {far:?}", board.id);
                let prompt = estimated(board, pace, weights, |estimate| estimate.prompt(20));
                // No faster than its last token, no slower than one by one.
                let one = estimated(board, pace, weights, |estimate| estimate.prompt(1));
                assert!(prompt.low > one.low && prompt.high < 20 * one.high, "{} {prompt:?} {one:?}", board.id);
            }
        }
    }

    #[test]
    fn card_and_memory_end_together() {
        let pace = Pace {
            card: Range::exactly(10_000_000),
            command: Range::exactly(0),
            large: Range::exactly(20_000_000),
            ..Pace::of(&boards::ESP32_CAM)
        };
        // All of it is read in a second, waited for in half of one, and multiplied in a quarter: half of it each way.
        let len = 10_000_000;
        let pinned = most_pinned(&pace, len, Range::exactly(250_000));
        assert!(pinned.abs_diff(len / 2) <= 1024, "{pinned}");
        // A processor that is slower than the card pins nothing, and nothing overflows.
        assert_eq!(most_pinned(&pace, len, Range::exactly(1_000_000)), 0);
        assert!(most_pinned(&pace, 1 << 41, Range::exactly(0)) <= 1 << 41);
        assert_eq!(most_pinned(&pace, 0, Range::default()), 0);
    }

    #[test]
    fn what_reads_by_itself_costs_the_longer_time() {
        let alone = Pace { cores: 1, ..Pace::of(&boards::ESP32_CAM) };
        let work = Instructions { rows: Range::exactly(1000), rest: Range::exactly(2_400_000) };
        let traffic = Traffic { reads: 100, bytes: 1_000_000, ..Traffic::default() };
        let pass = |pace| estimated(&boards::ESP32_C3_SPI, pace, Weights::Card, |of| of.pass(work, traffic, 0));
        let [both, either] = [false, true].map(|reads_by_itself| pass(Pace { reads_by_itself, ..alone }));
        let (computing, reading) = (alone.computing(work), alone.reading(traffic));
        assert_eq!(both, computing.plus(reading));
        assert_eq!(either, computing.max(reading));
    }
}
