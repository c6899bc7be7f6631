//! `rillm convert`: converts a checkpoint to a `.rillm` file.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use console::style;
use indicatif::BinaryBytes;
use rillm::format::{KeyBits, Rescoring};
use rillm_convert::calibrate;
use rillm_convert::chat::Unfollowable;
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::gguf::is_gguf;
use rillm_convert::vocabulary::{Problem, Vocabulary};
use rillm_convert::write::{ConversionReport, Options, Progress, TokenizerSections, WriteError, convert_quantised};
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::QuantisedModel;
use serde_json::json;

use crate::number::{grouped, tensor_name};
use crate::progress;
use crate::{files, interrupt, say, text};

/// Convert a Hugging Face directory or a GGUF file to a .rillm file
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  hf download arnir0/Tiny-LLM --local-dir Tiny-LLM
  rillm convert Tiny-LLM/ tiny-llm.rillm
  rillm convert TinyLlama-1.1B.Q8_0.gguf tinyllama.rillm
  rillm convert stories260K.bin stories.rillm        tok512.bin is beside it
  rillm convert esp32_weights/ tiny-llm.rillm
  rillm convert Tiny-LLM/ tiny-llm.rillm --bits 4
  rillm convert Tiny-LLM/ tiny-llm.rillm --head-bits 4

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
    /// Bits of each weight, 8 or 4. With 4, half the file and half of what is read for a token; quantising takes minutes
    /// rather than seconds, because errors are made up for on a text
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
    let options = Options::default().group(args.group_size.parse()?).key_bits(key_bits).rescored_rows(args.rescore);
    let mix = args.mix();
    let text = args.calibrate.as_deref().map(text::read).transpose()?;

    // Ctrl-C stops after the current rows, so that the incomplete file is removed.
    interrupt::watch()?;
    let quantised = match mix.has_int4() {
        true => calibrate(&checkpoint, &sections, mix, options.group, text.as_deref()),
        false => Ok(QuantisedModel::new()),
    };
    let result = quantised.and_then(|quantised| {
        let bar = progress::bytes(0);
        let progress = |progress: Progress| {
            bar.set_length(progress.bytes);
            bar.set_position(progress.bytes_done);
            bar.set_message(tensor_name(progress.kind, progress.layer));
            go_on()
        };
        convert_quantised(&checkpoint, &sections, &quantised, options, progress, &args.out)
    });
    let report = match result {
        Err(error @ WriteError::Interrupted) => {
            say::note(error);
            return Ok(ExitCode::from(interrupt::exit_code()));
        }
        result => result?,
    };

    if args.json {
        writeln!(say::out(), "{}", describe(args, &report, &sections))?;
    } else {
        print(args, &report, &sections, start.elapsed().as_secs_f64(), &mut say::out())?;
    }
    Ok(ExitCode::SUCCESS)
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

/// Quantises the tensors, with a bar for the text that the model writes, one for the tensors and one for distillation.
fn calibrate(
    checkpoint: &Checkpoint,
    sections: &TokenizerSections,
    mix: Mix,
    group: u32,
    text: Option<&str>,
) -> Result<QuantisedModel, WriteError> {
    let (writing, tensors, steps) = (progress::tokens(0), progress::weights(0), progress::steps(0));
    writing.set_message("· the model writes a text to calibrate with");
    calibrate::quantise(checkpoint, sections, mix, group, text, |progress| {
        match progress {
            calibrate::Progress::Text { tokens_done, tokens } => {
                writing.set_length(tokens as u64);
                writing.set_position(tokens_done as u64);
            }
            calibrate::Progress::Tensors(done) => {
                writing.finish_and_clear();
                tensors.set_length(done.weights as u64);
                tensors.set_position(done.weights_done as u64);
                tensors.set_message(tensor_name(done.kind, done.layer));
            }
            calibrate::Progress::Distillation(done) => {
                tensors.finish_and_clear();
                steps.set_length(done.steps.into());
                steps.set_position(done.step.into());
                steps.set_message(format!("· scales and norms are distilled, KL {:.4}", done.divergence));
            }
        }
        go_on()
    })
}

fn go_on() -> ControlFlow<()> {
    if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// The tokenizer that was named on the command line or belongs to the checkpoint: in its directory, in the GGUF file,
/// or beside a llama2.c file under either of the two names that llama2.c uses.
fn tokenizer(args: &Args, vocab_size: u32) -> Result<PathBuf> {
    if let Some(path) = &args.tokenizer {
        return Ok(path.clone());
    }
    if args.source.is_dir() || is_gguf(&args.source)? {
        return Ok(args.source.clone());
    }
    let names = ["tokenizer.bin".to_owned(), format!("tok{vocab_size}.bin")];
    let beside = names.iter().map(|name| args.source.with_file_name(name)).find(|path| path.exists());
    beside.with_context(|| {
        let [first, second] = &names;
        let source = args.source.display();
        format!("there is no {first} and no {second} beside {source}; name the tokenizer with --tokenizer")
    })
}

fn describe(args: &Args, report: &ConversionReport, sections: &TokenizerSections) -> serde_json::Value {
    json!({
        "file": args.out,
        "file_bytes": report.file_len,
        "bits_per_weight": report.bits_per_weight(),
        "bytes_per_token": report.bytes_per_token(),
        "rescored_rows": report.rescoring.map_or(0, |rescoring| rescoring.rows),
        "rescoring_bytes": report.rescoring_bytes,
        "chat": sections.chat.is_ok(),
        "chat_problem": sections.chat.as_ref().err().map(Unfollowable::to_string),
        "tensors": report.tensors.iter().map(|t| json!({
            "name": tensor_name(t.tensor.kind, t.tensor.layer), "rows": t.tensor.rows, "cols": t.tensor.cols,
            "quantisation": t.tensor.quantisation.to_string(), "bytes": t.bytes,
            "snr_db": t.snr_db.is_finite().then_some(t.snr_db),
        })).collect::<Vec<_>>(),
    })
}

fn print(
    args: &Args,
    report: &ConversionReport,
    sections: &TokenizerSections,
    seconds: f64,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{}",
        style(format!("{:<40} {:>16} {:>9} {:>12} {:>8}", "tensor", "shape", "stored", "bytes", "SNR")).bold()
    )?;
    for tensor in &report.tensors {
        let header = &tensor.tensor;
        writeln!(
            out,
            "{:<40} {:>16} {:>9} {:>12} {:>8}",
            tensor_name(header.kind, header.layer),
            format!("{} × {}", header.rows, header.cols),
            header.quantisation.to_string(),
            grouped(tensor.bytes),
            if tensor.snr_db.is_finite() { format!("{:.1} dB", tensor.snr_db) } else { "exact".to_owned() },
        )?;
    }
    writeln!(
        out,
        "{:.2} bits a weight; {} bytes are read for a token",
        report.bits_per_weight(),
        grouped(report.bytes_per_token())
    )?;
    if let Some(Rescoring { rows, margin }) = report.rescoring {
        writeln!(
            out,
            "the {rows} best logits of a token are computed again, those up to {:.2} below the best for a greedy choice",
            f64::from(margin) / 128.0
        )?;
    }
    let path = args.out.display();
    let size = BinaryBytes(report.file_len);
    let command = match &sections.chat {
        Ok(_) => "chat",
        Err(Unfollowable::NoTemplate) => "run",
        Err(problem) => {
            writeln!(out, "{} it continues texts and does not chat: {problem}", style("note:").yellow().bold())?;
            "run"
        }
    };
    writeln!(
        out,
        "{} {path} ({size}) in {seconds:.1} s; try it: rillm {command} --model {path}",
        style("wrote").green().bold()
    )
}
