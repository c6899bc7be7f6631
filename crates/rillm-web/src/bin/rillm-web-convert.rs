//! `rillm-web-convert SOURCE OUT BITS`, what `rillm convert --bits BITS` does, and `rillm-web-convert card MODEL OUT`, what `rillm card`
//! does, for the page. `cargo xtask web` compiles it for WASI, and the page runs it in a Worker, with files of its own making.
//!
//! Standard output is a JSON object a line: `what`, `done` and `of` while it works, then what was made (`model` and `boards`, or `card`),
//! or `error`.

use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use rillm::{Model, SECTOR_LEN, Sector, WeightSource, block_on};
use rillm_boards::{ALL, BoardSpec};
use rillm_card_image::{Content, Layout, write};
use rillm_convert::calibrate::{Calibrator, Progress};
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::vocabulary::{Vocabulary, llama2c_names};
use rillm_convert::write::{Options, convert_quantised};
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::QuantisedModel;
use rillm_web::board::BoardPlan;
use rillm_web::settings::BoardChoice;
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = match arguments[..] {
        ["card", model, out] => card(Path::new(model), Path::new(out)).map_err(|error| format!("{error:#}")),
        [source, out, bits] => convert(Path::new(source), Path::new(out), bits == "4"),
        _ => {
            eprintln!("usage: rillm-web-convert SOURCE OUT BITS, or rillm-web-convert card MODEL OUT");
            return ExitCode::from(2);
        }
    };
    match made {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", json!({ "error": error }));
            ExitCode::FAILURE
        }
    }
}

fn words(error: impl Display) -> String {
    error.to_string()
}

fn convert(source: &Path, out: &Path, four_bits: bool) -> Result<Value, String> {
    let checkpoint = Checkpoint::open(source).map_err(words)?;
    let vocab_size = checkpoint.config().vocab_size;
    let tokenizer = Vocabulary::path_of(source, vocab_size).map_err(words)?.ok_or_else(|| {
        let [first, second] = llama2c_names(vocab_size);
        format!("the tokenizer is missing: a llama2.c checkpoint needs {first} or {second}; choose both files together")
    })?;
    let vocabulary = Vocabulary::open(&tokenizer, vocab_size).map_err(words)?;
    let sections = vocabulary.sections().map_err(|error| format!("in the tokenizer: {error}"))?;
    let options = Options::default().mix(Mix::all(if four_bits { Bits::Four } else { Bits::Eight }));
    let quantised = if four_bits {
        let mut calibrator = Calibrator::new(&checkpoint, &sections, None).map_err(words)?;
        calibrator.quantise(options, calibrated).map_err(words)?
    } else {
        QuantisedModel::new()
    };
    let mut said = 0;
    let progress = |progress: rillm_convert::write::Progress| {
        // A line for each percent is enough.
        let percent = progress.bytes_done * 100 / progress.bytes.max(1);
        if percent > said {
            said = percent;
            say("writing the file", progress.bytes_done, progress.bytes);
        }
        ControlFlow::Continue(())
    };
    let report = convert_quantised(&checkpoint, &sections, &quantised, options, progress, out).map_err(words)?;
    Ok(json!({
        "model": {
            "name": checkpoint.name(), "bytes": report.file_len, "bits_per_weight": report.bits_per_weight(),
            "bytes_per_token": report.bytes_per_token(), "chat": sections.chat.is_ok(),
        },
        "boards": boards(out)?,
    }))
}

fn calibrated(progress: Progress) -> ControlFlow<()> {
    match progress {
        Progress::Text { tokens_done, tokens } => {
            say("the model writes a text to calibrate with", tokens_done as u64, tokens as u64);
        }
        Progress::Tensors(done) => say("quantising", done.weights_done as u64, done.weights as u64),
        Progress::Distillation(done) => say("distilling scales and norms", done.step.into(), done.steps.into()),
    }
    ControlFlow::Continue(())
}

fn say(what: &str, done: u64, of: u64) {
    println!("{}", json!({"what": what, "done": done, "of": of}));
}

/// What the file takes on each board, or why it does not run there.
fn boards(file: &Path) -> Result<Vec<Value>, String> {
    let file = File::open(file).map_err(words)?;
    let len = file.metadata().map_err(words)?.len();
    let mut source = FileSource(file);
    let model = block_on(Model::open(&mut source)).map_err(words)?;
    let board = |board: &&BoardSpec| {
        let choice = BoardChoice { board: board.id.to_owned(), flash: false, budget: None };
        let mut plan = match BoardPlan::new(&model, &source, len, &choice) {
            Ok(plan) => plan.json(&model),
            Err(error) => json!({"board": board.id, "error": error}),
        };
        plan["name"] = json!(board.name);
        // The drawing's part, which is long.
        plan["streamed"].take();
        plan
    };
    Ok(ALL.iter().map(board).collect())
}

/// Writes the image of a card with the model.
fn card(model: &Path, out: &Path) -> anyhow::Result<Value> {
    let name = model.file_name().and_then(|name| name.to_str()).context("the model has no name")?;
    let file = File::open(model)?;
    let len = u32::try_from(file.metadata()?.len())
        .context("a file on FAT32 has less than 4 GiB, and no card holds the model")?;
    let mut contents = [Content { name: name.to_owned(), len, bytes: Box::new(file) }];
    let layout = Layout::new(None, &contents)?;
    let mut image = File::options().read(true).write(true).create(true).truncate(true).open(out)?;
    let mut done = 0;
    let written = write(&mut image, &layout, &mut contents, "RILLM", |_, bytes| {
        done += bytes;
        say("writing the image", done, len.into());
        ControlFlow::Continue(())
    })?;
    written.continue_value().context("interrupted; no image was made")?;
    Ok(json!({ "card": layout.size }))
}

/// A file that is read.
struct FileSource(File);

impl WeightSource for FileSource {
    type Error = io::Error;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(u64::from(first.0) * SECTOR_LEN as u64))?;
        self.0.read_exact(buf)
    }
}
