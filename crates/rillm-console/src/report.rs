//! The reports of a board: model, memory and statistics.

use core::fmt;

use rillm::Region;
use rillm::format::Header;
use rillm::{MemoryLen, Model, Plan, Residency, Stage, StageTimes, Stats, Traffic};

use crate::{Board, Clock, StackUse};
use rillm_generate::number::{Bytes, Count, Grouped, Tenths};
use rillm_generate::{Ram, Unit, micros};

/// The model's dimensions, as text.
pub struct ModelInfo<'a>(pub &'a Header);

impl fmt::Display for ModelInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.0;
        write!(
            f,
            "model: {}, {}, {}, vocabulary {}, context {}",
            header.source_name().unwrap_or("without a name"),
            Count(header.parameters(), "parameter"),
            Count(header.n_layers.into(), "layer"),
            Grouped(header.vocab_size.into()),
            Grouped(header.context_length.into()),
        )
    }
}

/// The memory usage of a model, as text.
#[derive(Clone, Copy)]
pub struct MemoryReport<'a> {
    pub model: &'a Model,
    pub plan: &'a Plan,
    /// Bytes that the engine was given.
    pub given: MemoryLen,
    /// Whether the source is memory-mapped, so that weights are used in place.
    pub lent: bool,
}

impl MemoryReport<'_> {
    /// Bytes used and given, of the internal and the external memory.
    pub fn ram(&self) -> [(usize, usize); 2] {
        let (used, given) = (self.plan.memory(), self.given);
        [(used.internal, given.internal), (used.external, given.external)]
    }
}

impl fmt::Display for MemoryReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        write!(f, "{}, context {}, batches of {}", Ram(self.ram()), Grouped(plan.context as u64), plan.batch)?;
        for row in plan.allocations().into_iter().filter(|row| row.len > 0) {
            let place = if row.region == Region::External { " in external memory" } else { "" };
            write!(f, "\n  {:<17} {:>11}{place}", row.buffer.name(), Bytes(row.len as u64))?;
        }
        let streamed = self.model.tape_len().saturating_sub(plan.resident as u64);
        if self.lent {
            f.write_str("\nweights: used where they lie")
        } else if streamed == 0 {
            f.write_str("\nweights: all in memory")
        } else {
            let (streamed, chunk) = (Bytes(streamed), Bytes(plan.chunk as u64));
            write!(
                f,
                "\nweights: {streamed} a token, read in chunks of {chunk}; {} resident",
                Bytes(plan.resident as u64)
            )?;
            if plan.residency == Residency::Front { Ok(()) } else { f.write_str(", spread among them") }
        }
    }
}

/// Statistics since the start, over all sessions.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    done: Stats,
}

impl Totals {
    /// Adds the statistics of another session.
    pub fn and(mut self, stats: Stats) -> Self {
        let done = &mut self.done;
        done.tokens += stats.tokens;
        done.passes += stats.passes;
        done.traffic += stats.traffic;
        done.times += stats.times;
        self
    }
}

/// The text of `/stats`.
#[derive(Clone, Copy)]
pub struct StatsReport<'a> {
    pub totals: Totals,
    pub board: &'a dyn Board,
    pub memory: MemoryReport<'a>,
}

impl fmt::Display for StatsReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { tokens, passes, traffic, times, .. } = &self.totals.done;
        writeln!(f, "{} in {}, prompts included", Count(*tokens, "token"), Count(*passes, "pass"))?;
        writeln!(
            f,
            "{} in {} and {}; {} used in memory",
            Count(traffic.bytes, "byte"),
            Count(traffic.reads, "read"),
            Count(traffic.seeks, "seek"),
            Bytes(traffic.resident_bytes)
        )?;
        if let Some(clock) = &self.board.clock() {
            split(f, clock, times, *tokens)?;
        }
        writeln!(f, "{}", self.memory)?;
        self.board.stats(f)
    }
}

/// The stages that add up to the total, in the order of the report.
const STAGES: [Stage; 10] = [
    Stage::Tokenizer,
    Stage::Embedding,
    Stage::Norm,
    Stage::Matmul,
    Stage::Attention,
    Stage::Mlp,
    Stage::Head,
    Stage::Sampler,
    Stage::Wait,
    Stage::Checksum,
];

fn split(f: &mut fmt::Formatter<'_>, clock: &Clock, times: &StageTimes, tokens: u64) -> fmt::Result {
    let total = times.total();
    let (compute, wait, read) = (times.compute(), times[Stage::Wait], times[Stage::Read]);
    match clock.unit {
        Unit::Time { per_second } => {
            let ms = |ticks| Tenths { of: micros(ticks, per_second), by: tokens.saturating_mul(1000) };
            let speed = Tenths { of: tokens.saturating_mul(1_000_000), by: micros(total, per_second) };
            write!(f, "{speed} tokens/s, {} ms a token: ", ms(total))?;
            writeln!(f, "{} computing, {} waiting for reads, which took {}", ms(compute), ms(wait), ms(read))?;
            writeln!(f, "{} s computing and waiting:", Tenths { of: micros(total, per_second), by: 1_000_000 })?;
        }
        Unit::Count(unit) => {
            let each = |ticks: u64| Grouped(ticks.checked_div(tokens).unwrap_or(0));
            write!(f, "{} {unit} a token: ", each(total))?;
            writeln!(f, "{} computing, {} waiting for reads, which took {}", each(compute), each(wait), each(read))?;
            writeln!(f, "{} {unit} computing and waiting:", Grouped(total))?;
        }
    }
    for stage in STAGES {
        let (name, ticks) = (stage.name(), times[stage]);
        let percent = Tenths { of: ticks.saturating_mul(100), by: total };
        match clock.unit {
            Unit::Time { per_second } => {
                let ms = Tenths { of: micros(ticks, per_second), by: 1000 };
                writeln!(f, "  {name:<10} {ms:>14} ms {percent:>6} %")?;
            }
            Unit::Count(unit) => writeln!(f, "  {name:<10} {:>20} {unit} {percent:>6} %", Grouped(ticks))?,
        }
    }
    Ok(())
}

/// The text of `/stats --json`: the figures of `/stats` as one JSON object, described in [the console's manual].
///
/// [the console's manual]: https://github.com/rillm/rillm/blob/main/docs/console.md
pub struct StatsJson<'a>(pub StatsReport<'a>);

impl fmt::Display for StatsJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatsReport { totals, board, memory } = &self.0;
        let Stats { tokens, passes, traffic, times, .. } = &totals.done;
        let Traffic { reads, bytes, seeks, resident_bytes } = traffic;
        let [internal, external] = memory.ram().map(|memory| Used(Some(memory)));
        let stack = Used(board.stack().map(|StackUse { peak, len }| (peak, len)));
        write!(f, r#"{{"tokens":{tokens},"passes":{passes},"reads":{reads},"bytes":{bytes},"seeks":{seeks},"#)?;
        write!(
            f,
            r#""resident_bytes":{resident_bytes},"memory":{{"internal":{internal},"external":{external}}},"stack":{stack},"#
        )?;
        match board.clock().map(|clock| clock.unit) {
            None => return f.write_str(r#""clock":null,"ticks":null}"#),
            Some(Unit::Time { per_second }) => write!(f, r#""clock":{{"unit":"ticks","per_second":{per_second}}}"#)?,
            Some(Unit::Count(unit)) => write!(f, r#""clock":{{"unit":"{unit}","per_second":null}}"#)?,
        }
        write!(f, r#","ticks":{{"read":{}"#, times[Stage::Read])?;
        STAGES.iter().try_for_each(|&stage| write!(f, r#","{}":{}"#, stage.name(), times[stage]))?;
        f.write_str("}}")
    }
}

/// Bytes used and given of a memory, as JSON.
struct Used(Option<(usize, usize)>);

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((used, given)) => write!(f, r#"{{"used":{used},"given":{given}}}"#),
            None => f.write_str("null"),
        }
    }
}
