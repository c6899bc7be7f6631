//! The bodies of the fuzz targets, as functions that a test can call, too: see `tests/corpus.rs`.
//!
//! Each takes what a stranger may give to rillm and panics where rillm does, or where it breaks a promise.

mod encode;

use std::io::Write;
use std::sync::OnceLock;

use pollster::block_on;
use rillm::format::crc32;
use rillm::model::Model;
use rillm::plan::PlanOptions;
use rillm::sampler::{Q16, Sampling};
use rillm::session::Session;
use rillm::source::{SECTOR_LEN, WeightSource};
use rillm::sources::Bytes;
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::gguf::Gguf;
use rillm_convert::vocabulary::Vocabulary;

use encode::Encoding;

/// A target, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 4] =
    [("rillm_file", rillm_file), ("prompt", prompt), ("tokenizer_json", tokenizer_json), ("gguf", gguf)];

/// A `.rillm` file: opened, planned and run, streamed and lent. The header's checksum is made right first, so that what
/// lies behind it is reached.
pub fn rillm_file(data: &[u8]) {
    let mut file = data.to_vec();
    if let Some(header) = file.first_chunk_mut::<SECTOR_LEN>() {
        let checksum = crc32(&header[..SECTOR_LEN - 4]);
        header[SECTOR_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
    }
    run(Bytes::copied(&file));
    run(Bytes::lent(&file));
}

fn run<S: WeightSource>(mut source: S) {
    let Ok(model) = block_on(Model::open(&mut source)) else { return };
    let options = PlanOptions { context: Some(8), candidates: 8, check_every: 2, ..PlanOptions::new(1 << 20) };
    let mut memory = vec![0; options.ram];
    let Ok(mut session) = Session::new(&model, source, &options, &mut memory) else { return };
    // What fails may be tried again: nothing is to break by it.
    let _ = block_on(session.push_text("Once"));
    let _ = session.push(&[0]);
    let mut decoder = model.tokenizer().decoder();
    for sampling in [Sampling::GREEDY, Sampling { temperature: Q16::ONE, top_k: 4, seed: 7, ..Sampling::GREEDY }] {
        if let Ok(token) = block_on(session.next(&sampling)) {
            let _: usize = decoder.push(token.kind, token.text).into_iter().map(str::len).sum();
        }
    }
}

/// A prompt: the first byte chooses the tokenizer and how many tokens are asked for at a time, the rest is the text.
pub fn prompt(data: &[u8]) {
    static TOKENIZERS: OnceLock<Vec<Encoding>> = OnceLock::new();
    let tokenizers = TOKENIZERS.get_or_init(|| TOKENIZERS_JSON.map(|json| Encoding::of(&vocabulary(json))).into());
    let Some((&choice, text)) = data.split_first() else { return };
    let (which, batch) = (usize::from(choice) % tokenizers.len(), usize::from(choice) / tokenizers.len() % 7 + 1);
    let text = String::from_utf8_lossy(text);
    let tokens = tokenizers[which].encode(&text, 7).expect("a sound tokenizer takes every text");
    let again = tokenizers[which].encode(&text, batch).expect("a sound tokenizer takes every text");
    assert_eq!(tokens, again, "in batches of {batch}");
}

/// The tokenizers of [`prompt`].
const TOKENIZERS_JSON: [&[u8]; 1] = [include_bytes!("../../crates/rillm-convert/tests/tiny_tokenizer.json")];

fn vocabulary(json: &[u8]) -> Vocabulary {
    Vocabulary::from_tokenizer_json(json, None, 1024).expect("a tokenizer that rillm reads")
}

/// A GGUF file: its tensors as float32, and its tokenizer, laid out and used.
pub fn gguf(data: &[u8]) {
    let Ok(file) = Gguf::parse(data) else { return };
    if let Ok(vocabulary) = Vocabulary::from_gguf(&file, 4096) {
        lay_out(&vocabulary);
    }
    // A checkpoint is mapped.
    let mut mapped = tempfile::NamedTempFile::new().expect("a file");
    mapped.write_all(data).expect("a file");
    let Ok(checkpoint) = Checkpoint::open(mapped.path()) else { return };
    for (kind, layer) in checkpoint.config().tensors() {
        let (_, cols) = checkpoint.config().shape(kind);
        checkpoint.rows(kind, layer, 0..1, &mut vec![0.0; cols]);
    }
}

/// A `tokenizer.json`: read, laid out, and used.
pub fn tokenizer_json(data: &[u8]) {
    let Ok(vocabulary) = Vocabulary::from_tokenizer_json(data, None, 4096) else { return };
    lay_out(&vocabulary);
}

/// What the converter lays out, the engine reads.
fn lay_out(vocabulary: &Vocabulary) {
    if vocabulary.sections().is_ok() {
        let encoding = Encoding::of(vocabulary);
        encoding.encode("Once upon a time, 1987 ▁ été 🦊\r\n\t<s></s>", 3).expect("a tokenizer that was laid out");
    }
}
