//! `cargo xtask measure`: counts the instructions of a token on the emulated boards.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use console::style;
use rillm::format::Header;
use rillm::{Bytes, Model, block_on};
use rillm_boards::{Cpu, Instructions, Range};
use rillm_firmware_builder::elf::Sections;
use rillm_generate::number::Grouped;
use serde_json::{Value, json};

use crate::dialogue::Dialogue;
use crate::interrupt;
use crate::machine::{Board, Machine, Setup, boards};
use crate::prove::cases::{LONG, models};
use crate::stats::Stats;
use crate::table::table;

const SHORT: &str = "Once upon a time";
/// Number of decoded tokens that are averaged.
const DECODED: u64 = 32;

/// Count the instructions of a token on emulated boards: in a prompt and in an answer, by stage, and for each weight.
/// Also report the sizes of the firmware.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask measure
  cargo xtask measure rv32 --model rill-tales-1m
  cargo xtask measure xtensa --json | jq '.[].decode.matmul'

All that is counted is exact and repeatable, but it is instructions: QEMU knows no cycles, caches or cards.")]
pub struct Args {
    /// The boards; without one, all that can be emulated here
    boards: Vec<Board>,
    /// One of the models, by its column's name; without it, all of them
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print a JSON array instead of the tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    setup: Setup,
}

/// Instructions by stage, and the number of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spent {
    tokens: u64,
    /// A difference of two texts may be negative, since sampling takes longer with some logits than with others.
    stages: BTreeMap<String, i64>,
}

impl Spent {
    /// The instructions since the start of the board.
    fn of(stats: Stats) -> Result<Self> {
        let Stats { tokens, mut ticks, .. } = stats;
        ensure!(!ticks.is_empty(), "the board counts no instructions");
        // The stages include the instructions of reads already.
        ticks.remove("read");
        Ok(Self { tokens, stages: ticks.into_iter().map(|(stage, count)| (stage, count as i64)).collect() })
    }

    /// The instructions since `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let before = |stage: &String| earlier.stages.get(stage).copied().unwrap_or(0);
        let stages = self.stages.iter().map(|(stage, count)| (stage.clone(), count - before(stage))).collect();
        Self { tokens: self.tokens - earlier.tokens, stages }
    }

    /// The instructions for one token.
    fn per_token(&self) -> PerToken {
        let tokens = self.tokens.max(1) as f64;
        PerToken(self.stages.iter().map(|(stage, &count)| (stage.clone(), count as f64 / tokens)).collect())
    }
}

/// Instructions a token for each stage.
#[derive(Clone, Debug)]
struct PerToken(BTreeMap<String, f64>);

impl PerToken {
    fn of(&self, stage: &str) -> f64 {
        self.0.get(stage).copied().unwrap_or(0.0)
    }

    fn all(&self) -> f64 {
        self.0.values().sum()
    }
}

/// The instructions of a token in a prompt and in an answer.
struct Texts {
    prefill: PerToken,
    decode: PerToken,
    /// Average number of attended positions.
    positions: [u64; 2],
}

/// Multiplications of a model for each token.
#[derive(Clone, Copy, Debug)]
struct Products {
    /// In all layers.
    layers: u64,
    /// For an earlier token of a prompt: all layers but the last one, and the keys and values of that.
    prefix: u64,
    /// In the head.
    head: u64,
}

impl Products {
    fn of(header: &Header) -> Self {
        let [hidden, intermediate, vocabulary] =
            [header.hidden_size, header.intermediate_size, header.vocab_size].map(u64::from);
        let attention = 2 * u64::from(header.q_dim()) + 2 * u64::from(header.kv_dim());
        let layer = hidden * (attention + 3 * intermediate);
        let layers = u64::from(header.n_layers) * layer;
        let prefix = layers - layer + 2 * hidden * u64::from(header.kv_dim());
        Self { layers, prefix, head: hidden * vocabulary }
    }
}

/// The results for a model on a board.
struct Measured {
    board: String,
    model: &'static str,
    prefill: PerToken,
    decode: PerToken,
    /// Instructions a token with the generic kernel, in a prompt and in an answer.
    generic: [f64; 2],
    /// The instructions that `rillm plan` assumes for the same.
    modelled: [Range; 2],
    weights: Products,
    stack: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::watch()?;
    let mut models = models()?;
    if let Some(wanted) = &args.model {
        let names: Vec<_> = models.iter().map(|model| model.name).collect();
        ensure!(names.contains(&wanted.as_str()), "no model is called {wanted}; there are {}", names.join(", "));
        models.retain(|model| model.name == wanted);
    }
    let mut measured = Vec::new();
    let mut by_board = Vec::new();
    for board in boards(&args.boards)? {
        let name = board.name();
        let firmware = board.build()?;
        for model in &models {
            eprintln!("{} {name} {}", style("measuring").green().for_stderr(), model.name);
            let machine = Machine::with_firmware(board, firmware.clone(), &model.path, model.name)?;
            let setup = Setup { icount: true, ..args.setup.clone() };
            let mut console = machine.boot(&setup, |_| ())?;
            let Texts { prefill, decode, positions } =
                spent(&mut console).with_context(|| format!("{name} with {}", model.name))?;
            let stack = format!("{} bytes at most", console.stats()?.stack);
            if model.name == models[0].name {
                by_board.push((name.clone(), Sections::of(&machine.firmware)?, console.command("/bench")?));
            }
            console.into_board().hang_up(|_| ())?;
            let mut console = machine.boot(&Setup { generic: true, ..setup }, |_| ())?;
            let by_generic = spent(&mut console)?;
            console.into_board().hang_up(|_| ())?;

            let opened = open(&model.path)?;
            let cpu = match board {
                Board::Rv32 => Cpu::RV32,
                Board::Xtensa => Cpu::LX6,
            };
            let modelled = [(positions[0], false), (positions[1], true)]
                .map(|(positions, head)| Instructions::of(&opened, &cpu, positions, head).all());
            measured.push(Measured {
                board: name.clone(),
                model: model.name,
                prefill,
                decode,
                generic: [by_generic.prefill.all(), by_generic.decode.all()],
                modelled,
                weights: Products::of(opened.header()),
                stack,
            });
        }
    }
    if args.json {
        let values: Vec<_> = measured.iter().map(Measured::json).collect();
        println!("{}", Value::Array(values));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", instructions(&measured));
    for (name, sections, bench) in by_board {
        println!("{name}: {sections}\n{}", bench.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Model> {
    let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(block_on(Model::open(&mut Bytes::copied(&file)))?)
}

/// The cost of a prompt token and of an answer token. Each is the difference of two texts, so that constant costs
/// cancel out.
fn spent(console: &mut Dialogue) -> Result<Texts> {
    let text = |console: &mut Dialogue, prompt: &str, tokens: u64| -> Result<Spent> {
        let before = Spent::of(console.stats()?)?;
        console.set("max", &tokens.to_string())?;
        console.set("seed", "1")?;
        let answer = console.ask(prompt, |_| ())?;
        ensure!(answer.summary.is_some(), "the board did not finish a text:\n{}", answer.text);
        Ok(Spent::of(console.stats()?)?.since(&before))
    };
    // The first text loads the resident weights and verifies them.
    text(console, SHORT, 1)?;
    let short = text(console, SHORT, 1)?;
    let long = text(console, LONG, 1)?;
    let answer = text(console, SHORT, 1 + DECODED)?;
    Ok(Texts {
        prefill: long.since(&short).per_token(),
        decode: answer.since(&short).per_token(),
        positions: [(short.tokens + long.tokens) / 2, short.tokens + DECODED / 2],
    })
}

/// A table with a column for each model on each board, and a row for each stage, for prompt and answer.
fn instructions(measured: &[Measured]) -> String {
    let row = |title: &str, cell: &dyn Fn(&Measured) -> String| -> Vec<String> {
        [title.to_owned()].into_iter().chain(measured.iter().map(cell)).collect()
    };
    let stages = |title: &str, of: &dyn Fn(&Measured) -> &PerToken| {
        let mut rows = vec![row(title, &|measured| format!("{} {}", measured.board, measured.model))];
        let names = measured.first().map_or(Vec::new(), |measured| of(measured).0.keys().collect());
        rows.extend(names.into_iter().map(|name| row(name, &|measured| grouped(of(measured).of(name)))));
        rows.push(row("all", &|measured| grouped(of(measured).all())));
        rows
    };
    let counted = |rows: &mut Vec<Vec<String>>, text: usize| {
        rows.push(row("all, generic kernel", &|of| grouped(of.generic[text])));
        rows.push(row("rillm plan counts with", &|of| {
            let Range { low, high } = of.modelled[text];
            format!("{} to {}", Grouped(low), Grouped(high))
        }));
    };
    let a_weight = |instructions: f64, weights: u64| format!("{:.2}", instructions / weights as f64);

    let mut prefill = stages("instructions a token of a prompt", &|measured| &measured.prefill);
    counted(&mut prefill, 0);
    prefill.push(row("matmul, a weight", &|of| a_weight(of.prefill.of("matmul"), of.weights.prefix)));
    let mut decode = stages("instructions a token of an answer", &|measured| &measured.decode);
    counted(&mut decode, 1);
    decode.push(row("matmul, a weight", &|of| a_weight(of.decode.of("matmul"), of.weights.layers)));
    decode.push(row("head, a weight", &|of| a_weight(of.decode.of("head"), of.weights.head)));
    decode.push(row("stack", &|of| of.stack.clone()));
    let sides = "r".repeat(measured.len());
    format!("{}\n{}", table(&prefill, &sides), table(&decode, &sides))
}

fn grouped(count: f64) -> String {
    let sign = if count <= -0.5 { "-" } else { "" };
    format!("{sign}{}", Grouped(count.abs().round() as u64))
}

impl Measured {
    fn json(&self) -> Value {
        let Self { board, model, prefill, decode, generic, modelled, weights, stack } = self;
        json!({
            "prefill_generic": generic[0], "decode_generic": generic[1],
            "prefill_modelled": [modelled[0].low, modelled[0].high],
            "decode_modelled": [modelled[1].low, modelled[1].high],
            "board": board, "model": model, "prefill": prefill.0, "decode": decode.0,
            "layer_weights": weights.layers, "head_weights": weights.head, "stack": stack,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_texts_need_drops_out() {
        let spent = |tokens, matmul| Spent { tokens, stages: [("matmul".to_owned(), matmul)].into() };
        let more = spent(199, 834_182_420).since(&spent(189, 834_182_320));
        assert_eq!(more.per_token().of("matmul"), 10.0);
    }
}
