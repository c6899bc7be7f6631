//! The expected time of a token on a board, from a model of the board. It is not a measurement.
//!
//! Instructions are counted on emulated processors. Bandwidths are published figures, or were measured by the board
//! itself. Cycles an instruction range from the best case of the pipeline to what others measured. Every figure is a
//! [`Range`] of integers. Microseconds are rounded down.

use core::fmt;

use rillm::{Buffer, CHECK_EVERY, Model, Plan, PlanOptions, Region, Residency, Traffic};

use rillm_generate::number::Hundredths;

use crate::boards::BoardSpec;
use crate::figure::Range;
use crate::instructions::{Cpu, Instructions};

/// Where a model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// A file on the card.
    Card,
    /// Memory-mapped flash.
    Flash,
}

impl ModelPlace {
    /// `card` or `flash`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Flash => "flash",
        }
    }
}

/// The speed of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Instruction and cycle counts of its processor.
    pub cpu: &'static Cpu,
    /// Processor clock in MHz.
    pub mhz: u32,
    /// Number of cores that share the rows of a matrix.
    pub cores: u32,
    /// Transfer rate of the card within a read, in bytes a second.
    pub card: Range,
    /// Overhead of a read from the card, in microseconds.
    pub command: Range,
    /// Whether the processor computes while a chunk is read.
    pub has_dma: bool,
    /// Bandwidth of the external memory, in bytes a second.
    pub external: Range,
    /// Bandwidth of mapped flash, in bytes a second.
    pub flash: Range,
}

impl Pace {
    /// The speed of `board` by published figures. A board that has measured its card replaces the card's rate.
    pub fn of(board: &BoardSpec) -> Self {
        let chip = board.chip;
        Self {
            cpu: chip.cpu,
            mhz: chip.mhz,
            cores: chip.cores,
            card: board.card.rate().range,
            command: board.card.command().range,
            has_dma: board.card.has_dma(),
            // Loads from internal RAM do not wait.
            external: board.psram.map_or(Range::exactly(u64::MAX), |psram| psram.rate.range),
            flash: chip.flash_mode.rate().range,
        }
    }

    /// Time of `instructions`, in microseconds. At best two cores share rows evenly; at worst the handover costs a
    /// tenth.
    fn computing(&self, instructions: Instructions) -> Range {
        let cores = u64::from(self.cores.max(1));
        let rows = instructions.rows.over(cores);
        let handing_over = if cores > 1 { rows.high / 10 } else { 0 };
        let all = Range { high: rows.high.saturating_add(handing_over), ..rows }.plus(instructions.rest);
        let cycles = all.zip(self.cpu.cycles.range, u64::saturating_mul).over(100);
        cycles.over(self.mhz.into())
    }

    /// Time to read `traffic` from the card, in microseconds.
    fn reading(&self, traffic: Traffic) -> Range {
        self.card.microseconds(traffic.bytes).plus(self.command.times(traffic.reads))
    }
}

/// The estimate for a model with a plan on a board. Where the card is read by DMA, it assumes that the resident weights
/// are spread among the weights that are read, as [`options`] plans them.
#[derive(Clone, Copy, Debug)]
pub struct Estimate<'a> {
    /// The model.
    pub model: &'a Model,
    /// The plan of its memory.
    pub plan: &'a Plan,
    /// The speed of the board.
    pub pace: Pace,
    /// Where a model is stored.
    pub place: ModelPlace,
}

impl Estimate<'_> {
    /// What a token of an answer reads: the weights, and a row of the embedding table. From flash nothing is read.
    pub fn token_traffic(&self) -> Traffic {
        let mut traffic = self.plan.pass_traffic(self.model, true);
        traffic += self.embedding_traffic();
        traffic
    }

    /// The most that is read for the logits of a token that are computed again.
    pub fn rescoring_traffic(&self) -> Traffic {
        match self.place {
            ModelPlace::Card => self.plan.rescoring_traffic(self.model),
            ModelPlace::Flash => Traffic::default(),
        }
    }

    fn embedding_traffic(&self) -> Traffic {
        match self.place {
            ModelPlace::Card => self.plan.embedding_traffic(self.model, 0),
            ModelPlace::Flash => Traffic::default(),
        }
    }

    /// Time of one token of an answer that attends to `positions`, in microseconds.
    pub fn token(&self, positions: u64) -> Range {
        let checksum = self.checksum().over(CHECK_EVERY.into());
        let work = Instructions::of(self.model, self.pace.cpu, positions, true);
        let work = Instructions { rest: work.rest.plus(checksum), ..work };
        let pass = self.pass(work, self.plan.pass_traffic(self.model, true), self.cache(positions));
        pass.plus(self.rescoring()).plus(self.embedding())
    }

    /// Time from the end of a prompt of `tokens`, at least one, to the first token of the answer, in microseconds. The
    /// session has loaded its resident weights already.
    pub fn prompt(&self, tokens: u64) -> Range {
        let batch = self.plan.batch.max(1) as u64;
        let passes = tokens.max(1).div_ceil(batch);
        let mut sum = self.embedding().times(tokens);
        for pass in 0..passes {
            let (first, last) = (pass * batch, ((pass + 1) * batch).min(tokens.max(1)));
            let is_last = pass + 1 == passes;
            // The average number of positions of the pass.
            let positions = (first + last).div_ceil(2);
            let earlier = Instructions::of(self.model, self.pace.cpu, positions, false);
            // In the last pass only the last token goes through the head.
            let work = if is_last {
                earlier.times(last - first - 1).plus(Instructions::of(self.model, self.pace.cpu, last, true))
            } else {
                earlier.times(last - first)
            };
            let cache = self.cache(positions).saturating_mul(last - first);
            sum = sum.plus(self.pass(work, self.plan.pass_traffic(self.model, is_last), cache));
        }
        sum.plus(self.rescoring())
    }

    /// Additional time of the first prompt, in microseconds: loading the resident weights, and a checksum of all
    /// weights.
    pub fn start(&self) -> Range {
        let checksum = Instructions { rest: self.checksum(), ..Instructions::default() };
        // Spread weights take a read before each of a token's reads; contiguous ones are read in chunks.
        let spans = match self.plan.residency {
            Residency::Front => 0,
            Residency::Spread { .. } => self.plan.pass_traffic(self.model, true).reads,
        };
        let reads = spans.max((self.plan.resident as u64).div_ceil(CHUNK));
        let resident = Traffic { reads, bytes: self.plan.resident as u64, ..Traffic::default() };
        let reading = if self.plan.resident > 0 { self.pace.reading(resident) } else { Range::default() };
        self.pace.computing(checksum).plus(reading)
    }

    fn checksum(&self) -> Range {
        let of = self.model.tape_len();
        self.pace.cpu.checksum.range.times(of)
    }

    fn embedding(&self) -> Range {
        self.pace.reading(self.embedding_traffic())
    }

    /// Time to read the rows of logits that are computed again: none at best, as where one token is far likelier than
    /// all others.
    fn rescoring(&self) -> Range {
        Range { low: 0, ..self.pace.reading(self.rescoring_traffic()) }
    }

    /// Bytes of the KV cache in external memory that a token at `positions` reads.
    fn cache(&self, positions: u64) -> u64 {
        let bytes = self.in_external(Buffer::KvCache);
        bytes.saturating_mul(positions) / (self.plan.context as u64).max(1)
    }

    fn in_external(&self, buffer: Buffer) -> u64 {
        let mut rows = self.plan.allocations().into_iter();
        rows.find(|row| row.buffer == buffer && row.region == Region::External).map_or(0, |row| row.len as u64)
    }

    /// Time of a pass of `work` that reads `traffic` from the card and `cache` bytes of the KV cache from external
    /// memory.
    fn pass(&self, work: Instructions, traffic: Traffic, cache: u64) -> Range {
        let pace = &self.pace;
        // Stalls of loads from outside internal RAM.
        let lent = match self.place {
            ModelPlace::Card => {
                let resident = if self.in_external(Buffer::ResidentWeights) > 0 { traffic.resident_bytes } else { 0 };
                pace.external.microseconds(resident)
            }
            ModelPlace::Flash => pace.flash.microseconds(traffic.resident_bytes),
        };
        let waiting = lent.plus(if cache > 0 { pace.external.microseconds(cache) } else { Range::default() });
        let computing = pace.computing(work);
        // With two cores, one can compute while the other one waits.
        let both = computing.plus(waiting);
        let busy = if pace.cores > 1 { Range { low: computing.low.max(waiting.low), ..both } } else { both };
        let reading = pace.reading(traffic);
        if pace.has_dma { busy.max(reading) } else { busy.plus(reading) }
    }
}

/// Bytes of a read, as planned where memory is not short.
const CHUNK: u64 = 16 << 10;
/// Number of attended positions for which a speed is quoted.
const POSITIONS: u64 = 64;

impl Estimate<'_> {
    /// Number of attended positions for which a speed is quoted: those of a short text, or the context if it is
    /// shorter.
    pub fn positions(&self) -> u64 {
        POSITIONS.min(self.plan.context as u64)
    }
}

/// One line for the report of a board.
impl fmt::Display for Estimate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { low, high } = self.token(self.positions());
        let [slow, fast] = [high, low].map(|time| Hundredths { of: 1_000_000, by: time.max(1) });
        write!(f, "expected: {slow} to {fast} tokens/s, by a model of the board, not a measurement")
    }
}

/// The plan options of a board with the model at `place`. Where the card is read by DMA, the resident weights are
/// spread among the weights that are read, and limited so that reading and computing end together.
pub fn options(pace: &Pace, model: &Model, place: ModelPlace) -> PlanOptions {
    let options = PlanOptions::default();
    if place == ModelPlace::Flash || !pace.has_dma {
        return options;
    }
    let computing = pace.computing(Instructions::of(model, pace.cpu, POSITIONS, true));
    let most = most_resident(pace, model.tape_len(), computing);
    options.residency(Residency::Spread { most: usize::try_from(most).unwrap_or(usize::MAX) })
}

/// How many bytes of a tape of `len` to keep resident so that reading the rest by DMA takes as long as the processor
/// works. `computing` is its time for the whole tape. The middle of every range counts.
fn most_resident(pace: &Pace, len: u64, computing: Range) -> u64 {
    let all = Traffic { reads: len.div_ceil(CHUNK), bytes: len, ..Traffic::default() };
    let (reading, waiting) = (pace.reading(all).middle(), pace.external.microseconds(len).middle());
    let spare = reading.saturating_sub(computing.middle());
    // (len - resident) · reading = len · computing + resident · waiting. In KiB, so that the product with microseconds
    // fits for every length that a card can address.
    ((len >> 10).saturating_mul(spare)).checked_div(reading.saturating_add(waiting)).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use rillm::{Bytes, block_on};

    use super::*;
    use crate::BUNDLED as FILE;
    use crate::boards;

    fn model() -> Model {
        block_on(Model::open(&mut Bytes::copied(FILE))).expect("the bundled model")
    }

    /// An estimate for a board at a pace, with a context that fits every board.
    fn estimated(board: &BoardSpec, pace: Pace, place: ModelPlace, of: impl Fn(Estimate<'_>) -> Range) -> Range {
        let model = model();
        let source = if place == ModelPlace::Flash { Bytes::lent(FILE) } else { Bytes::copied(FILE) };
        let options = options(&pace, &model, place).context(128);
        let plan = Plan::new(&model, &source, board.memory(), &options).expect("it fits");
        of(Estimate { model: &model, plan: &plan, pace, place })
    }

    #[test]
    fn a_board_says_what_to_expect() {
        let model = model();
        let board = &boards::ESP32_C3_SPI;
        let pace = Pace::of(board);
        let options = options(&pace, &model, ModelPlace::Card);
        let plan = Plan::new(&model, &Bytes::copied(FILE), board.memory(), &options).expect("it fits");
        let estimate = Estimate { model: &model, plan: &plan, pace, place: ModelPlace::Card };
        let Range { low, high } = estimate.token(64);
        let rate = |time: u64| std::format!("{:.2}", 1e6 / time as f64);
        let line = std::format!("expected: {} to {} tokens/s, by", rate(high), rate(low));
        assert!(std::format!("{estimate}").starts_with(&line), "{estimate} {line}");
    }

    #[test]
    fn a_better_board_is_faster() {
        for board in boards::ALL {
            for place in [ModelPlace::Card, ModelPlace::Flash] {
                let pace = Pace::of(board);
                let token = |pace| estimated(board, pace, place, |estimate| estimate.token(64));
                let range = token(pace);
                assert!(0 < range.low && range.low <= range.high, "{} {range:?}", board.id);
                let clock = token(Pace { mhz: 2 * pace.mhz, ..pace });
                let card = token(Pace { card: Range { low: 2 * pace.card.low, high: 2 * pace.card.high }, ..pace });
                for faster in [clock, card] {
                    assert!(faster.low <= range.low && faster.high <= range.high, "{} {faster:?}", board.id);
                }
                let far = estimated(board, pace, place, |estimate| estimate.token(128));
                assert!(far.low >= range.low && far.high > range.low, "{} {far:?}", board.id);
                let prompt = estimated(board, pace, place, |estimate| estimate.prompt(20));
                // Not faster than its last token alone, not slower than token by token.
                let one = estimated(board, pace, place, |estimate| estimate.prompt(1));
                assert!(prompt.low > one.low && prompt.high < 20 * one.high, "{} {prompt:?} {one:?}", board.id);
            }
        }
    }

    #[test]
    fn card_and_memory_end_together() {
        let pace = Pace {
            card: Range::exactly(10_000_000),
            command: Range::exactly(0),
            external: Range::exactly(20_000_000),
            ..Pace::of(&boards::ESP32_CAM)
        };
        // The whole tape takes a second to read, half a second of stalls and a quarter of computing: half of it is
        // resident.
        let len = 10_000_000;
        let resident = most_resident(&pace, len, Range::exactly(250_000));
        assert!(resident.abs_diff(len / 2) <= 1024, "{resident}");
        // If the processor is slower than the card, no weights are resident. Nothing overflows.
        assert_eq!(most_resident(&pace, len, Range::exactly(1_000_000)), 0);
        assert!(most_resident(&pace, 1 << 41, Range::exactly(0)) <= 1 << 41);
        assert_eq!(most_resident(&pace, 0, Range::default()), 0);
    }

    #[test]
    fn a_card_with_dma_costs_the_longer_time() {
        let alone = Pace { cores: 1, ..Pace::of(&boards::ESP32_CAM) };
        let work = Instructions { rows: Range::exactly(1000), rest: Range::exactly(2_400_000) };
        let traffic = Traffic { reads: 100, bytes: 1_000_000, ..Traffic::default() };
        let pass = |pace| estimated(&boards::ESP32_C3_SPI, pace, ModelPlace::Card, |of| of.pass(work, traffic, 0));
        let [both, either] = [false, true].map(|has_dma| pass(Pace { has_dma, ..alone }));
        let (computing, reading) = (alone.computing(work), alone.reading(traffic));
        assert_eq!(both, computing.plus(reading));
        assert_eq!(either, computing.max(reading));
    }
}
