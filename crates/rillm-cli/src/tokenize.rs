//! `rillm tokenize`: shows the tokens of a text, and the memory and reads that encoding takes.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use console::style;
use rillm::Counted;
use rillm::format::TokenKind;
use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Model, Traffic, block_on};
use serde_json::json;

use crate::model_file::ModelArgs;
use crate::number::{Count, grouped};
use crate::say;
use crate::source::Access;
use crate::source::ModelSource;
use crate::text;

/// Show the tokens of a text, and the cost of encoding it
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm tokenize \"The little fox\"
  rillm tokenize --model smollm2.rillm --source throttled - < book.txt
  rillm tokenize --model smollm2.rillm --plain \"<|im_end|>\"")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text; `-` or nothing for standard input, whose final newline is left out
    text: Option<String>,
    /// Treat marks such as `</s>` as ordinary text
    #[arg(long)]
    plain: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// The tokens of a text and what encoding them took.
struct Encoded {
    ids: Vec<u32>,
    traffic: Traffic,
    elapsed: Duration,
    /// Bytes of RAM: the tokenizer, its scratch memory, the encoder and its future.
    ram: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let text = match args.text.as_deref() {
        Some(text) if text != "-" => text.to_owned(),
        _ => {
            let text = text::read_stdin("text")?;
            let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            line.map(str::to_owned).unwrap_or(text)
        }
    };
    let (model, source) = args.model.open(Access::File)?;
    let mut source = Counted::new(source);
    let encoded = encode(&model, &mut source, &text, args.plain)?;
    let mut tokens = Vec::new();
    for &id in &encoded.ids {
        tokens.push((id, token_text(&model, &mut source, id)?));
    }
    Ok(print(args, &encoded, &tokens, &mut say::out())?)
}

fn encode(model: &Model, source: &mut Counted<ModelSource>, text: &str, plain: bool) -> Result<Encoded> {
    let mut scratch: Scratch = [0; size_of::<Scratch>() / 8];
    let started = Instant::now();
    let mut encoder = model.tokenizer().encoder(text, true, &mut scratch);
    if plain {
        encoder = encoder.plain();
    }
    let (mut ids, mut batch) = (Vec::new(), [0; 256]);
    let ram = size_of::<Tokenizer>() + size_of::<Scratch>() + size_of_val(&encoder);
    let mut future = 0;
    loop {
        let fill = encoder.fill(source, &mut batch);
        future = future.max(size_of_val(&fill));
        let len = block_on(fill)?;
        ids.extend(&batch[..len]);
        if len < batch.len() {
            break;
        }
    }
    Ok(Encoded { ids, traffic: source.traffic(), elapsed: started.elapsed(), ram: ram + future })
}

/// The text of a token, from its embedding record. For a special token, without the space that is printed before it.
fn token_text(model: &Model, source: &mut Counted<ModelSource>, id: u32) -> Result<Vec<u8>> {
    let mut text = [0; 255];
    let token = block_on(model.token(source, id, &mut text))?;
    Ok(match (token.kind, token.text) {
        (TokenKind::Control | TokenKind::Unknown, [b' ', text @ ..]) | (_, text) => text.to_vec(),
    })
}

fn print(args: &Args, encoded: &Encoded, tokens: &[(u32, Vec<u8>)], out: &mut impl Write) -> io::Result<()> {
    let Encoded { traffic, elapsed, ram, .. } = encoded;
    if args.json {
        let tokens: Vec<_> =
            tokens.iter().map(|(id, text)| json!({"id": id, "text": String::from_utf8_lossy(text)})).collect();
        let object = json!({
            "tokens": tokens, "reads": traffic.reads, "seeks": traffic.seeks, "bytes_read": traffic.bytes,
            "seconds": elapsed.as_secs_f64(), "ram_bytes": ram,
        });
        return writeln!(out, "{object}");
    }
    for (id, text) in tokens {
        writeln!(out, "{id:>8} {:?}", String::from_utf8_lossy(text))?;
    }
    let each = |amount: f64| amount / tokens.len().max(1) as f64;
    writeln!(
        out,
        "{} {}; a token: {:.1} reads, {:.1} seeks, {:.0} bytes, {:.1} µs; {} bytes of RAM",
        style("encoded:").green().bold(),
        Count(tokens.len() as u64, "token"),
        each(traffic.reads as f64),
        each(traffic.seeks as f64),
        each(traffic.bytes as f64),
        each(elapsed.as_secs_f64() * 1e6),
        grouped(*ram as u64),
    )
}
