//! The proof in the simulated ESP32: tokens and logits equal this computer's, from flash and from a card, with PSRAM
//! and without, on one core and on both.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use console::style;
use rillm::{Bytes, Sampling};
use rillm_generate::Check;
use rillm_generate::number::Grouped;

use super::{Setup, Simulator};
use crate::machine::Storage;
use crate::prove::cases::Request;
use crate::prove::host::{self, Written};
use crate::stats::last_figure;
use crate::table::table;
use crate::{bundled_model, jobs};

/// The text: one batch and two more tokens, because the simulation is slow.
const TEXT: Request = Request { prompt: "Once upon a time", sampling: Sampling::GREEDY, tokens: 3 };

/// A setup to run.
struct Case {
    name: &'static str,
    setup: Setup,
    /// Words that the report must contain, to confirm the setup.
    said: &'static [&'static str],
}

const FLASH: Setup = Setup { source: Storage::Flash, psram: false, one_core: true };
const CARD: Setup = Setup { source: Storage::Card, ..FLASH };
/// The last cases take longest and start first.
const CASES: [Case; 4] = [
    Case { name: "flash, one core", setup: FLASH, said: &["one core", "flash, memory-mapped", "used where they lie"] },
    Case {
        name: "flash, two cores",
        setup: Setup { one_core: false, ..FLASH },
        said: &["two cores", "flash, memory-mapped"],
    },
    Case {
        name: "card, one core",
        setup: CARD,
        said: &["one core", "card: 1,809,920 bytes, 1 fragment", "a token, read in"],
    },
    Case {
        name: "card and PSRAM, two cores",
        setup: Setup { psram: true, one_core: false, ..CARD },
        said: &["two cores", "PSRAM: 4.00 MiB", "card: 1,809,920 bytes, 1 fragment", "in external memory"],
    },
];

/// The results of a case.
struct Seen {
    to_prompt: u64,
    cycles: u64,
    summary: String,
    stack: String,
    /// The report of `/bench` that the products of two cores equal those of one.
    bench: String,
    ids: Vec<u32>,
    logits: u32,
}

/// Runs all cases.
pub fn run(simulator: &Simulator) -> Result<ExitCode> {
    let start = Instant::now();
    let model = bundled_model();
    let file = fs::read(&model).with_context(|| format!("cannot read {}", model.display()))?;
    let (written, _) = host::write(Bytes::lent(&file), host::Setup::reference(), &[TEXT])?;
    let host = written.first().context("this computer has written nothing")?;

    let results = jobs::run(&CASES, |_, case| {
        let seen = prove(simulator, case, host).with_context(|| case.name);
        match &seen {
            Ok(seen) => eprintln!("{} {}: {}", style("equal  ").green().for_stderr(), case.name, seen.summary),
            Err(error) => eprintln!("{} {error:#}", style("DIFFERS").red().for_stderr()),
        }
        seen
    })?;
    let header = ["case", "to the prompt", "cycles in all", "tokens", "logits", "stack", "multiplication"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (case, seen) in CASES.iter().zip(results.iter().flatten()) {
        let [to_prompt, cycles] = [seen.to_prompt, seen.cycles].map(|cycles| Grouped(cycles).to_string());
        let (tokens, logits) = (seen.ids.len().to_string(), format!("{:08x}", seen.logits));
        rows.push(vec![
            case.name.to_owned(),
            to_prompt,
            cycles,
            tokens,
            logits,
            seen.stack.clone(),
            seen.bench.clone(),
        ]);
    }
    println!("\n{}", table(&rows, "rrrlll"));
    let failed = results.iter().filter(|seen| seen.is_err()).count();
    let seconds = start.elapsed().as_secs();
    if failed > 0 {
        println!("{}, {seconds} s", style(format!("{failed} of {} cases differ", CASES.len())).red().bold());
        return Ok(ExitCode::FAILURE);
    }
    println!("{}, {seconds} s", style(format!("all {} cases are equal", CASES.len())).green().bold());
    Ok(ExitCode::SUCCESS)
}

/// Boots the board and generates the text.
fn prove(simulator: &Simulator, case: &Case, host: &Written) -> Result<Seen> {
    let (mut console, report) = simulator.boot(case.setup, |_| ())?;
    for words in case.said {
        ensure!(report.contains(words), "the report does not say `{words}`:\n{report}");
    }
    let help = console.command("/help")?;
    ensure!(help.contains("/stats"), "`/help` was answered with\n{help}");
    console.set("check", "on")?;
    console.set("temp", "0")?;
    console.set("max", &TEXT.tokens.to_string())?;
    let answer = console.ask(TEXT.prompt, |_| ())?;
    let line = answer.check.with_context(|| format!("no text but this: {}", answer.text.trim()))?;
    let (ids, logits) = Check::parse(&line).with_context(|| format!("this is no line of `/check`: {line}"))?;
    let ids: Vec<_> = ids.collect();
    ensure!(ids == host.ids, "the tokens are {ids:?} on the board and {:?} on this computer", host.ids);
    ensure!(logits == host.logits, "the logits are {logits:08x} on the board and {:08x} on this computer", host.logits);
    let stack = console.stats()?.stack.to_string();
    let bench = console.command("/bench")?;
    let bench = bench.lines().next().unwrap_or_default().to_owned();
    let mut end = String::new();
    console.into_board().hang_up(|said| end += &String::from_utf8_lossy(said))?;
    let [cycles, to_prompt] = ["/cycles", "/to_prompt"].map(|field| last_figure(&end, "simulated", field));
    let (cycles, to_prompt) = cycles.zip(to_prompt).with_context(|| format!("there are no cycles in this: {end}"))?;
    let summary = answer.summary.unwrap_or_default();
    Ok(Seen { to_prompt, cycles, summary, stack, bench, ids, logits })
}
