//! `rillm inspect`: shows what a file holds, and checks whether it is complete.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use console::style;
use indicatif::BinaryBytes;
use rillm::format::{
    AttentionExtras, ChatHeader, Header, Rescoring, RopeScaling, SectionKind, TensorEntry, TensorKind,
};
use rillm::tokenizer::layout::{Kind, PreTokenizer};
use rillm_convert::write::{bits_per_weight, bytes_per_token};
use serde_json::{Value, json};

use crate::model_file::from_path;
use crate::number::{grouped, tensor_name};
use crate::sections::{chat_form, tensor_table, tokenizer};
use crate::source::{Access, CardPace};
use crate::verify::verify;
use crate::{files, say};

/// Show what a .rillm file holds
///
/// Dimensions, tokenizer and chat template, then the sections and the tensors.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm inspect model.rillm
  rillm inspect model.rillm --verify    # after copying it to a card
  rillm inspect model.rillm --json | jq .tensors[0]")]
pub struct Args {
    /// The .rillm file
    #[arg(value_parser = files::input())]
    file: PathBuf,
    /// Compare every checksum as well. A damaged file is an error
    #[arg(long)]
    verify: bool,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let (model, mut source) = from_path(&args.file, Access::File, CardPace::UNUSED)?;
    let header = model.header();
    let tensors = tensor_table(header, &mut source)?;
    let words = Words { tokenizer: tokenizer(header, &mut source)?.kind, chat: chat_form(header, &mut source)? };
    if args.json {
        let mut value = describe(header, &tensors);
        value["tokenizer"] = json!(words.algorithm());
        value["tokenizer_split"] = json!(words.split());
        value["chat"] = json!(words.chat.is_some());
        value["system_prompt"] = json!(words.chat.is_some_and(|form| form.system));
        value["file_bytes"] = json!(source.len());
        if args.verify {
            verify(header, &tensors, &mut source).with_context(|| format!("in {}", args.file.display()))?;
            value["verified"] = json!(true);
        }
        return Ok(writeln!(say::out(), "{value}")?);
    }
    print(header, &words, &tensors, source.len(), &mut say::out())?;
    if args.verify {
        verify(header, &tensors, &mut source).with_context(|| format!("in {}", args.file.display()))?;
        writeln!(say::out(), "\n{} every checksum matches", style("whole:").green().bold())?;
    }
    Ok(())
}

/// How a file encodes text: its tokenizer's parts, in words.
struct Words {
    tokenizer: Kind,
    chat: Option<ChatHeader>,
}

impl Words {
    fn algorithm(&self) -> &'static str {
        match self.tokenizer {
            Kind::SentencePiece(_) => "sentencepiece BPE",
            Kind::ByteLevel(_) => "byte-level BPE",
            Kind::WordPiece(_) => "WordPiece",
        }
    }

    /// The pattern of the pre-tokenizer, for byte-level BPE.
    fn split(&self) -> Option<&'static str> {
        let Kind::ByteLevel(header) = self.tokenizer else { return None };
        Some(match header.pre_tokenizer {
            PreTokenizer::Gpt2 => "GPT-2",
            PreTokenizer::DigitsGpt2 => "GPT-2 between single digits",
            PreTokenizer::NumbersGpt2 => "GPT-2 between runs of digits",
            PreTokenizer::Llama3 => "Llama 3",
            PreTokenizer::Qwen2 => "Qwen2",
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of the rows for rescoring, where they are not the embedding table's.
fn rescoring_bytes(header: &Header) -> u64 {
    header.section(SectionKind::RescoringHead).map_or(0, |section| section.len)
}

fn describe(header: &Header, tensors: &[TensorEntry]) -> Value {
    let scaling = match header.rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => json!({
            "type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor, "original_max_position_embeddings": original_context,
        }),
        RopeScaling::Divisors => json!({"type": "divisors"}),
    };
    json!({
        "format_version": 1,
        "architecture": "llama",
        "source": header.source_name(),
        "source_sha256": hex(&header.source_hash),
        "parameters": header.parameters(),
        "hidden_size": header.hidden_size,
        "intermediate_size": header.intermediate_size,
        "num_hidden_layers": header.n_layers,
        "num_attention_heads": header.n_heads,
        "num_key_value_heads": header.n_kv_heads,
        "head_dim": header.head_dim,
        "vocab_size": header.vocab_size,
        "max_position_embeddings": header.context_length,
        "key_bits": header.key_bits as u8,
        "bits_per_weight": bits_per_weight(tensors.iter().map(|entry| &entry.tensor), rescoring_bytes(header)),
        "bytes_per_token": bytes_per_token(tensors.iter().map(|entry| &entry.tensor)),
        "rescoring_bytes": rescoring_bytes(header),
        "rescored_rows": header.rescoring.map_or(0, |rescoring| rescoring.rows),
        "qkv_bias": header.attention.qkv_bias,
        "o_bias": header.attention.o_bias,
        "qk_norm": header.attention.qk_norm,
        "rope_theta": header.rope.theta,
        "rope_scaling": scaling,
        "rms_norm_eps": header.norm_eps,
        "tie_word_embeddings": header.tied_embeddings,
        "bos_token_id": header.bos,
        "eos_token_ids": header.eos.iter().flatten().collect::<Vec<_>>(),
        "unk_token_id": header.unk,
        "sections": header.sections().map(|section| json!({
            "kind": section.kind.to_string(), "offset": section.offset, "bytes": section.len,
            "crc32": format!("{:08x}", section.crc32),
        })).collect::<Vec<_>>(),
        "tensors": tensors.iter().map(|entry| json!({
            "name": tensor_name(entry.tensor.kind, entry.tensor.layer), "rows": entry.tensor.rows, "cols": entry.tensor.cols,
            "quantisation": entry.tensor.quantisation.to_string(), "offset": entry.offset, "bytes": entry.len,
            "crc32": format!("{:08x}", entry.crc32),
        })).collect::<Vec<_>>(),
    })
}

fn print(
    header: &Header,
    words: &Words,
    tensors: &[TensorEntry],
    file_len: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    print_header(header, words, tensors, file_len, out)?;
    print_sections(header, out)?;
    print_tensors(tensors, out)
}

fn print_header(
    header: &Header,
    words: &Words,
    tensors: &[TensorEntry],
    file_len: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut field = |name: &str, value: String| writeln!(out, "{} {value}", style(format!("{name:<12}")).bold());
    let tokens = |ids: Vec<u32>| {
        if ids.is_empty() { "none".to_owned() } else { ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ") }
    };
    field("model", format!("{}, format version 1, llama", header.source_name().unwrap_or_default()))?;
    field("checkpoint", format!("SHA-256 {}", hex(&header.source_hash)))?;
    field("file", format!("{} bytes ({})", grouped(file_len), BinaryBytes(file_len)))?;
    field("parameters", grouped(header.parameters()))?;
    let headers = || tensors.iter().map(|entry| &entry.tensor);
    let stored = |of: fn(TensorKind) -> bool| {
        let mut stored: Vec<_> =
            headers().filter(|tensor| of(tensor.kind)).map(|tensor| tensor.quantisation.to_string()).collect();
        stored.dedup();
        stored.join(" and ")
    };
    field(
        "weights",
        format!(
            "layers {}, head {}, embedding table {}; {:.2} bits each",
            stored(|kind| !kind.is_vector() && !matches!(kind, TensorKind::Head | TensorKind::Embedding)),
            stored(|kind| kind == TensorKind::Head),
            stored(|kind| kind == TensorKind::Embedding),
            bits_per_weight(headers(), rescoring_bytes(header))
        ),
    )?;
    field("a token", format!("reads {} bytes", grouped(bytes_per_token(headers()))))?;
    field("layers", header.n_layers.to_string())?;
    field("hidden size", format!("{}, feed-forward {}", header.hidden_size, header.intermediate_size))?;
    let AttentionExtras { qkv_bias, o_bias, qk_norm } = header.attention;
    let extras = [(qkv_bias, ", q, k and v with bias"), (o_bias, ", o with bias"), (qk_norm, ", q and k normalised")];
    let extras: String = extras.into_iter().filter(|(there, _)| *there).map(|(_, words)| words).collect();
    let (heads, head_dim, kv_heads) = (header.n_heads, header.head_dim, header.n_kv_heads);
    field("heads", format!("{heads} of {head_dim}, {kv_heads} for keys and values{extras}"))?;
    field(
        "vocabulary",
        format!(
            "{}{}",
            grouped(header.vocab_size.into()),
            if header.tied_embeddings { ", tied embeddings" } else { "" }
        ),
    )?;
    let split = words.split().map_or_else(String::new, |split| format!(", split as {split}"));
    field("tokenizer", format!("{}{split}", words.algorithm()))?;
    let chat = match &words.chat {
        None => "no",
        Some(ChatHeader { system: false, .. }) => "yes, without system prompt",
        Some(_) => "yes, with system prompt",
    };
    field("chat", chat.to_owned())?;
    field("context", grouped(header.context_length.into()))?;
    field("KV cache", format!("keys in {} bits, values in 8", header.key_bits as u8))?;
    if let Some(Rescoring { rows, .. }) = header.rescoring {
        let of = match rescoring_bytes(header) {
            0 => "the embedding table's rows".to_owned(),
            bytes => format!("rows of their own, {} bytes", grouped(bytes)),
        };
        field("head", format!("the {rows} best logits are computed again, with {of}"))?;
    }
    let scaling = match header.rope.scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", linear scaling by {factor}"),
        RopeScaling::Llama3 { factor, original_context, .. } => {
            format!(", llama3 scaling by {factor} from {original_context}")
        }
        RopeScaling::Divisors => ", each frequency divided by a number of its own".to_owned(),
    };
    field("rope", format!("theta {}{scaling}", header.rope.theta))?;
    field("norm", format!("epsilon {:e}", header.norm_eps))?;
    field(
        "bos, eos",
        format!("{}; {}", tokens(header.bos.into_iter().collect()), tokens(header.eos.into_iter().flatten().collect())),
    )
}

fn print_sections(header: &Header, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(out, "{}", style(format!("{:<14} {:>12} {:>12}  crc32", "section", "offset", "bytes")).bold())?;
    for section in header.sections() {
        let (offset, len) = (grouped(section.offset), grouped(section.len));
        writeln!(out, "{:<14} {offset:>12} {len:>12}  {:08x}", section.kind.to_string(), section.crc32)?;
    }
    Ok(())
}

fn print_tensors(tensors: &[TensorEntry], out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{}",
        style(format!("{:<40} {:>16} {:>9} {:>12}  crc32", "tensor", "shape", "stored", "bytes")).bold()
    )?;
    for entry in tensors {
        let tensor = &entry.tensor;
        writeln!(
            out,
            "{:<40} {:>16} {:>9} {:>12}  {:08x}",
            tensor_name(entry.tensor.kind, entry.tensor.layer),
            format!("{} × {}", tensor.rows, tensor.cols),
            tensor.quantisation.to_string(),
            grouped(entry.len),
            entry.crc32
        )?;
    }
    Ok(())
}
