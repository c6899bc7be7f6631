//! The bodies of the fuzz targets, as functions that tests can call as well: see `tests/corpus.rs`.
//!
//! Each one takes untrusted input. It panics if rillm panics or violates a guarantee.

pub mod card;
mod encode;

use std::io::Write;
use std::sync::OnceLock;

use rillm::format::crc32;
use rillm::{Bytes, Chat, Memory, Model, PlanOptions, Q16, SECTOR_LEN, Sampling, Session, WeightSource, block_on};
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::gguf::Gguf;
use rillm_convert::vocabulary::{Algorithm, Vocabulary};

use encode::Encoding;

/// A target with its name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("rillm_file", rillm_file),
    ("saved_session", saved_session),
    ("prompt", prompt),
    ("tokenizer_json", tokenizer_json),
    ("gguf", gguf),
    ("card", card::card),
];

/// A `.rillm` file: opens, plans and runs it, streamed and memory-mapped. Corrects the header's checksum first, so that
/// the code behind it is reached.
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
    let options = PlanOptions::default().context(8).candidates(8);
    let mut memory = vec![0; 1 << 20];
    let Ok(mut session) = Session::new(&model, source, Memory::internal(&mut memory), &options) else { return };
    session.set_check_every(2);
    // A failed call may be repeated without harm.
    if let Ok(mut chat) = block_on(Chat::new(&mut session, Some("S"))) {
        let _ = block_on(chat.ask(&mut session, "Once"));
        chat.make_room(&mut session);
    }
    let _ = block_on(session.push_text("Once"));
    let _ = session.push(&[0]);
    write_two(&model, &mut session);
}

fn write_two<S: WeightSource>(model: &Model, session: &mut Session<'_, S>) {
    let mut decoder = model.tokenizer().decoder();
    for sampling in [Sampling::GREEDY, Sampling::GREEDY.temperature(Q16::ONE).top_k(4).seed(7)] {
        if let Ok(token) = block_on(session.next(&sampling)) {
            let _: usize = decoder.push(token.kind, token.text).into_iter().map(str::len).sum();
        }
    }
}

/// A saved session of a valid model: restores and continues it. Corrects its signature and checksums first.
pub fn saved_session(data: &[u8]) {
    static MODEL: &[u8] = include_bytes!("../corpus/rillm_file/llama");
    const HEAD: usize = 28;
    let mut file = data.to_vec();
    let Some(body) = file.len().checked_sub(4).filter(|&body| body >= HEAD) else { return };
    file[..12].copy_from_slice(b"RILLS\x1a\r\n\x01\0\0\0");
    file[12..16].copy_from_slice(&MODEL[SECTOR_LEN - 4..SECTOR_LEN]);
    for at in [HEAD - 4, body] {
        let checksum = crc32(&file[..at]);
        file[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    let mut source = Bytes::copied(MODEL);
    let model = block_on(Model::open(&mut source)).expect("a sound model");
    let options = PlanOptions::default().candidates(8);
    let mut memory = vec![0; 1 << 18];
    let mut session = Session::new(&model, source, Memory::internal(&mut memory), &options).expect("enough memory");
    let mut rest = &file[..];
    let restored = session.restore(|bytes| {
        let (read, left) = rest.split_at_checked(bytes.len()).ok_or(())?;
        bytes.copy_from_slice(read);
        rest = left;
        Ok::<_, ()>(())
    });
    assert!(restored.is_ok() || session.tokens().is_empty());
    write_two(&model, &mut session);
}

/// A prompt: the first byte selects the tokenizer and the number of tokens fetched at a time, the rest is the text.
pub fn prompt(data: &[u8]) {
    static TOKENIZERS: OnceLock<Vec<Encoding>> = OnceLock::new();
    let tokenizers = TOKENIZERS.get_or_init(|| TOKENIZERS_JSON.map(|json| Encoding::of(vocabulary(json))).into());
    let Some((&choice, text)) = data.split_first() else { return };
    let (which, batch) = (usize::from(choice) % tokenizers.len(), usize::from(choice) / tokenizers.len() % 7 + 1);
    let text = String::from_utf8_lossy(text);
    let tokens = tokenizers[which].encode(&text, 7).expect("a sound tokenizer takes every text");
    let again = tokenizers[which].encode(&text, batch).expect("a sound tokenizer takes every text");
    assert_eq!(tokens, again, "in batches of {batch}");
    if which < LOSSLESS {
        assert_eq!(tokenizers[which].decode(&tokens), text);
    }
}

/// The tokenizers of [`prompt`].
const TOKENIZERS_JSON: [&[u8]; 6] = [
    include_bytes!("../tokenizers/gpt2.json"),
    include_bytes!("../tokenizers/smollm2.json"),
    include_bytes!("../tokenizers/llama3.json"),
    include_bytes!("../tokenizers/qwen2.json"),
    include_bytes!("../tokenizers/bert.json"),
    include_bytes!("../../crates/rillm-convert/tests/tiny_tokenizer.json"),
];
/// Number of tokenizers, from the first on, that decode to exactly the text that was encoded.
const LOSSLESS: usize = 3;

fn vocabulary(json: &[u8]) -> Vocabulary {
    Vocabulary::from_tokenizer_json(json, None, 1024).expect("a tokenizer that rillm reads")
}

/// A GGUF file: reads its tensors as float32, and its tokenizer, which is converted and used.
pub fn gguf(data: &[u8]) {
    let Ok(file) = Gguf::parse(data) else { return };
    if let Ok(vocabulary) = Vocabulary::from_gguf(&file, 4096) {
        lay_out(vocabulary);
    }
    // Checkpoints are memory-mapped, so this needs a file.
    let mut mapped = tempfile::NamedTempFile::new().expect("a file");
    mapped.write_all(data).expect("a file");
    let Ok(checkpoint) = Checkpoint::open(mapped.path()) else { return };
    for (kind, layer) in checkpoint.config().tensors() {
        let (_, cols) = checkpoint.config().shape(kind);
        checkpoint.rows(kind, layer, 0..1, &mut vec![0.0; cols]);
    }
}

/// A `tokenizer.json`: reads, converts and uses it.
pub fn tokenizer_json(data: &[u8]) {
    let Ok(vocabulary) = Vocabulary::from_tokenizer_json(data, None, 4096) else { return };
    lay_out(vocabulary);
}

/// Checks that the engine reads what the converter writes.
fn lay_out(vocabulary: Vocabulary) {
    // WordPiece needs a table of all of Unicode, which takes seconds. `prompt` has one.
    if matches!(vocabulary.algorithm, Algorithm::Pieces(_)) {
        return;
    }
    if vocabulary.sections().is_ok() {
        let encoding = Encoding::of(vocabulary);
        encoding.encode("Once upon a time, 1987 ▁ été 🦊\r\n\t<s></s>", 3).expect("a tokenizer that was laid out");
    }
}
