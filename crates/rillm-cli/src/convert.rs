//! `rillm convert`: converts a checkpoint to a `.rillm` file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use rillm::format::KeyBits;
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::vocabulary::{Problem, Vocabulary, llama2c_names};
use rillm_convert::write::{NewFile, Options, WriteError, file_len};
use rillm_quantise::mix::{Bits, Mix};

use crate::conversion_report::Report;
use crate::converter::Converter;
use crate::mix_search::{Goal, search};
use crate::{files, interrupt, number, say, text};

/// Convert a Hugging Face directory or a GGUF file to a .rillm file
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  hf download arnir0/Tiny-LLM --local-dir Tiny-LLM
  rillm convert Tiny-LLM/ tiny-llm.rillm
  rillm convert TinyLlama-1.1B.Q8_0.gguf tinyllama.rillm
  rillm convert stories260K.bin stories.rillm        tok512.bin is beside it
  rillm convert esp32_weights/ tiny-llm.rillm
  rillm convert Tiny-LLM/ tiny-llm.rillm --bits 4
  rillm convert Tiny-LLM/ tiny-llm.rillm --head-bits 4 --evaluate
  rillm convert Tiny-LLM/ tiny-llm.rillm --target-size 12M
  rillm convert Tiny-LLM/ tiny-llm.rillm --max-kl 0.01

A Hugging Face directory has config.json, model.safetensors (or its shards and \
index) and tokenizer.json or tokenizer.model. A GGUF file contains its tokenizer; \
its tensors may be F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or \
Q6_K. A weight directory for the ESP32 has model_config.json, a .bin for each \
tensor, quantization_scales.json if they are int8, and the tokenizer. A feature \
that the engine does not support is an error that names it.")]
pub struct Args {
    /// A Hugging Face directory, a GGUF file, a llama2.c checkpoint (.bin) or a weight directory for the ESP32
    #[arg(value_parser = files::input())]
    source: PathBuf,
    /// The file to write. An existing file is replaced only when the new one is complete
    #[arg(value_parser = files::output())]
    out: PathBuf,
    /// tokenizer.json, tokenizer.model, a GGUF file or llama2.c's tokenizer.bin. Required if it is not beside the
    /// checkpoint
    #[arg(long, value_name = "FILE", value_parser = files::input())]
    tokenizer: Option<PathBuf>,
    /// Weights that share a scale: 16, 32, 64, 128, 256 or 512. Smaller groups are more accurate and take more space
    #[arg(long, value_name = "N", default_value = "32", value_parser = ["16", "32", "64", "128", "256", "512"])]
    group_size: String,
    /// Bits of each weight, 8 or 4. 4 bits halve the file and the bytes that are read for a token. Quantising then takes
    /// minutes instead of seconds, because it is calibrated on a text
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = ["8", "4"])]
    bits: String,
    /// Bits of the weights in the layers, instead of --bits
    #[arg(long, value_name = "BITS", value_parser = ["8", "4"])]
    layer_bits: Option<String>,
    /// Bits of the head's weights, instead of --bits
    #[arg(long, value_name = "BITS", value_parser = ["8", "4"])]
    head_bits: Option<String>,
    /// Bits of the embedding table's weights, of which a token reads one row, instead of --bits
    #[arg(long, value_name = "BITS", value_parser = ["8", "4"])]
    embed_bits: Option<String>,
    /// Choose the bits of layers, head and embedding table for the file of at most BYTES bytes (4M is 4,194,304) that is
    /// closest to the checkpoint. Up to three files are made and evaluated
    #[arg(long, value_name = "BYTES", value_parser = number::bytes, conflicts_with = "max_kl", conflicts_with_all = WIDTHS)]
    target_size: Option<usize>,
    /// Choose the bits of layers, head and embedding table for the smallest file whose KL divergence is at most NATS nats.
    /// Four to eight files are made and evaluated, or one if even 8 bits are further away
    #[arg(long, value_name = "NATS", value_parser = number::nats, conflicts_with_all = WIDTHS)]
    max_kl: Option<f64>,
    /// Tell at the end how far the file's predictions are from the checkpoint's, in KL divergence and top-1, on text that the
    /// model writes and that was not used to calibrate it
    #[arg(long)]
    evaluate: bool,
    /// Best logits of a 4-bit head that are computed again from 8-bit rows, 0 to 255: more rows make the choice of a token more
    /// accurate and cost a read each. Without it, 32 if the head has 4 bits and the embedding table 8, else 0
    #[arg(long, value_name = "ROWS")]
    rescore: Option<u8>,
    /// UTF-8 text on which 4-bit weights are calibrated; `-` for standard input. Without it, the model writes its own
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Bits of each value of a key in the KV cache, 8 or 16; without it, chosen by the head dimension
    #[arg(long, value_name = "BITS", value_parser = ["8", "16"])]
    key_bits: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// The options that choose bits; one of them beside --target-size or --max-kl would be ignored.
const WIDTHS: [&str; 4] = ["bits", "layer_bits", "head_bits", "embed_bits"];

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    for path in [Some(&args.source), args.tokenizer.as_ref()].into_iter().flatten() {
        files::check_input(path)?;
    }
    let checkpoint = Checkpoint::open(&args.source)?;
    let vocab_size = checkpoint.config().vocab_size;
    let tokenizer = tokenizer(args, vocab_size)?;
    files::check_output(&args.out, &args.source, &tokenizer)?;
    let vocabulary = Vocabulary::open(&tokenizer, vocab_size);
    let vocabulary = vocabulary.map_err(|error| match error.problem {
        Problem::NotFound => anyhow!("{error}, or name it with --tokenizer"),
        _ => error.into(),
    })?;
    let sections = vocabulary.sections().context("in the tokenizer")?;
    let key_bits = args.key_bits.as_deref().map(|bits| if bits == "8" { KeyBits::Eight } else { KeyBits::Sixteen });
    let options = Options::default().mix(args.mix()).group(args.group_size.parse()?);
    let options = options.key_bits(key_bits).rescored_rows(args.rescore);
    let text = args.calibrate.as_deref().map(text::read).transpose()?;

    // Ctrl-C stops after the current rows, so that the incomplete file is removed.
    interrupt::watch()?;
    let mut converter = Converter::new(&checkpoint, &sections, text.as_deref(), &args.out);
    let report = match make(args, &mut converter, options) {
        Err(error) if matches!(error.downcast_ref(), Some(WriteError::Interrupted)) => {
            say::note(error);
            return Ok(ExitCode::from(interrupt::exit_code()));
        }
        report => report?,
    };
    if args.json {
        writeln!(say::out(), "{}", report.json())?;
    } else {
        report.print(start.elapsed().as_secs_f64(), &mut say::out())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the file and, if that is asked for, chooses its mix and evaluates it.
fn make<'a>(args: &'a Args, converter: &mut Converter<'a>, options: Options) -> Result<Report<'a>> {
    // Checks that the output can be written before minutes are spent on it.
    drop(NewFile::new(&args.out)?);
    let goal = args.target_size.map(|bytes| Goal::Size(bytes as u64)).or(args.max_kl.map(Goal::Kl));
    let (draft, mix, candidates) = match goal {
        None => (converter.make(options)?, options.mix, vec![]),
        Some(goal) => search(converter, options, goal)?,
    };
    let chosen = candidates.iter().find(|candidate| candidate.mix == mix);
    let agreement = match chosen.and_then(|chosen| chosen.agreement) {
        None if args.evaluate => Some(converter.judge(draft.path())?),
        agreement => agreement,
    };
    let four_bits = options.mix(Mix::all(Bits::Four));
    Ok(Report {
        file: &args.out,
        sections: converter.sections,
        mix,
        candidates,
        agreement,
        int4_len: file_len(converter.checkpoint, converter.sections, four_bits)?,
        conversion: draft.keep()?,
    })
}

impl Args {
    fn mix(&self) -> Mix {
        let bits = |bits: Option<&String>| if bits.unwrap_or(&self.bits) == "4" { Bits::Four } else { Bits::Eight };
        Mix {
            embedding: bits(self.embed_bits.as_ref()),
            layers: bits(self.layer_bits.as_ref()),
            head: bits(self.head_bits.as_ref()),
        }
    }
}

/// The tokenizer that was named on the command line or belongs to the checkpoint: in its directory, in the GGUF file,
/// or beside a llama2.c file under either of the two names that llama2.c uses.
fn tokenizer(args: &Args, vocab_size: u32) -> Result<PathBuf> {
    if let Some(path) = &args.tokenizer {
        return Ok(path.clone());
    }
    Vocabulary::path_of(&args.source, vocab_size)?.with_context(|| {
        let [first, second] = llama2c_names(vocab_size);
        let source = args.source.display();
        format!("there is no {first} and no {second} beside {source}; name the tokenizer with --tokenizer")
    })
}
