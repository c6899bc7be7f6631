//! `rillm plan`: shows what to expect of a model on a board.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use console::style;
use indicatif::BinaryBytes;
use rillm::{Allocation, Model, Plan, Traffic};
use rillm_boards::{self as boards, BoardSpec, Estimate, Figure, ModelPlace, Pace, Range, options};
use serde_json::{Value, json};

use crate::board_bench::{BoardBench, SOURCE};
use crate::model_file::{BUNDLED, bundled, from_path};
use crate::number::{Count, grouped};
use crate::source::{Access, CardPace};
use crate::{files, say};

/// Length in tokens of the prompt whose time is reported.
const PROMPT: u64 = 20;

/// Show what to expect of a model on a board: memory, reads, speed
///
/// The memory is divided as rillm's firmware for ESP32 boards divides it. A real board differs in two points: it uses the
/// measured rate of its card, and the longest context that fits. Speeds are estimates from a model of the board, not
/// measurements: ranges from published bandwidths and from instructions counted on emulated processors.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  # List the boards
  rillm plan --board
  rillm plan --board esp32-cam
  rillm plan --board esp32-s3-devkitc --model tiny-llm.rillm --context 256
  # An ESP32 before revision 3, whose PSRAM can hold only weights
  rillm plan --board esp32-cam --old-chip
  # Without a card: the model is in the board's flash
  rillm plan --board esp32-cam --source flash
  # With what the console of a board has printed after /bench
  rillm plan --board esp32-cam --bench bench.txt
  rillm plan --board esp32-cam --bench \"model file, 16.00 KiB at a time: 9.20 MB/s\"
  rillm plan --board esp32-cam --json | jq .tokens_per_second")]
pub struct Args {
    /// The board; without a name, lists the boards
    #[arg(long, value_name = "BOARD", num_args = 0..=1, value_parser = board)]
    board: Option<Option<&'static BoardSpec>>,
    /// Plan for the board without its PSRAM, which some variants lack
    #[arg(long)]
    no_psram: bool,
    /// Plan for an ESP32 before revision 3, whose PSRAM holds only weights
    #[arg(long)]
    old_chip: bool,
    /// A .rillm file; the bundled model if absent
    #[arg(long, short, value_name = "FILE", value_parser = files::input())]
    model: Option<PathBuf>,
    /// Tokens to make room for, prompt and answer together; without it, as many as the model supports and the memory
    /// holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Where the model is stored; without it on the card, or in flash where that is faster and the file fits
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// What a board has printed after /bench, or a file with it: these rates replace the modelled ones
    #[arg(long, value_name = "LINES|FILE", requires = "board")]
    bench: Option<String>,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Source {
    /// A file on the card
    Card,
    /// The board's flash, memory-mapped
    Flash,
}

impl From<Source> for ModelPlace {
    fn from(source: Source) -> Self {
        match source {
            Source::Card => Self::Card,
            Source::Flash => Self::Flash,
        }
    }
}

fn board(id: &str) -> Result<&'static BoardSpec, String> {
    let ids = || boards::ALL.map(|board| board.id).join(", ");
    BoardSpec::named(id).ok_or_else(|| format!("there is no such board; the boards are {}", ids()))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut out = say::out();
    let Some(board) = args.board.flatten() else {
        let listed = if args.json { writeln!(out, "{}", boards_json()) } else { print_boards(&mut out) };
        return Ok(listed?);
    };
    let board = &BoardSpec { psram: board.psram.filter(|_| !args.no_psram), ..*board };
    let place = args.source.map_or_else(|| usual_place(board, args.model.as_deref()), ModelPlace::from);
    let access = match place {
        ModelPlace::Card => Access::File,
        ModelPlace::Flash => Access::Mmap,
    };
    let (model, source) = match &args.model {
        None => bundled(access, CardPace::UNUSED)?,
        Some(path) => from_path(path, access, CardPace::UNUSED)?,
    };
    check_len(board, place, source.len())?;
    let most = model.header().context_length;
    if let Some(context) = args.context {
        ensure!(context <= most, "--context {context} is more than the {most} tokens that this model was made for");
    }
    let bench = args.bench.as_deref().map(BoardBench::read).transpose()?;
    let modelled = Pace::of(board);
    let cols = model.header().hidden_size.into();
    let pace = bench.as_ref().map_or(modelled, |bench| bench.pace(modelled, cols));
    let plan = |pace: &Pace| {
        let options = options(pace, &model, place).context(args.context.map(|context| context as usize));
        let options = options.cache_in_external(board.psram.is_none() || !args.old_chip);
        Plan::new(&model, &source, board.memory(), &options).with_context(|| format!("on {}", board.name))
    };
    let (plan, without) = (plan(&pace)?, plan(&modelled)?);
    let estimate = |plan, pace| Estimate { model: &model, plan, pace, place };
    let modelled = bench.is_some().then(|| estimate(&without, modelled));
    let estimate = estimate(&plan, pace);
    let report = PlanReport { board, file_len: source.len(), estimate, bench, modelled };
    let told = if args.json { writeln!(out, "{}", report.json()) } else { report.print(&mut out) };
    Ok(told?)
}

/// Where the board reads the model fastest.
fn usual_place(board: &BoardSpec, model: Option<&Path>) -> ModelPlace {
    // What is wrong with the file is told when it is opened.
    let len = model.map_or(Some(BUNDLED.len() as u64), |path| path.metadata().ok().map(|file| file.len()));
    len.map_or(ModelPlace::Card, |len| board.model_place(len))
}

/// Checks that the board has room for a file of `len` bytes.
fn check_len(board: &BoardSpec, place: ModelPlace, len: u64) -> Result<()> {
    let most = board.model_len(place);
    if len <= most {
        return Ok(());
    }
    match place {
        ModelPlace::Card => bail!(
            "the file has {} bytes, and no file on a FAT32 card has more than {}; convert a smaller model",
            grouped(len),
            grouped(most)
        ),
        ModelPlace::Flash => bail!(
            "the file has {} bytes, and the flash of {} has room for {} beside the firmware; put it on a card, which is \
             what --source card plans for",
            grouped(len),
            board.name,
            grouped(most)
        ),
    }
}

fn print_boards(out: &mut impl Write) -> io::Result<()> {
    let line = |[id, chip, sram, psram, card, name]: [&str; 6]| {
        format!("{id:<19} {chip:<9} {sram:>7} {psram:>6}  {card:<28} {name}")
    };
    writeln!(out, "{}", style(line(["board", "chip", "SRAM", "PSRAM", "card", "name"])).bold())?;
    for board in boards::ALL {
        let sram = format!("{} KiB", board.chip.sram >> 10);
        let psram = board.psram.map_or("none".to_owned(), |psram| format!("{} MiB", psram.len >> 20));
        writeln!(out, "{}", line([board.id, board.chip.name, &sram, &psram, board.card.describe(), board.name]))?;
    }
    writeln!(out, "\nSRAM is what the firmware gives to the engine. rillm plan --board {}", boards::ALL[0].id)
}

fn boards_json() -> Value {
    Value::Array(boards::ALL.iter().map(|board| describe(board)).collect())
}

fn describe(board: &BoardSpec) -> Value {
    json!({
        "id": board.id, "name": board.name, "chip": board.chip.name, "mhz": board.chip.mhz, "cores": board.chip.cores,
        "ram": board.chip.sram, "psram": board.psram.map_or(0, |psram| psram.len),
        "external": board.external_len(), "flash": board.flash, "card": board.card.describe(),
    })
}

/// The contents of a report.
struct PlanReport<'a> {
    board: &'a BoardSpec,
    file_len: u64,
    estimate: Estimate<'a>,
    /// What the board has measured, and the estimate without that.
    bench: Option<BoardBench>,
    modelled: Option<Estimate<'a>>,
}

/// Formats seconds, rounded to a millisecond, a hundredth or a tenth.
fn seconds(microseconds: u64) -> String {
    let seconds = microseconds as f64 / 1e6;
    let digits = if seconds < 1.0 {
        3
    } else if seconds < 10.0 {
        2
    } else {
        1
    };
    format!("{seconds:.digits$}")
}

/// `count` a second when they take `time`, lowest and highest.
fn rate(count: u64, time: Range) -> [f64; 2] {
    [time.high, time.low].map(|time| count as f64 * 1e6 / time.max(1) as f64)
}

fn rates(count: u64, time: Range) -> String {
    // Three significant digits, two below 1: with fewer, both ends of a range may look the same.
    let [low, high] = rate(count, time).map(|rate| {
        let digits =
            if rate < 1.0 { 1 - rate.max(1e-9).log10().floor() as i32 } else { 2 - rate.log10().floor() as i32 };
        format!("{rate:.*}", digits.max(0) as usize)
    });
    if low == high { format!("{low} tokens/s") } else { format!("{low} to {high} tokens/s") }
}

impl PlanReport<'_> {
    fn model(&self) -> &Model {
        self.estimate.model
    }

    fn plan(&self) -> &Plan {
        self.estimate.plan
    }

    /// Tokens of the prompt. The context needs one more for the answer.
    fn prompt_tokens(&self) -> u64 {
        PROMPT.min(self.plan().context as u64 - 1).max(1)
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.print_what(out)?;
        self.print_memory(out)?;
        self.print_token(out)?;
        self.print_expected(out)?;
        self.print_constants(out)
    }

    fn print_what(&self, out: &mut impl Write) -> io::Result<()> {
        let (board, chip, header) = (self.board, self.board.chip, self.model().header());
        let mut field = |name: &str, value: String| writeln!(out, "{} {value}", style(format!("{name:<10}")).bold());
        let cores = Count(chip.cores.into(), "core");
        field("board", format!("{}: {}, {cores} at {} MHz", board.name, chip.name, chip.mhz))?;
        field(
            "model",
            format!(
                "{}, {}, {}, vocabulary {}, context {}",
                header.source_name().unwrap_or("without a name"),
                Count(header.parameters(), "parameter"),
                Count(header.n_layers.into(), "layer"),
                grouped(header.vocab_size.into()),
                grouped(header.context_length.into())
            ),
        )?;
        let place = match self.estimate.place {
            ModelPlace::Card => format!("on a card, {}", board.card.describe()),
            ModelPlace::Flash => "in flash, memory-mapped".to_owned(),
        };
        field("file", format!("{} bytes ({}) {place}", grouped(self.file_len), BinaryBytes(self.file_len)))
    }

    fn print_memory(&self, out: &mut impl Write) -> io::Result<()> {
        let plan = self.plan();
        writeln!(out, "\n{}", style(format!("{:<18} {:>11}  place", "memory", "bytes")).bold())?;
        for row in plan.allocations().into_iter().filter(|row| row.len > 0) {
            writeln!(
                out,
                "{:<18} {:>11}  {}",
                row.buffer.name(),
                grouped(row.len as u64),
                self.board.region_name(row.region)
            )?;
        }
        let board = self.board;
        let (used, given) = (plan.memory(), board.memory());
        let memories =
            [(used.internal, given.internal, "SRAM"), (used.external, given.external, board.external_name())];
        for (used, given, place) in memories.into_iter().filter(|(used, ..)| *used > 0) {
            let (used, given) = (grouped(used as u64), grouped(given as u64));
            writeln!(out, "{:<18} {used:>11}  of {given} bytes of {place}", "used")?;
        }
        writeln!(out, "context {}, batches of {}", grouped(plan.context as u64), plan.batch)
    }

    fn print_token(&self, out: &mut impl Write) -> io::Result<()> {
        let Traffic { reads, bytes, seeks, resident_bytes: resident } = self.estimate.token_traffic();
        writeln!(out, "\n{}", style("a token of an answer").bold())?;
        if self.estimate.place == ModelPlace::Flash {
            return writeln!(out, "{} bytes used where they lie in flash", grouped(resident));
        }
        let (reads, bytes, seeks) = (Count(reads, "read"), grouped(bytes), Count(seeks, "seek"));
        let plan = self.plan();
        let chunk = plan.chunk as u64;
        let each = if chunk > 0 { format!(", of up to {} bytes", grouped(chunk)) } else { String::new() };
        writeln!(out, "{bytes} bytes from the card in {reads}{each}, and {seeks}")?;
        let again = self.estimate.rescoring_traffic();
        if again.reads > 0 {
            let (bytes, reads) = (grouped(again.bytes), Count(again.reads, "read"));
            writeln!(out, "up to {bytes} bytes more in {reads}, for the logits that are computed again")?;
        }
        writeln!(out, "{} bytes of resident weights", grouped(resident))
    }

    fn print_expected(&self, out: &mut impl Write) -> io::Result<()> {
        let (estimate, prompt) = (&self.estimate, self.prompt_tokens());
        let how = if self.bench.is_some() {
            "by a model of the board with the rates of its /bench"
        } else {
            "by a model of the board, not a measurement"
        };
        writeln!(out, "\n{} {how}", style("expected").bold())?;
        let answer = rates(1, estimate.token(self.estimate.positions()));
        let positions = Count(self.estimate.positions(), "position");
        writeln!(out, "answer        {answer}, {positions} into the text")?;
        if let Some(modelled) = &self.modelled {
            writeln!(out, "              {} without /bench", rates(1, modelled.token(modelled.positions())))?;
        }
        let first = estimate.prompt(prompt);
        let tokens = Count(prompt, "token");
        writeln!(out, "prompt        {}, for {tokens} and the first one of the answer", rates(prompt, first))?;
        writeln!(
            out,
            "first token   {} to {} s after a prompt of {tokens} is sent",
            seconds(first.low),
            seconds(first.high)
        )?;
        let start = estimate.start();
        let resident = if self.plan().resident > 0 { "resident weights are read, " } else { "" };
        writeln!(
            out,
            "              {} to {} s more for the first prompt after power-on: {resident}all weights are checked",
            seconds(start.low),
            seconds(start.high)
        )
    }

    fn print_constants(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n{}", style(format!("{:<46} {:>19}  source", "constants of the model", "")).bold())?;
        for (name, figure, scale) in self.constants() {
            let Range { low, high } = figure.range;
            let number = |number: u64| match scale {
                1 => grouped(number),
                _ => format!("{:.2}", number as f64 / scale as f64),
            };
            let range = if low == high { number(low) } else { format!("{} to {}", number(low), number(high)) };
            writeln!(out, "{name:<46} {range:>19}  {}", figure.source)?;
        }
        Ok(())
    }

    /// Every constant that the estimate uses, with the divisor for its display.
    fn constants(&self) -> Vec<(&'static str, Figure, u64)> {
        let board = self.board;
        let mut constants = match self.estimate.place {
            ModelPlace::Card => vec![
                ("MB/s from the card", board.card.rate(), 1_000_000),
                ("ms a read from the card, besides", board.card.command(), 1000),
            ],
            ModelPlace::Flash => vec![("MB/s from flash", board.chip.flash_mode.rate(), 1_000_000)],
        };
        if self.plan().memory().external > 0 {
            constants.extend(board.psram.map(|psram| ("MB/s from PSRAM", psram.rate, 1_000_000)));
        }
        constants.extend(board.chip.cpu.figures());
        if let Some(bench) = &self.bench {
            self.replace(&mut constants, bench);
        }
        constants
    }

    /// Puts measured constants in the place of modelled ones.
    fn replace(&self, constants: &mut [(&'static str, Figure, u64)], bench: &BoardBench) {
        let exactly = |number| Figure { range: Range::exactly(number), source: SOURCE };
        let (cols, mhz) = (self.model().header().hidden_size.into(), self.board.chip.mhz);
        for (name, figure, _) in constants {
            let measured = match *name {
                "MB/s from the card" => bench.card_rate().map(|(rate, _)| rate),
                "ms a read from the card, besides" => bench.card_rate().map(|(_, command)| command),
                "MB/s from flash" => bench.flash,
                "MB/s from PSRAM" => bench.external,
                "instructions a weight" => bench.cycles(8, cols, mhz),
                "instructions a weight of 4 bits" => bench.cycles(4, cols, mhz),
                _ => None,
            };
            let Some(measured) = measured else { continue };
            *name = match *name {
                "instructions a weight" => "cycles a weight",
                "instructions a weight of 4 bits" => "cycles a weight of 4 bits",
                name => name,
            };
            *figure = exactly(measured);
        }
    }

    fn json(&self) -> Value {
        let (estimate, plan, header) = (&self.estimate, self.plan(), self.model().header());
        let Traffic { reads, bytes, seeks, resident_bytes: resident } = self.estimate.token_traffic();
        let (prompt, start) = (self.prompt_tokens(), estimate.start());
        let again = estimate.rescoring_traffic();
        let first = estimate.prompt(prompt);
        let seconds = |time: Range| [time.low as f64 / 1e6, time.high as f64 / 1e6];
        let constants: Vec<_> = self
            .constants()
            .into_iter()
            .map(|(name, Figure { range, source }, scale)| {
                let range = [range.low, range.high].map(|number| number as f64 / scale as f64);
                json!({"name": name, "range": range, "source": source})
            })
            .collect();
        let row = |row: Allocation| json!({"name": row.buffer.name(), "bytes": row.len, "place": self.board.region_name(row.region)});
        let memory: Vec<_> = plan.allocations().into_iter().map(row).collect();
        json!({
            "modelled": true,
            "board": describe(self.board),
            "source": estimate.place.name(),
            "model": header.source_name(),
            "file_bytes": self.file_len,
            "context": plan.context,
            "batch": plan.batch,
            "chunk": plan.chunk,
            "resident": plan.resident,
            "ram_used": plan.memory().internal,
            "external_used": plan.memory().external,
            "memory": memory,
            "bytes_per_token": bytes,
            "reads_per_token": reads,
            "seeks_per_token": seeks,
            "resident_bytes_per_token": resident,
            "rescoring_bytes": again.bytes,
            "rescoring_reads": again.reads,
            "positions": self.estimate.positions(),
            "tokens_per_second": rate(1, estimate.token(self.estimate.positions())),
            "prompt_tokens": prompt,
            "prompt_tokens_per_second": rate(prompt, first),
            "seconds_to_first_token": seconds(first),
            "seconds_more_after_power_on": seconds(start),
            "constants": constants,
            "tokens_per_second_without_bench": self.modelled.map(|it| rate(1, it.token(it.positions()))),
        })
    }
}
