//! Writes the seed inputs of the fuzz targets to `corpus/`. Run it from this folder after a change of the file format.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/rillm-convert/tests/support/gguf.rs"]
mod gguf;

use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{AttentionExtras, Rope, RopeScaling};
use rillm::{Bytes, Memory, Model, PlanOptions, SECTOR_LEN, Session, block_on};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert_quantised};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::mix::{Bits, Mix};
use rillm_quantise::model::quantise;

const CHAT_TEMPLATE: &str = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}\
    {% if add_generation_prompt %}<s>assistant: {% endif %}";
const TOKENIZER: &str = "../crates/rillm-convert/tests/tiny_tokenizer.json";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = |target: &str, name: &str| Path::new("corpus").join(target).join(name);
    for target in ["rillm_file", "saved_session", "prompt", "tokenizer_json", "gguf", "card"] {
        fs::create_dir_all(Path::new("corpus").join(target))?;
    }
    let llama = AttentionExtras::default();
    let qwen2 = AttentionExtras { qkv_bias: true, ..llama };
    let qwen3 = AttentionExtras { qk_norm: true, ..llama };
    let small = |name: &str| format!("tokenizers/{name}.json");
    let int8 = Mix::all(Bits::Eight);
    model(llama, int8, TOKENIZER, &seed("rillm_file", "llama"))?;
    model(qwen2, int8, &small("qwen2"), &seed("rillm_file", "qwen2"))?;
    model(qwen3, int8, &small("llama3"), &seed("rillm_file", "qwen3"))?;
    model(llama, int8, &small("bert"), &seed("rillm_file", "pieces"))?;
    model(llama, Mix::all(Bits::Four), TOKENIZER, &seed("rillm_file", "int4"))?;
    model(llama, Mix { head: Bits::Four, ..int8 }, TOKENIZER, &seed("rillm_file", "rescoring"))?;
    for (name, attention) in [("llama", llama), ("qwen3", qwen3)] {
        fs::write(seed("gguf", name), gguf_file(attention))?;
    }
    fs::copy(TOKENIZER, seed("tokenizer_json", "tiny"))?;
    for name in ["gpt2", "smollm2", "llama3", "qwen2", "bert"] {
        fs::copy(small(name), seed("tokenizer_json", name))?;
    }
    fs::write(seed("saved_session", "five"), saved_session(&seed("rillm_file", "llama"))?)?;
    fs::write(seed("card", "whole"), blocks(&volume(4200)?))?;
    fs::write(seed("card", "partitions"), blocks(&partitions()?))?;
    let texts = ["Once upon a time", "don't\r\n\t  1987 été", "👩‍👩‍👧‍👦 שלום <s>", "e\u{301}\u{323} 한국어 日本語"];
    for (text, words) in texts.into_iter().enumerate() {
        for tokenizer in 0..6 {
            let mut input = vec![tokenizer];
            input.extend(words.as_bytes());
            fs::write(seed("prompt", &format!("text{text}-{tokenizer}")), input)?;
        }
    }
    Ok(())
}

/// The configuration of a random model with one layer.
fn config(attention: AttentionExtras) -> LlamaConfig {
    LlamaConfig {
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 1,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 8,
        vocab_size: 424,
        context_length: 16,
        attention,
        rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings: true,
        bos: Some(1),
        eos: vec![2],
    }
}

fn model(attention: AttentionExtras, mix: Mix, tokenizer: &str, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = config(attention);
    let directory = tempfile::tempdir()?;
    rillm_convert::random::write(directory.path(), &config, Dtype::F32, 1)?;
    let checkpoint = Checkpoint::open(directory.path())?;
    let mut vocabulary = Vocabulary::open(tokenizer.as_ref(), config.vocab_size)?;
    vocabulary.chat_template = CHAT_TEMPLATE.to_owned();
    let sections = vocabulary.sections()?;
    let go_on = |_| ControlFlow::Continue(());
    let quantised =
        quantise(&mut checkpoint.weights(), mix, 32, &[vec![1, 50, 60, 70, 80]], go_on).expect("finite weights");
    let options = Options::default().mix(mix);
    convert_quantised(&checkpoint, &sections, &quantised, options, |_| ControlFlow::Continue(()), out)?;
    Ok(())
}

/// A saved session of five tokens.
fn saved_session(model: &Path) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let file = fs::read(model)?;
    let mut source = Bytes::copied(&file);
    let model = block_on(Model::open(&mut source)).expect("a sound model");
    let mut memory = vec![0; 1 << 18];
    let mut session = Session::new(&model, source, Memory::internal(&mut memory), &PlanOptions::default())?;
    session.push(&[1, 50, 60, 70, 80]).expect("tokens of the vocabulary");
    block_on(session.logits(|_| ())).expect("a sound model");
    let mut saved = Vec::new();
    session.save(|bytes| {
        saved.extend(bytes);
        Ok::<_, std::convert::Infallible>(())
    })?;
    Ok(saved)
}

/// A model whose tokens are the bytes: raw ones for Qwen, spelled in hexadecimal for Llama.
fn gguf_file(attention: AttentionExtras) -> Vec<u8> {
    use gguf::Value;

    let tokens: Vec<String> = match attention.qk_norm {
        true => ('!'..='~').map(String::from).chain(["ab".to_owned()]).collect(),
        false => (0..256).map(|byte| format!("<0x{byte:02X}>")).chain(["a", "b", "ab"].map(String::from)).collect(),
    };
    let vocab_size = tokens.len() as u32;
    let config = LlamaConfig { hidden_size: 32, intermediate_size: 32, n_heads: 4, vocab_size, ..config(attention) };
    let (mut file, _) = gguf::random(&config, 1);
    let kind = |token: &String| if token.starts_with("<0x") { 6 } else { 1 };
    file.set("tokenizer.ggml.token_type", Value::I32s(tokens.iter().map(kind).collect()));
    if attention.qk_norm {
        file.set("tokenizer.ggml.model", Value::Text("gpt2".to_owned()));
        file.set("tokenizer.ggml.pre", Value::Text("qwen2".to_owned()));
        file.set("tokenizer.ggml.merges", Value::Texts(vec!["a b".to_owned()]));
    } else {
        file.set("tokenizer.ggml.model", Value::Text("llama".to_owned()));
        file.set("tokenizer.ggml.scores", Value::F32s((0..tokens.len()).map(|rank| -(rank as f32)).collect()));
        file.set("llama.rope.scaling.factor", Value::F32(2.0));
        file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    }
    file.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    file.to_bytes()
}

/// A file system of `clusters` clusters of one block each, with two files.
fn volume(clusters: usize) -> std::io::Result<Vec<u8>> {
    let mut volume = vec![0; (clusters + 1200) * SECTOR_LEN];
    fatfs::format_volume(Cursor::new(&mut volume[..]), fatfs::FormatVolumeOptions::new().bytes_per_cluster(512))?;
    let files = fatfs::FileSystem::new(Cursor::new(&mut volume[..]), fatfs::FsOptions::new())?;
    for name in ["Ein größeres Modell.rillm", "b.rillm"] {
        files.root_dir().create_file(name)?.write_all(&[b'x'; 1500])?;
    }
    files.unmount()?;
    Ok(volume)
}

/// FAT16 and FAT32 on primary partitions of an MBR, on its logical partitions, and on a GPT.
fn partitions() -> std::io::Result<Vec<u8>> {
    let (fat16, fat32) = (volume(4200)?, volume(67_000)?);
    let starts = [64, 6000, 80_000];
    let mut card = vec![0; starts[2] * SECTOR_LEN + fat16.len()];
    for (start, volume) in starts.into_iter().zip([&fat16, &fat32, &fat16]) {
        card[start * SECTOR_LEN..][..volume.len()].copy_from_slice(volume);
    }
    for (table, index, kind, start) in [
        (0, 0, 0x0c, 64),
        (0, 1, 0x0f, 50),
        (0, 2, 0xee, 1),
        (50, 0, 0x0c, 5950),
        (50, 1, 0x05, 5),
        (55, 0, 0x06, 79_945),
    ] {
        let at = table * SECTOR_LEN;
        card[at + 446 + 16 * index + 4] = kind;
        card[at + 446 + 16 * index + 8..][..4].copy_from_slice(&u32::to_le_bytes(start));
        card[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
    }
    // The signature of the header, the place, number and length of its entries, then the last entry.
    card[SECTOR_LEN..][..8].copy_from_slice(b"EFI PART");
    for (at, value) in [(72, 2), (80, 8), (84, 128)] {
        card[SECTOR_LEN + at] = value;
    }
    let last = 2 * SECTOR_LEN + 7 * 128;
    card[last] = 1;
    card[last + 32..last + 36].copy_from_slice(&u32::to_le_bytes(starts[1] as u32));
    Ok(card)
}

/// The non-zero blocks of a card, each after its number.
fn blocks(card: &[u8]) -> Vec<u8> {
    let blocks = card.chunks(SECTOR_LEN).enumerate().filter(|(_, block)| block.iter().any(|&byte| byte != 0));
    blocks.flat_map(|(number, block)| [&(number as u32).to_le_bytes(), block].concat()).collect()
}
