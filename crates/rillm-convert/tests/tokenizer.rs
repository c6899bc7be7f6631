//! The engine's tokens are those of the `tokenizers` library, through the section's bytes and sector reads.

use crate::support;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Decoder, Error, SECTOR_LEN};
use rillm_convert::vocabulary::{TokenKind, Vocabulary};
use serde_json::{Value, json};
use tokenizers::Tokenizer as Reference;

use crate::support::engine::{Engine, FIRST, Memory, Random, decode, vocab_size};
use crate::support::texts::{ENGLISH, OTHER, strings};

const TINY: &str = include_str!("tiny_tokenizer.json");

/// A model's folder outside of the repository, if it is there.
fn shared(model: &str) -> Option<PathBuf> {
    let folder = support::shared()?.join("models").join(model);
    if !folder.exists() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

/// Strings of words, marks, spaces and characters of every plane. `pieces` are the tokenizer's.
struct Strings<'a> {
    random: Random,
    words: Vec<&'a str>,
    pieces: Vec<&'a str>,
}

impl<'a> Strings<'a> {
    fn new(pieces: &'a [String], seed: u64) -> Self {
        let words = ENGLISH.split_inclusive(' ').chain(OTHER.split_inclusive(' '));
        Self { random: Random(seed), words: words.collect(), pieces: pieces.iter().map(String::as_str).collect() }
    }

    fn next(&mut self) -> String {
        const MARKS: [&str; 14] = [
            "<s>", "</s>", "<unk>", " <s>", "</s> ", "<s", "<|end|>", "Day", " Day", "<s>x y", " <s>x y", "<0x0A>",
            "<0x41", "▁<s>",
        ];
        const SPACES: [&str; 8] = [" ", "  ", "    ", "\n", "\t", "\n\n", "▁", "\u{a0}"];
        let mut text = String::new();
        for _ in 0..self.random.below(12) {
            let random = &mut self.random;
            match random.below(10) {
                0 => text += random.pick(&MARKS),
                1 => text += random.pick(&SPACES),
                2 => text += &" ".repeat(random.below(40)),
                3 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
                4 => text.extend(char::from_u32(random.below(0x3000) as u32)),
                5 => text += random.pick(&self.pieces),
                6 => text += &random.pick(&self.pieces).replace('▁', " "),
                7 => {
                    // A word of letters, now and then a very long one.
                    let len = [3, 12, 60, 300][random.below(40).min(3)];
                    let alphabet = ["ab", "aeiou nrst", "abcdefghijklmnopqrstuvwxyz", "=-", "thein"];
                    let letters: Vec<_> = random.pick(&alphabet).chars().collect();
                    text.extend((0..random.below(len)).map(|_| random.pick(&letters)));
                }
                _ => text += random.pick(&self.words),
            }
        }
        text
    }
}

/// Both tokenizers of a `tokenizer.json` on many strings.
fn assert_same(name: &str, json: &Value, strings: usize) {
    let bytes = serde_json::to_vec(json).unwrap();
    let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(json)).unwrap();
    let reference = Reference::from_bytes(&bytes).unwrap();
    let mut engine = Engine::of(&vocabulary);
    let mut source = Strings::new(&vocabulary.pieces, 0x5eed);
    for _ in 0..strings {
        let text = source.next();
        let expected = reference.encode_fast(text.as_str(), true).unwrap();
        let ids = engine.encode(&text).unwrap();
        assert_eq!(ids, expected.get_ids(), "{name}: {text:?}");
        assert_decodes(name, &vocabulary, &reference, &ids);
    }
    for text in [ENGLISH, OTHER] {
        let ids = engine.encode(text).unwrap();
        assert_eq!(ids, reference.encode_fast(text, true).unwrap().get_ids(), "{name}");
        let decoded = decode(&vocabulary, engine.tokenizer.decoder(), &ids);
        assert_eq!(decoded, text.replace('▁', " "), "{name}");
    }
}

fn assert_decodes(name: &str, vocabulary: &Vocabulary, reference: &Reference, ids: &[u32]) {
    let decoder = Decoder::new(vocabulary.strip_space);
    // Left out by hand: the library does not see that a token is special once it is `normalized`.
    let is_mark = |id: &u32| {
        let mut added = vocabulary.added.iter();
        added.any(|added| added.special && added.id == *id)
    };
    let text: Vec<u32> = ids.iter().copied().filter(|id| !is_mark(id)).collect();
    assert_eq!(decode(vocabulary, decoder.clone(), ids), reference.decode(&text, false).unwrap(), "{name}: {ids:?}");
    assert_eq!(
        decode(vocabulary, decoder.show_control_tokens(), ids),
        reference.decode(ids, false).unwrap(),
        "{name}: {ids:?}"
    );
}

fn with_normalized(json: &Value, normalized: bool) -> Value {
    let mut json = json.clone();
    for token in json["added_tokens"].as_array_mut().unwrap() {
        token["normalized"] = normalized.into();
    }
    json
}

/// Every treatment of spaces that is supported.
fn variants(json: &Value) -> Vec<(String, Value)> {
    let mut variants = vec![("as it is".into(), json.clone()), ("not normalized".into(), with_normalized(json, false))];
    let mut replace_only = json.clone();
    replace_only["normalizer"] = json["normalizer"]["normalizers"][1].clone();
    variants.push(("no prefix".into(), replace_only));
    for scheme in ["always", "first", "never"] {
        for split in [false, true] {
            for normalized in [false, true] {
                let mut metaspace = with_normalized(json, normalized);
                metaspace["normalizer"] = Value::Null;
                metaspace["pre_tokenizer"] =
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
                variants.push((format!("Metaspace {scheme} {split} {normalized}"), metaspace));
            }
        }
    }
    variants
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn tiny() {
    let json: Value = serde_json::from_str(TINY).unwrap();
    for (name, json) in variants(&json) {
        assert_same(&name, &json, strings() / 10);
    }
    // A piece with a space inside: words can't be cut at spaces.
    let mut inner = json;
    let vocab = inner["model"]["vocab"].as_object_mut().unwrap();
    let len = vocab.len();
    vocab.insert("he▁t".into(), len.into());
    vocab.insert("e▁t".into(), (len + 1).into());
    for token in inner["added_tokens"].as_array_mut().unwrap() {
        let id = token["id"].as_u64().unwrap();
        token["id"] = (id + 2 * u64::from(id >= len as u64)).into();
    }
    let merges = inner["model"]["merges"].as_array_mut().unwrap();
    merges.insert(1, "e ▁t".into());
    merges.insert(9, "h e▁t".into());
    assert_same("space inside", &inner, strings() / 10);
}

#[test]
fn bundled() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../models");
    let models = std::fs::read_dir(root).into_iter().flatten().flatten();
    let files: Vec<_> = models.map(|entry| entry.path().join("tokenizer.json")).filter(|file| file.exists()).collect();
    if files.is_empty() {
        println!("skipped: no {root}/*/tokenizer.json");
    }
    for file in files {
        assert_same(&file.display().to_string(), &read_json(&file), strings());
    }
}

#[test]
fn stories260k() {
    let Some(folder) = shared("stories260K") else {
        return;
    };
    let json = read_json(&folder.join("tokenizer.json"));
    assert_same("stories260K", &json, strings());
    assert_same("stories260K", &with_normalized(&json, false), strings());
}

#[test]
fn llama2() {
    let Some(folder) = shared("tiny-llm-synth") else {
        return;
    };
    let json = read_json(&folder.join("tokenizer.json"));
    assert_same("Llama 2", &json, strings());
}

#[test]
fn llama2_not_normalized() {
    let Some(folder) = shared("tiny-llm-synth") else {
        return;
    };
    let json = read_json(&folder.join("tokenizer.json"));
    assert_same("Llama 2", &with_normalized(&json, false), strings());
}

/// The sentencepiece and llama2.c files of one tokenizer are read as its JSON file is.
#[test]
fn other_files() {
    for (model, size) in [("stories260K", 512), ("tiny-llm-synth", 32_000)] {
        let Some(folder) = shared(model) else { return };
        let open = |file: &str| Vocabulary::open(&folder.join(file), size).unwrap();
        let expected = open("tokenizer.json");
        let mut engine = Engine::of(&expected);
        let by_score = open("tokenizer.model");
        // Marks are found in other ways, which `beside.rs` tests.
        for (token, expected) in by_score.tokens.iter().zip(&expected.tokens) {
            let is_mark = matches!(expected.kind, TokenKind::Control | TokenKind::Unknown);
            assert!(token == expected || is_mark && token.kind == expected.kind, "{token:?} {expected:?}");
        }
        assert_eq!((by_score.bos, by_score.unk), (expected.bos, expected.unk));
        let mut sentencepiece = Engine::of(&by_score);
        let mut llama2c = folder.join("tok512.bin").exists().then(|| Engine::of(&open("tok512.bin")));
        let mut source = Strings::new(&expected.pieces, 0xb1e);
        for _ in 0..strings() / 2 {
            let text = source.next();
            if ["<s>", "</s>", "<unk>"].iter().any(|mark| text.contains(mark)) {
                continue;
            }
            let ids = engine.encode(&text).unwrap();
            assert_eq!(sentencepiece.encode(&text).unwrap(), ids, "{model}: {text:?}");
            if let Some(llama2c) = &mut llama2c {
                assert_eq!(llama2c.encode(&text).unwrap(), ids, "{model}: {text:?}");
            }
        }
    }
}

/// Words far longer than the memory for one.
#[test]
fn long_words() {
    let mut jsons = vec![serde_json::from_str::<Value>(TINY).unwrap()];
    for model in ["stories260K", "tiny-llm-synth"] {
        jsons.extend(shared(model).map(|folder| read_json(&folder.join("tokenizer.json"))));
    }
    for json in jsons {
        let bytes = serde_json::to_vec(&json).unwrap();
        let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap();
        let reference = Reference::from_bytes(&bytes).unwrap();
        let mut engine = Engine::of(&vocabulary);
        let mut random = Random(77);
        let prose: String = ENGLISH.chars().filter(|c| c.is_alphabetic()).collect();
        let mut texts = vec![prose.repeat(4), " ".repeat(5000), "国".repeat(3000), "ab".repeat(2000)];
        for c in ["a", "=", "0", "th", "the", "ing", "-", "an"] {
            texts.push(c.repeat(1500));
        }
        for alphabet in ["abcdefghijklmnopqrstuvwxyz", "ab", "thein", "ACGT", "0123456789abcdef"] {
            let letters: Vec<_> = alphabet.chars().collect();
            texts.push((0..4000).map(|_| random.pick(&letters)).collect());
        }
        for text in texts {
            let expected = reference.encode_fast(text.as_str(), true).unwrap();
            assert_eq!(engine.encode(&text).unwrap(), expected.get_ids(), "{text}");
        }
    }
}

/// Eight times the spaces take about eight times as long, not sixty-four times.
#[test]
fn many_spaces_take_time_in_proportion() {
    let json: Value = serde_json::from_str(TINY).unwrap();
    let vocabulary = Vocabulary::from_tokenizer_json(TINY.as_bytes(), None, vocab_size(&json)).unwrap();
    let mut engine = Engine::of(&vocabulary);
    let mut time = |len| {
        let (text, start) = (" ".repeat(len), Instant::now());
        engine.encode(&text).unwrap();
        start.elapsed()
    };
    let (short, long) = (time(20_000), time(160_000));
    assert!(long < 24 * short, "{short:?}, then {long:?}");
}

/// Whatever the section holds: an error or some tokens.
#[test]
fn damaged_sections() {
    let json: Value = serde_json::from_str(TINY).unwrap();
    let size = vocab_size(&json);
    let vocabulary = Vocabulary::from_tokenizer_json(TINY.as_bytes(), None, size).unwrap();
    let section = vocabulary.section().unwrap();
    let text = "Once<|end|> and then <s>x y the中国人</s> Dayé, 🦙  ===== ";
    let (mut refused, mut changed) = (0, 0);
    let expected = Engine::open(&section, size).unwrap().encode(text).unwrap();
    for at in 0..section.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = section.clone();
            damaged[at] ^= flip;
            match Engine::open(&damaged, size).and_then(|mut engine| engine.encode(text)) {
                Err(Error::Format(error)) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
                Err(error) => panic!("byte {at}: {error}"),
                Ok(ids) => changed += usize::from(ids != expected),
            }
        }
    }
    assert!(refused > 100 && changed > 100, "{refused} refused, {changed} changed");
    for len in 0..section.len() {
        assert!(Engine::open(&section[..len], size).is_err(), "{len} bytes");
    }
    // The file ends before the section does.
    let mut engine = Engine::open(&section, size).unwrap();
    for sectors in 0..section.len() / SECTOR_LEN {
        let mut source = Memory(vec![0; (FIRST + sectors) * SECTOR_LEN]);
        source.0[FIRST * SECTOR_LEN..].copy_from_slice(&section[..sectors * SECTOR_LEN]);
        let mut encoder = engine.tokenizer.encoder(text, true, &mut engine.scratch);
        assert!(rillm::block_on(encoder.fill(&mut source, &mut [0; 99])).is_err());
    }
}

#[test]
fn memory() {
    let vocabulary =
        Vocabulary::from_tokenizer_json(TINY.as_bytes(), None, vocab_size(&serde_json::from_str(TINY).unwrap()))
            .unwrap();
    let mut engine = Engine::of(&vocabulary);
    let mut encoder = engine.tokenizer.encoder("", true, &mut engine.scratch);
    let (encoder_len, mut out) = (size_of_val(&encoder), [0; 8]);
    let future = encoder.fill(&mut engine.source, &mut out);
    let parts = [size_of::<Scratch>(), size_of::<Tokenizer>(), encoder_len, size_of_val(&future)];
    println!("scratch, tokenizer, encoder, future: {parts:?} bytes");
    assert!(parts.iter().sum::<usize>() <= 8192, "{parts:?}");
}

/// Prints what the lookups of ordinary text cost.
#[test]
fn reads() {
    for (model, size) in [("stories260K", 512), ("tiny-llm-synth", 32_000)] {
        let Some(folder) = shared(model) else { return };
        let vocabulary = Vocabulary::open(&folder, size).unwrap();
        let section = vocabulary.section().unwrap();
        let mut engine = Engine::of(&vocabulary);
        let opened = engine.source.traffic().reads;
        let tokens = engine.encode(ENGLISH).unwrap().len();
        let reads = engine.source.traffic().reads - opened;
        println!(
            "{model}: a section of {} bytes, {} merges, at most {} and {} sectors a lookup; {tokens} tokens, {reads} \
             sectors, {:.1} a token",
            section.len(),
            vocabulary.merges.len(),
            section[32],
            section[40],
            reads as f64 / tokens as f64
        );
        assert!(section.len() < 1_200_000);
        assert!(reads < 12 * tokens as u64);
    }
}

/// What a tokenizer can't be converted for, by name.
#[test]
fn refusals() {
    let json: Value = serde_json::from_str(TINY).unwrap();
    let refusal = |path: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(path).unwrap() = value;
        let bytes = serde_json::to_vec(&json).unwrap();
        let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, 3000);
        vocabulary.unwrap_err().to_string()
    };
    for (path, value, field) in [
        ("/model/type", json!("Unigram"), "type of model is \"Unigram\""),
        ("/model/byte_fallback", json!(false), "byte_fallback of model is false"),
        ("/model/dropout", json!(0.1), "dropout of model is 0.1"),
        ("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix of model is \"</w>\""),
        ("/model/ignore_merges", json!(true), "ignore_merges of model is true"),
        ("/normalizer", json!({"type": "NFKC"}), "normalizer is {\"type\":\"NFKC\"}"),
        ("/pre_tokenizer", json!({"type": "ByteLevel"}), "supports none or NFC, where bytes are merged"),
        ("/decoder", json!({"type": "ByteLevel"}), "decoder is {\"type\":\"ByteLevel\"}"),
        ("/post_processor", json!({"type": "BertProcessing"}), "post_processor is"),
        ("/added_tokens/1/lstrip", json!(true), "lstrip of the added token \"<s>\" is true"),
        ("/model/vocab/a", json!(3000), "token 3000"),
    ] {
        let message = refusal(path, value);
        assert!(message.contains(field), "{message}");
    }
    let small = Vocabulary::from_tokenizer_json(TINY.as_bytes(), None, 100).unwrap_err();
    assert!(small.to_string().contains("ends at 100"), "{small}");
    let padded = Vocabulary::from_tokenizer_json(TINY.as_bytes(), None, 1000).unwrap();
    assert_eq!(padded.tokens.len(), 1000);
    assert!(padded.tokens[999].text.is_empty());
    for bytes in [&b"\x0a\x05ab"[..], b"\xff", b"\x0a\x03\x0a\x01a"] {
        assert!(Vocabulary::from_sentencepiece(bytes, None, 100).is_err());
    }
    assert!(Vocabulary::from_llama2c(b"\x01\0\0\0\0\0\0\0\xff\0\0\0a", 100).is_err());
}
