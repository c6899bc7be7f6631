//! `rillm eval`: measures how far the predictions of files are from those of their checkpoint in float32.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use console::style;
use rillm::tokenizer::Scratch;
use rillm::{Model, block_on};
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::write::{NewFile, bytes_per_token};
use serde_json::{Value, json};

use crate::evaluation::{Evaluation, evaluate};
use crate::model_file::from_path;
use crate::number::grouped;
use crate::plot::{Point, svg};
use crate::sections::tensor_table;
use crate::source::{Access, CardPace, ModelSource};
use crate::{files, progress, say, text};

/// Compare .rillm files with their checkpoint in float32
///
/// They and the checkpoint predict each token of a text from the tokens before it (teacher forcing).
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "A text is cut into windows of the context's length, 2,048 tokens at most. Each window starts with an empty context. \
KL is the mean over all positions of the divergence from the checkpoint's distribution to the file's, in nats. KL sampled is \
that among the tokens that a sampler with top-k 40 and top-p 0.95 draws from. Top-1 is the share of positions at which both \
have the same likeliest token.

Examples:
  rillm eval --model tiny-llm.rillm --against Tiny-LLM/ --text book.txt
  rillm eval --model tiny-llm.rillm --against Tiny-LLM/ --text book.txt --json
  rillm eval 8.rillm 4.rillm --against Tiny-LLM/ --text book.txt --plot kl.svg"
)]
pub struct Args {
    /// The .rillm files to compare, all made of the same checkpoint
    #[arg(value_name = "FILE", value_parser = files::input(), required_unless_present = "model")]
    models: Vec<PathBuf>,
    /// A .rillm file; the same as FILE
    #[arg(long, short, value_name = "FILE", value_parser = files::input())]
    model: Option<PathBuf>,
    /// The checkpoint, in any form that `rillm convert` reads
    #[arg(long, value_name = "CHECKPOINT", value_parser = files::input())]
    against: PathBuf,
    /// UTF-8 text to predict; `-` for standard input. May be given several times: each text starts with an empty context
    #[arg(long, value_name = "FILE", required = true)]
    text: Vec<PathBuf>,
    /// Largest number of tokens of all texts to use
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_tokens: usize,
    /// Draw KL against bytes a token, a point for each file, to an SVG file
    #[arg(long, value_name = "FILE", value_parser = files::output())]
    plot: Option<PathBuf>,
    /// Print one JSON object a file, each on a line
    #[arg(long)]
    json: bool,
}

/// Longest window in tokens: the predictions from one empty context.
const WINDOW: usize = 2048;

/// A file and how far it is from the checkpoint.
struct Row<'a> {
    file: &'a Path,
    bytes_per_token: u64,
    evaluation: Evaluation,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let texts = args.text.iter().map(|path| text::read(path)).collect::<Result<Vec<_>>>()?;
    let paths: Vec<&Path> = args.model.iter().chain(&args.models).map(PathBuf::as_path).collect();
    let mut files = vec![];
    for path in &paths {
        files.push(from_path(path, Access::Mmap, CardPace::UNUSED)?);
    }
    files::check_input(&args.against)?;
    let checkpoint = Checkpoint::open(&args.against)?;
    if let Some(plot) = &args.plot {
        // Checks early that it can be written.
        drop(NewFile::new(plot)?);
        files::check_plot(plot, &args.against, paths.iter().copied().chain(args.text.iter().map(PathBuf::as_path)))?;
    }
    let source_hash = checkpoint.weights_sha256();
    for (path, (model, _)) in paths.iter().zip(&files) {
        check_dimensions(path, model, args, &checkpoint)?;
        if model.header().source_hash != source_hash {
            let (model, checkpoint) = (path.display(), args.against.display());
            say::line(format_args!("note: {model} was made of other weights than {checkpoint} has now"));
        }
    }
    let windows = windows(&paths, &mut files, &texts, args.max_tokens)?;
    let mut bytes = vec![];
    for (model, source) in &mut files {
        bytes.push(bytes_per_token(tensor_table(model.header(), source)?.iter().map(|entry| &entry.tensor)));
    }

    let bar = progress::tokens(windows.iter().map(Vec::len).sum::<usize>() as u64);
    let evaluations = evaluate(files, &mut checkpoint.reference(), &windows, |done, evaluations| {
        bar.set_position(done as u64);
        if done % 16 == 0 {
            bar.set_message(format!("· KL {:.5}", evaluations[0].agreement.mean_kl()));
        }
        ControlFlow::Continue(())
    })?;
    drop(bar);
    let each = paths.into_iter().zip(bytes).zip(evaluations.unwrap_or_default());
    let rows: Vec<Row> =
        each.map(|((file, bytes_per_token), evaluation)| Row { file, bytes_per_token, evaluation }).collect();
    if let Some(path) = &args.plot {
        let points: Vec<Point> = rows.iter().map(Row::point).collect();
        let mut file = NewFile::new(path)?;
        file.file()
            .write_all(svg(&checkpoint.name(), &points).as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        file.keep()?;
    }
    Ok(print(args, &rows, &mut say::out())?)
}

fn check_dimensions(path: &Path, model: &Model, args: &Args, checkpoint: &Checkpoint) -> Result<()> {
    let (ours, theirs) = (model.header(), checkpoint.config());
    for (field, ours, theirs) in [
        ("vocabulary", ours.vocab_size, theirs.vocab_size),
        ("hidden size", ours.hidden_size, theirs.hidden_size),
        ("number of layers", ours.n_layers, theirs.n_layers),
    ] {
        ensure!(
            ours == theirs,
            "the file's {field} is {ours}, the checkpoint's is {theirs}: {} was not made of {}; name the checkpoint that \
             it was made of",
            path.display(),
            args.against.display()
        );
    }
    Ok(())
}

/// The texts' first `most` tokens, in windows that each start an empty context.
fn windows(
    paths: &[&Path],
    files: &mut [(Model, ModelSource)],
    texts: &[String],
    most: usize,
) -> Result<Vec<Vec<u32>>> {
    let Some(((model, source), others)) = files.split_first_mut() else { return Ok(vec![]) };
    let context = (model.header().context_length as usize).min(WINDOW);
    let bos = model.tokenizer().bos();
    ensure!(
        context > usize::from(bos.is_some()),
        "the model's context of {context} has no room for a token to predict"
    );
    let (mut windows, mut left) = (vec![], most);
    for text in texts {
        let tokens = encode(model, source, text, left)?;
        for ((other, source), path) in others.iter_mut().zip(&paths[1..]) {
            ensure!(
                encode(other, source, text, left)? == tokens && other.tokenizer().bos() == bos,
                "{} and {} have different tokenizers; compare files of the same checkpoint and tokenizer",
                paths[0].display(),
                path.display()
            );
        }
        left -= tokens.len();
        let parts = tokens.chunks(context - usize::from(bos.is_some()));
        windows.extend(parts.map(|part| bos.into_iter().chain(part.iter().copied()).collect::<Vec<u32>>()));
    }
    let found = most - left;
    if found < 2 {
        bail!("a text of at least 2 tokens is needed, {found} found; give a longer text or raise --max-tokens");
    }
    Ok(windows)
}

/// The first `most` tokens of the text, without the beginning-of-text token.
fn encode(model: &Model, source: &mut ModelSource, text: &str, most: usize) -> Result<Vec<u32>> {
    let mut scratch: Scratch = [0; size_of::<Scratch>() / 8];
    // Each token stands for at least a byte; one more may be the space before the first word.
    let mut tokens = vec![0; most.min(text.len() + 1)];
    let found = block_on(model.tokenizer().encoder(text, false, &mut scratch).fill(source, &mut tokens))?;
    tokens.truncate(found);
    Ok(tokens)
}

impl Row<'_> {
    fn point(&self) -> Point {
        let name = self.file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Point { name, bytes_per_token: self.bytes_per_token, kl: self.evaluation.agreement.mean_kl() }
    }

    fn json(&self) -> Value {
        let Self { evaluation, .. } = self;
        let agreement = &evaluation.agreement;
        json!({
            "file": self.file,
            "bytes_per_token": self.bytes_per_token,
            "tokens": agreement.tokens(),
            "ppl": evaluation.ppl(),
            "ppl_reference": evaluation.ppl_reference(),
            "kl": agreement.mean_kl(),
            "kl_sampled": agreement.mean_sampled_kl(),
            "top1": agreement.top1(),
        })
    }
}

fn print(args: &Args, rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    match rows {
        _ if args.json => rows.iter().try_for_each(|row| writeln!(out, "{}", row.json())),
        [row] => print_one(&row.evaluation, out),
        _ => print_table(rows, out),
    }
}

fn print_one(evaluation: &Evaluation, out: &mut impl Write) -> io::Result<()> {
    let Evaluation { agreement, .. } = evaluation;
    let mut field = |name: &str, value: String| writeln!(out, "{} {value}", style(format!("{name:<12}")).bold());
    field("positions", grouped(agreement.tokens() as u64))?;
    field("perplexity", format!("{:.4}, in float32 {:.4}", evaluation.ppl(), evaluation.ppl_reference()))?;
    field("KL", format!("{:.6} nats", agreement.mean_kl()))?;
    field("KL sampled", format!("{:.6} nats", agreement.mean_sampled_kl()))?;
    field("top-1", format!("{:.2} %", 100.0 * agreement.top1()))
}

fn print_table(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let width = rows.iter().map(|row| row.file.display().to_string().chars().count()).max().unwrap_or(0).max(4);
    let line = |file: &str, [bytes, perplexity, kl, sampled, top1]: [&str; 5]| {
        format!("{file:<width$} {bytes:>13} {perplexity:>10} {kl:>9} {sampled:>10} {top1:>8}")
    };
    let titles = ["bytes a token", "perplexity", "KL, nats", "KL sampled", "top-1"];
    writeln!(out, "{}", style(line("file", titles)).bold())?;
    for Row { file, bytes_per_token, evaluation } in rows {
        let agreement = &evaluation.agreement;
        let figures = [
            grouped(*bytes_per_token),
            format!("{:.4}", evaluation.ppl()),
            format!("{:.6}", agreement.mean_kl()),
            format!("{:.6}", agreement.mean_sampled_kl()),
            format!("{:.2} %", 100.0 * agreement.top1()),
        ];
        writeln!(out, "{}", line(&file.display().to_string(), figures.each_ref().map(String::as_str)))?;
    }
    if let Some(Row { evaluation, .. }) = rows.first() {
        let positions = grouped(evaluation.agreement.tokens() as u64);
        writeln!(out, "{positions} positions; perplexity in float32 {:.4}", evaluation.ppl_reference())?;
    }
    Ok(())
}
