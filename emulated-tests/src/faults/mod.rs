//! `cargo xtask faults`: injects every kind of card failure, and checks the reaction of a board.

mod cards;
mod run;
mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use console::style;
use rillm_firmware_builder::root;
use serde_json::{Value, json};

use self::cards::CardContents;
use self::run::{Seen, Unfaulted, play, seeks, setup, unfaulted};
use self::scenarios::{Places, Scenario};
use crate::machine::{Board, Machine, Setup};
use crate::table::table;
use crate::{bundled_model, command, interrupt, jobs, say};

/// Inject every kind of card failure on an emulated board: each time the text must equal that of a card without a
/// fault, or the console must report the error and continue. The bundled model runs in 64 KiB, so that its weights are
/// read for every token.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask faults
  # Only scenarios whose name contains these words
  cargo xtask faults flips
  cargo xtask faults --json | jq '.scenarios[] | select(.problems != [])'

Exit code 1: a scenario did not end as it should. docs/emulation.md explains them.")]
pub struct Args {
    /// Only scenarios whose name contains this
    #[arg(value_name = "WORDS")]
    only: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// The result of a scenario.
struct Outcome<'s> {
    scenario: &'s Scenario,
    seen: Result<Seen>,
    problems: Vec<String>,
    /// Seeks of the card after the file was opened, for scenarios that count them.
    seeks: Option<usize>,
}

/// The state that scenarios share.
struct Stage {
    boards: Vec<(Board, PathBuf)>,
    directory: PathBuf,
    model: PathBuf,
    /// The image of a good card.
    image: Vec<u8>,
    unfaulted: Unfaulted,
    places: Places,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    interrupt::watch()?;
    let start = Instant::now();
    let mut scenarios = scenarios::all();
    scenarios.retain(|scenario| args.only.as_ref().is_none_or(|words| scenario.name.contains(words)));
    if scenarios.is_empty() {
        bail!("no scenario has `{}` in its name", args.only.as_deref().unwrap_or_default());
    }
    let stage = Stage::new(&mut scenarios)?;
    let outcomes = jobs::run(&scenarios, |at, scenario| {
        let outcome = stage.outcome(scenario, at);
        outcome.tell();
        outcome
    })?;
    // These images have 64 MiB each.
    fs::remove_dir_all(&stage.directory).with_context(|| format!("cannot remove {}", stage.directory.display()))?;

    let failed = outcomes.iter().filter(|outcome| !outcome.problems.is_empty()).count();
    let seconds = start.elapsed().as_secs();
    if args.json {
        let values: Vec<_> = outcomes.iter().map(|outcome| outcome.json(&stage.unfaulted.check)).collect();
        println!("{}", json!({ "as_expected": failed == 0, "seconds": seconds, "scenarios": values }));
    } else {
        println!("\n{}", rows(&outcomes, &stage.unfaulted.check));
        let verdict = if failed == 0 {
            style(format!("all {} end as they should", outcomes.len())).green()
        } else {
            style(format!("{failed} of {} do not end as they should", outcomes.len())).red()
        };
        println!("{}, {seconds} s", verdict.bold());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    /// Builds the firmware and runs it without a fault. Drops the scenarios of boards that cannot be emulated here.
    fn new(scenarios: &mut Vec<Scenario>) -> Result<Self> {
        let mut boards = vec![(Board::Rv32, Board::Rv32.build()?)];
        if scenarios.iter().any(|scenario| scenario.board == Board::Xtensa) {
            match Board::Xtensa.look() {
                Ok(()) => boards.push((Board::Xtensa, Board::Xtensa.build()?)),
                Err(error) => {
                    say::skipped(&format!("xtensa: {error:#}"));
                    scenarios.retain(|scenario| scenario.board != Board::Xtensa);
                }
            }
        }
        let directory = root().join("target/emulate/faults");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let model = bundled_model();
        let path = command::card(&model, "faults/whole")?;
        let image = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let machine = Machine::with_files(Board::Rv32, boards[0].1.clone(), model.clone(), path);
        let unfaulted = unfaulted(&machine, &scenarios::PLAIN, directory.join("whole.log"))?;
        let places = Places::of(&unfaulted.blocks, unfaulted.opening);
        let places = places.context("the board streams no weights: it has more memory than the model takes")?;
        Ok(Self { boards, directory, model, image, unfaulted, places })
    }

    fn outcome<'s>(&self, scenario: &'s Scenario, number: usize) -> Outcome<'s> {
        let trace = (scenario.card == CardContents::InFragments).then(|| self.directory.join(format!("{number}.log")));
        let seen = self.play(scenario, number, trace.as_deref());
        let mut problems = match &seen {
            Ok(seen) => seen.problems(scenario, &self.unfaulted.check),
            Err(error) => vec![format!("{error:#}")],
        };
        let seeks = trace.and_then(|trace| match run::blocks(&trace) {
            Ok(blocks) => Some(seeks(&blocks)),
            Err(error) => {
                problems.push(format!("{error:#}"));
                None
            }
        });
        let whole = seeks.map(|_| run::seeks(&self.unfaulted.blocks));
        if seeks.zip(whole).is_some_and(|(seeks, whole)| seeks <= whole) {
            problems.push(format!("{seeks:?} seeks of the card are no more than for a contiguous file"));
        }
        Outcome { scenario, seen, problems, seeks }
    }

    fn play(&self, scenario: &Scenario, number: usize, trace: Option<&Path>) -> Result<Seen> {
        let (board, firmware) =
            self.boards.iter().find(|(board, _)| *board == scenario.board).context("no firmware")?;
        let path = self.directory.join(format!("{number}.img"));
        let machine = if board.has_card() {
            let name = self.model.file_name().and_then(|name| name.to_str()).context("the model has no name")?;
            let card = scenario.card.write(&self.image, name, &path)?;
            Machine::with_files(*board, firmware.clone(), self.model.clone(), card)
        } else {
            let model = scenario.card.write_file(&self.model, &path)?;
            Machine::with_files(*board, firmware.clone(), model, PathBuf::new())
        };
        let fault = scenario.fault.map(|fault| fault.word(&self.places));
        play(&machine, &Setup { fault, trace: trace.map(Path::to_owned), ..setup(scenario) })
    }
}

impl Outcome<'_> {
    /// Prints a line about the scenario when it is done.
    fn tell(&self) {
        let well = self.problems.is_empty();
        let verdict = if well { style("ok   ").green() } else { style("WRONG").red() }.for_stderr();
        eprintln!("{verdict} {}", self.scenario.name);
        for problem in &self.problems {
            eprintln!("      {problem}");
        }
    }

    /// Name of the scenario, with the board if it is not the usual one.
    fn name(&self) -> String {
        let board = if self.scenario.board == Board::Xtensa { " (xtensa)" } else { "" };
        format!("{}{board}", self.scenario.name)
    }

    fn end(&self, expected: &str) -> &'static str {
        self.seen.as_ref().map_or("the board failed", |seen| seen.end(expected).words())
    }

    fn said(&self) -> &str {
        self.seen.as_ref().map_or("", |seen| seen.said(self.scenario))
    }

    /// The result as JSON.
    fn json(&self, expected: &str) -> Value {
        let Self { scenario, seen, problems, seeks } = self;
        let initialised = seen.as_ref().ok().and_then(Seen::initialised);
        let complaints = seen.as_ref().map_or(&[][..], |seen| &seen.complaints);
        json!({
            "name": self.name(), "crc": scenario.crc, "check_every": scenario.check_every, "problems": problems,
            "said": self.said(), "complaints": complaints, "end": self.end(expected), "initialised": initialised,
            "seeks": seeks,
        })
    }
}

/// The results as a table.
fn rows(outcomes: &[Outcome<'_>], expected: &str) -> String {
    let mut rows = vec![["scenario", "CRC", "check", "starts", "ends", "the console says"].map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let Scenario { crc, check_every, .. } = outcome.scenario;
        let initialised = outcome.seen.as_ref().ok().and_then(Seen::initialised);
        let said = outcome.said();
        rows.push(vec![
            outcome.name(),
            if *crc { "on" } else { "off" }.to_owned(),
            check_every.to_string(),
            initialised.map_or("-".to_owned(), |n| n.to_string()),
            outcome.end(expected).to_owned(),
            outcome.seeks.map_or(said.to_owned(), |seeks| format!("{said} ({seeks} seeks of the card)")),
        ]);
    }
    table(&rows, "lrrll")
}
