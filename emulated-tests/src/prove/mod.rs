//! `cargo xtask prove`: checks that emulated boards and this computer compute the same tokens and logits, and compares
//! the traffic of the card and the use of memory with the plan.

pub(crate) mod board;
pub(crate) mod cases;
mod commands;
mod compare;
pub(crate) mod host;
mod memory;
mod results;
mod trace;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use console::{StyledObject, style};
use rillm_firmware_builder::root;
use serde_json::json;

use self::cases::{Case, Model, models};
use self::compare::prove;
use crate::machine::{Board, Machine, boards};
use crate::{interrupt, jobs};

/// Prove that emulated boards compute the same as this computer: every token and every logit of a few texts, with
/// several amounts of memory, and the answers of the console to commands. Also check that the card's traffic equals the engine's count, and that the use of memory
/// ends where the plan says.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  # Every board for which QEMU and a compiler are installed
  cargo xtask prove
  # One board; fails if something is missing for it
  cargo xtask prove rv32
  cargo xtask prove --json | jq '.cases[] | select(.equal | not)'

docs/emulation.md describes what is compared.")]
pub struct Args {
    /// The boards; without one, all that can be emulated here
    boards: Vec<Board>,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// A case to run.
struct Job<'a> {
    board: String,
    machine: &'a Machine,
    model: &'a Model,
    case: &'a Case,
    /// Path of the card's trace.
    trace: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::watch()?;
    let start = Instant::now();
    let boards = boards(&args.boards)?;
    let models = models()?;
    let traces = root().join("target/emulate");
    fs::create_dir_all(&traces).with_context(|| format!("cannot make {}", traces.display()))?;
    let mut machines = Vec::new();
    for board in boards {
        let firmware = board.build()?;
        for model in &models {
            let machine = Machine::with_firmware(board, firmware.clone(), &model.path, model.name)?;
            machines.push((board, machine, model));
        }
    }
    let mut jobs = Vec::new();
    for (board, machine, model) in &machines {
        for case in model.cases.iter().filter(|case| case.layout.is_for(*board)) {
            let trace = board.has_card().then(|| traces.join(format!("card-{}.log", jobs.len())));
            jobs.push(Job { board: board.name(), machine, model, case, trace });
        }
    }
    // The last jobs start first: they have the large models and take longest.
    let results = jobs::run(&jobs, |_, job| {
        let Job { board, machine, model, case, trace } = job;
        let outcome = prove(machine, &model.path, case, trace.as_deref());
        let result = results::CaseResult { board, model: model.name, plan: case.layout.name, outcome };
        tell(&result);
        result
    })?;

    // The first model is the bundled one.
    let bundled: Vec<_> = machines.iter().filter(|(_, _, model)| model.name == models[0].name).collect();
    let commands = jobs::run(&bundled, |_, (board, machine, model)| {
        let checked = results::Commands { board: board.name(), outcome: commands::prove(machine, &model.path) };
        checked.problems().iter().for_each(|problem| eprintln!("{} {problem}", verdict(false)));
        checked
    })?;

    let failed = results.iter().filter(|result| !result.problems().is_empty()).count();
    let failed = failed + commands.iter().filter(|commands| !commands.problems().is_empty()).count();
    let count = results.len() + commands.len();
    let seconds = start.elapsed().as_secs();
    if args.json {
        let cases: Vec<_> = results.iter().map(results::CaseResult::json).collect();
        let commands: Vec<_> = commands.iter().map(results::Commands::json).collect();
        println!("{}", json!({ "equal": failed == 0, "seconds": seconds, "cases": cases, "commands": commands }));
    } else {
        println!("\n{}\n{}", results::texts(&results), results::memories(&results));
        println!("{}", results::commands(&commands));
        println!("reads, bytes and seeks are the engine's; a card's own stand beside them where they differ\n");
        let verdict = if failed == 0 {
            style(format!("all {count} cases are equal")).green()
        } else {
            style(format!("{failed} of {count} cases differ")).red()
        };
        println!("{}, {seconds} s", verdict.bold());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first word of a line about a finished case.
fn verdict(is_equal: bool) -> StyledObject<&'static str> {
    if is_equal { style("equal  ").green() } else { style("DIFFERS").red() }.for_stderr()
}

/// Prints a line about a finished case.
fn tell(result: &results::CaseResult<'_>) {
    let problems = result.problems();
    let verdict = verdict(problems.is_empty());
    let seconds = result.outcome.as_ref().map_or(0, |proof| proof.time.as_secs());
    eprintln!("{verdict} {} ({seconds} s)", result.name());
    for problem in problems {
        eprintln!("        {problem}");
    }
}
