//! `rillm eval`: measures how far the predictions of a file are from those of its checkpoint in float32.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use console::style;
use rillm::tokenizer::Scratch;
use rillm::{Logit, Memory, MemoryLen, Model, Plan, PlanOptions, Session, block_on};
use rillm_convert::checkpoint::Checkpoint;
use rillm_quantise::evaluate::{Agreement, negative_log_likelihood};
use rillm_quantise::reference::Reference;
use serde_json::json;

use crate::model_file::from_path;
use crate::number::grouped;
use crate::source::{Access, CardPace, ModelSource};
use crate::{files, progress, say, text};

/// Compare a .rillm file with its checkpoint in float32
///
/// Both predict each token of a text from the tokens before it (teacher forcing).
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "The text is cut into windows of the context's length, 2,048 tokens at most. Each window starts with an empty context. \
KL is the mean over all positions of the divergence from the checkpoint's distribution to the file's, in nats. KL sampled is \
that among the tokens that a sampler with top-k 40 and top-p 0.95 draws from. Top-1 is the share of positions at which both \
have the same likeliest token.

Examples:
  rillm eval --model tiny-llm.rillm --against Tiny-LLM/ --text book.txt
  rillm eval --model tiny-llm.rillm --against Tiny-LLM/ --text book.txt --json"
)]
pub struct Args {
    /// The .rillm file
    #[arg(long, short, value_name = "FILE", value_parser = files::input())]
    model: PathBuf,
    /// The checkpoint, in any form that `rillm convert` reads
    #[arg(long, value_name = "CHECKPOINT", value_parser = files::input())]
    against: PathBuf,
    /// UTF-8 text to predict; `-` for standard input
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Largest number of tokens of the text to use
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_tokens: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Longest window in tokens: the predictions from one empty context.
const WINDOW: usize = 2048;

/// The result of an evaluation.
struct Evaluation {
    agreement: Agreement,
    nll: f64,
    nll_reference: f64,
    predicted: usize,
}

impl Evaluation {
    fn ppl(&self) -> f64 {
        (self.nll / self.predicted as f64).exp()
    }

    fn ppl_reference(&self) -> f64 {
        (self.nll_reference / self.predicted as f64).exp()
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let text = text::read(&args.text)?;
    let card = CardPace { bytes_per_second: usize::MAX, latency: Duration::ZERO };
    let (model, mut source) = from_path(&args.model, Access::Mmap, card)?;
    files::check_input(&args.against)?;
    let checkpoint = Checkpoint::open(&args.against)?;
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
            args.model.display(),
            args.against.display()
        );
    }
    if model.header().source_hash != checkpoint.weights_sha256() {
        let (model, checkpoint) = (args.model.display(), args.against.display());
        say::line(format_args!("note: {model} was made of other weights than {checkpoint} has now"));
    }
    let tokens = encode(&model, &mut source, &text, args.max_tokens)?;
    let evaluation = evaluate(&model, source, &mut checkpoint.reference(), &tokens)?;
    Ok(print(args, &evaluation, &mut say::out())?)
}

/// The first `most` tokens of the text, without the beginning-of-text token.
fn encode(model: &Model, source: &mut ModelSource, text: &str, most: usize) -> Result<Vec<u32>> {
    let mut scratch: Scratch = [0; size_of::<Scratch>() / 8];
    // Each token stands for at least a byte; one more may be the space before the first word.
    let mut tokens = vec![0; most.min(text.len() + 1)];
    let found = block_on(model.tokenizer().encoder(text, false, &mut scratch).fill(source, &mut tokens))?;
    tokens.truncate(found);
    if tokens.len() < 2 {
        bail!(
            "a text of at least 2 tokens is needed, {} found; give a longer text or raise --max-tokens",
            tokens.len()
        );
    }
    Ok(tokens)
}

fn evaluate(model: &Model, source: ModelSource, reference: &mut Reference, tokens: &[u32]) -> Result<Evaluation> {
    let context = (model.header().context_length as usize).min(WINDOW);
    let bos = model.tokenizer().bos();
    ensure!(
        context > usize::from(bos.is_some()),
        "the model's context of {context} has no room for a token to predict"
    );
    let options = PlanOptions::default().batch(1).context(context);
    let plan = Plan::new(model, &source, MemoryLen::internal(usize::MAX), &options)?;
    let mut memory = vec![0; plan.memory().internal];
    let mut session = Session::from_plan(model, source, plan, Memory::internal(&mut memory))?;

    let bar = progress::tokens(tokens.len() as u64);
    let mut evaluation = Evaluation { agreement: Agreement::default(), nll: 0.0, nll_reference: 0.0, predicted: 0 };
    let mut logits = vec![0f32; model.header().vocab_size as usize];
    for window in tokens.chunks(context - usize::from(bos.is_some())) {
        session.reset();
        let window: Vec<u32> = bos.into_iter().chain(window.iter().copied()).collect();
        for (position, &token) in window.iter().enumerate() {
            let expected = reference.forward(token, position);
            session.push(&[token])?;
            block_on(session.logits(|Logit { token, mantissa, exponent }| {
                logits[token as usize] = (f64::from(mantissa) * f64::from(exponent).exp2()) as f32;
            }))?;
            evaluation.agreement.add(expected, &logits);
            if let Some(&next) = window.get(position + 1) {
                evaluation.nll += negative_log_likelihood(&logits, next);
                evaluation.nll_reference += negative_log_likelihood(expected, next);
                evaluation.predicted += 1;
            }
            bar.inc(1);
            if position % 16 == 0 {
                bar.set_message(format!("· KL {:.5}", evaluation.agreement.mean_kl()));
            }
        }
    }
    Ok(evaluation)
}

fn print(args: &Args, evaluation: &Evaluation, out: &mut impl Write) -> io::Result<()> {
    let Evaluation { agreement, .. } = evaluation;
    if args.json {
        return writeln!(
            out,
            "{}",
            json!({
                "tokens": agreement.tokens(),
                "ppl": evaluation.ppl(),
                "ppl_reference": evaluation.ppl_reference(),
                "kl": agreement.mean_kl(),
                "kl_sampled": agreement.mean_sampled_kl(),
                "top1": agreement.top1(),
            })
        );
    }
    let mut field = |name: &str, value: String| writeln!(out, "{} {value}", style(format!("{name:<12}")).bold());
    field("positions", grouped(agreement.tokens() as u64))?;
    field("perplexity", format!("{:.4}, in float32 {:.4}", evaluation.ppl(), evaluation.ppl_reference()))?;
    field("KL", format!("{:.6} nats", agreement.mean_kl()))?;
    field("KL sampled", format!("{:.6} nats", agreement.mean_sampled_kl()))?;
    field("top-1", format!("{:.2} %", 100.0 * agreement.top1()))
}
