//! Byte-level tokenizers of every kind that is supported: the engine's tokens and texts are the `tokenizers` library's.

use crate::support;
use std::sync::LazyLock;

use rayon::prelude::*;
use rillm::{Decoder, Error};
use rillm_convert::vocabulary::{Algorithm, Vocabulary};
use serde_json::{Value, json};
use tokenizers::Tokenizer as Reference;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Model, TokenizerImpl};

use crate::support::engine::{Engine, Random, decode, vocab_size};
use crate::support::texts::strings;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const ENGLISH: &str = "The library stood at the end of a narrow street, and nobody in town remembered who'd built it. \
    Every morning at eight o'clock Mrs. Hargreaves unlocked the heavy door, hung up her coat and put the kettle on; \
    every evening at six she'd lock it again. \"You can't run a library on 12 visitors a day,\" the council wrote in \
    1987; they'll close it, we've heard, and I'm afraid you're next. IT'S TRUE, THEY'LL DO IT.\n\nWhen the river rose \
    that spring, the cellar flooded first.  She carried what she could: the atlases, the parish records (1642-1911), \
    200 volumes of natural history.\tThe rest floated.\r\n";
const CODE: &str = "fn main() {\n    let x = 0x1F; // dé́jà\n\tif a[i] != b->c && !d {\n\t\tprintln!(\"{:?}\\n\", &x);\n    }\n}\n\n\n\
    def f(self, *args, **kwargs):\n        return {k: v for k, v in zip(args, kwargs)}  # done\n\n<a href=\"#\">x</a>";
const OTHER: &str = "Das Übermaß an Größe, naïve façade, Être où ça? Привет, как дела? 你好,世界。日本語のテキストです。\
    한국어 텍스트 ᄒᆞᆫ글 مرحبا بالعالم، ٢٠٢٤ שָׁלוֹם עולם नमस्ते दुनिया १२३ สวัสดี 👩‍👩‍👧‍👦🏳️‍🌈 e\u{301}a\u{300}\u{323} ½ ² Ⅷ ﬁ \
    Ω Å が ガ क़ ſ 'ſ K\u{1}\u{7f}\u{85}\u{200b}\u{2028}\u{feff} ▁▁x \u{3000}。";

/// A tokenizer trained on the texts above, with `pre_tokenizer` and what else `change` makes of it.
fn trained(pre_tokenizer: Value, change: impl FnOnce(&mut Value)) -> Value {
    static MODEL: LazyLock<Value> = LazyLock::new(|| {
        let mut trainer = BpeTrainer::builder()
            .vocab_size(700)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from("<|end|>", true)])
            .build();
        let mut tokenizer: TokenizerImpl<BPE, tokenizers::NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel> =
            TokenizerImpl::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        tokenizer.train(&mut trainer, [ENGLISH, CODE, OTHER].into_iter()).unwrap();
        assert!(tokenizer.get_model().get_vocab_size() > 600);
        serde_json::to_value(&tokenizer).unwrap()
    });
    let mut json = MODEL.clone();
    json["pre_tokenizer"] = pre_tokenizer;
    json["post_processor"] =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    json["decoder"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let len = vocab_size(&json);
    let added = json["added_tokens"].as_array_mut().unwrap();
    for (place, (content, special)) in
        [("<|im_start|>", true), ("<|im_start|>user", false), ("<tool>", false), ("  x y", false)]
            .into_iter()
            .enumerate()
    {
        added.push(json!({
            "id": len + place as u32, "content": content, "special": special, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        }));
    }
    change(&mut json);
    json
}

fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex})
}

fn sequence(first: Value, use_regex: bool) -> Value {
    json!({"type": "Sequence", "pretokenizers": [first, byte_level(false, use_regex)]})
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn digits(individual: bool) -> Value {
    json!({"type": "Digits", "individual_digits": individual})
}

fn gpt2() -> Value {
    trained(byte_level(false, true), |_| {})
}

fn smollm2() -> Value {
    trained(sequence(digits(true), true), |json| {
        // Bytes that the vocabulary lacks, as SmolLM2's does.
        for piece in ["Ĉ", "ñ", "Ł"] {
            rename(json, piece);
        }
    })
}

/// Takes a piece of one byte out of the vocabulary, without a gap in its numbers.
fn rename(json: &mut Value, piece: &str) {
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove(piece).unwrap();
    vocab.insert(format!("no text has {piece}"), id);
    json["model"]["merges"].as_array_mut().unwrap().retain(|merge| !merge.to_string().contains(piece));
}

/// With words that are tokens although no merges lead there, and a token before every text.
fn llama3() -> Value {
    trained(sequence(split(LLAMA3), false), |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let words: Vec<_> = vocab.keys().filter(|piece| piece.chars().count() > 3).cloned().collect();
        json["model"]["merges"].as_array_mut().unwrap().retain(|merge| {
            let merged = merge.to_string().replace(['[', ']', '"', ','], "");
            words.iter().position(|word| *word == merged).is_none_or(|place| place % 3 > 0)
        });
        json["model"]["ignore_merges"] = json!(true);
        json["post_processor"] = json!({"type": "Sequence", "processors": [
            byte_level(true, true),
            {"type": "TemplateProcessing", "single": [
                {"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            ], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}},
        ]});
    })
}

fn qwen2() -> Value {
    trained(sequence(split(&LLAMA3.replace("{1,3}", "")), false), |json| json["normalizer"] = json!({"type": "NFC"}))
}

/// The space that stands before what is said in a conversation is a character of the text, also for added tokens.
#[test]
fn a_space_before_what_is_said() {
    let json = trained(byte_level(false, true), |json| {
        let len = vocab_size(json);
        let added = json["added_tokens"].as_array_mut().unwrap();
        for (place, (content, normalized)) in
            [("aab", true), (" the", true), ("   ", true), (" on", false)].into_iter().enumerate()
        {
            added.push(json!({
                "id": len + place as u32, "content": content, "special": false, "normalized": normalized,
                "single_word": false, "lstrip": false, "rstrip": false,
            }));
        }
    });
    let bytes = serde_json::to_vec(&json).unwrap();
    let mut engine = Engine::of(&Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap());
    for text in ["a", "ab", "aab", "abx", "the", "theta", " the", "  x", "  x y", " x y", "on", "on on", "<tool>", " "]
    {
        let expected = engine.encode_plain(&format!(" {text}")).unwrap();
        assert_eq!(engine.encode_content(text, true).unwrap(), expected, "{text:?}");
        let expected = engine.encode_plain(text).unwrap();
        assert_eq!(engine.encode_content(text, false).unwrap(), expected, "{text:?}");
    }
}

/// Strings of words, marks, spaces, numbers, and characters of every plane.
fn string(random: &mut Random, words: &[&str]) -> String {
    const MARKS: [&str; 8] =
        ["<|end|>", "<|im_start|>", "<|im_start|>user", "<|im_start", "<tool>", "  x y", "<|end|><|im_start|>", "</s>"];
    const SPACES: [&str; 12] =
        [" ", "  ", "\n", "\t", "\n\n", "\r\n", " \n", "\n ", "\u{a0}", "\u{3000}", "\u{85}", "\u{2028}"];
    const APOSTROPHES: [&str; 12] = ["'s", "'S", "'ll", "'LL", "'Ve", "'re", "'r", "'l", "'", "'ſ", "'d", "''m"];
    const MARKED: [&str; 14] = [
        "e\u{301}",
        "\u{301}",
        "a\u{323}\u{302}",
        "a\u{302}\u{323}",
        "\u{1112}\u{1161}\u{11ab}",
        "\u{1112}\u{1161}",
        "\u{ac00}\u{11a8}",
        "\u{212b}",
        "\u{958}",
        "\u{9c7}\u{9be}",
        "か\u{3099}",
        "\u{1f71}\u{345}",
        "\u{2f81a}",
        "\u{5e9}\u{5c1}",
    ];
    // Of these blocks any character: Latin with marks, combining marks, Greek, Hebrew, Arabic, Indic, Hangul, kana, emoji.
    const BLOCKS: [(usize, usize); 12] = [
        (0, 0x80),
        (0x80, 0x250),
        (0x300, 0x370),
        (0x370, 0x530),
        (0x590, 0x700),
        (0x900, 0xe00),
        (0x1100, 0x1200),
        (0x1e00, 0x2000),
        (0x2000, 0x2200),
        (0x3000, 0x3100),
        (0xac00, 0xd7a4),
        (0x1f300, 0x1fb00),
    ];
    let mut text = String::new();
    for _ in 0..random.below(9) {
        match random.below(12) {
            0 => text += random.pick(&MARKS),
            1 | 2 => text += random.pick(&SPACES),
            3 => text += &" ".repeat(random.below(9)),
            4 => text += random.pick(&APOSTROPHES),
            5 => text += &random.below(100_000).to_string(),
            6 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            7 => text += random.pick(&MARKED),
            8 => {
                let (start, end) = random.pick(&BLOCKS);
                text.extend(
                    (0..random.below(6)).filter_map(|_| char::from_u32((start + random.below(end - start)) as u32)),
                );
            }
            _ => text += random.pick(words),
        }
    }
    text
}

/// The standard library, which `Digits` asks, may know more numerals than the pattern's Unicode version.
fn is_settled(text: &str) -> bool {
    static NUMERAL: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(r"^\p{N}$").unwrap());
    text.chars().all(|c| c.is_ascii() || c.is_numeric() == NUMERAL.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Both tokenizers of a `tokenizer.json` on many strings.
fn assert_same(json: &Value) {
    let bytes = serde_json::to_vec(json).unwrap();
    let size = vocab_size(json);
    let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, size + 5).unwrap();
    let section = vocabulary.section().unwrap();
    let reference = Reference::from_bytes(&bytes).unwrap();
    let mut plain_reference = reference.clone();
    plain_reference.set_encode_special_tokens(true);
    let words: Vec<_> = [ENGLISH, CODE, OTHER].into_iter().flat_map(|text| text.split_inclusive(' ')).collect();
    let check = |engine: &mut Engine, text: &str| {
        let expected = reference.encode_fast(text, true).unwrap();
        let ids = engine.encode(text).unwrap();
        assert_eq!(ids, expected.get_ids(), "{text:?}");
        let shown = decode(&vocabulary, Decoder::new(false).show_control_tokens(), &ids);
        assert_eq!(shown, reference.decode(&ids, false).unwrap(), "{text:?}");
        assert_eq!(
            decode(&vocabulary, engine.tokenizer.decoder(), &ids),
            reference.decode(&ids, true).unwrap(),
            "{text:?}"
        );
        let plain = engine.encode_plain(text).unwrap();
        assert_eq!(plain, plain_reference.encode_fast(text, true).unwrap().get_ids(), "plain {text:?}");
    };
    (0..strings() / 200).into_par_iter().for_each(|part| {
        let mut engine = Engine::open(&section, vocabulary.tokens.len() as u32).unwrap();
        let mut random = Random(0x5eed + part as u64);
        for _ in 0..200 {
            let text = string(&mut random, &words);
            if is_settled(&text) {
                check(&mut engine, &text);
            }
            // Tokens in any order, whole characters or not.
            let ids: Vec<u32> = (0..random.below(9)).map(|_| random.below(size as usize) as u32).collect();
            let decoded = decode(&vocabulary, Decoder::new(false).show_control_tokens(), &ids);
            assert_eq!(decoded, reference.decode(&ids, false).unwrap(), "{ids:?}");
        }
    });
    let mut engine = Engine::of(&vocabulary);
    for text in ["", " ", "\n", ENGLISH, CODE, OTHER, "<|end|>", "\0", "x<|end|>", " '", "'", "\u{301}"] {
        check(&mut engine, text);
        check(&mut engine, &text.chars().rev().collect::<String>());
    }
    // Words longer than the window.
    for text in
        [" ".repeat(2000), "\n".repeat(700), "國".repeat(500), "lock".repeat(300), "=".repeat(900), "\t \n".repeat(400)]
    {
        check(&mut engine, &text);
        check(&mut engine, &(text + "x"));
    }
}

#[test]
fn gpt2_pattern() {
    assert_same(&gpt2());
    assert_same(&trained(byte_level(true, true), |json| {
        for token in json["added_tokens"].as_array_mut().unwrap() {
            token["normalized"] = json!(true);
        }
    }));
}

#[test]
fn digits_apart() {
    assert_same(&smollm2());
    assert_same(&trained(sequence(digits(false), true), |json| {
        json["model"]["unk_token"] = json!("<|end|>");
        rename(json, "Ĉ");
    }));
}

#[test]
fn llama3_pattern_and_whole_words() {
    let json = llama3();
    let vocabulary = Vocabulary::from_tokenizer_json(json.to_string().as_bytes(), None, vocab_size(&json)).unwrap();
    assert!(matches!(vocabulary.algorithm, Algorithm::Bytes(byte_level) if byte_level.ignore_merges));
    assert_eq!((vocabulary.add_bos, vocabulary.bos), (true, Some(0)));
    assert_same(&json);
}

#[test]
fn qwen2_pattern_and_normal_form() {
    assert_same(&qwen2());
}

/// Real vocabularies, where they are there: what they encode to, and what that takes.
#[test]
fn real_vocabularies() {
    let Some(shared) = support::shared() else { return };
    for model in ["SmolLM2-135M-Instruct", "Llama-3.2-1B-Instruct", "Qwen2.5-0.5B-Instruct", "Qwen3-0.6B"] {
        let file = shared.join("models").join(model).join("tokenizer.json");
        let Ok(bytes) = std::fs::read(&file) else {
            println!("skipped: {} is not there", file.display());
            continue;
        };
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_same(&json);
        let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap();
        let mut engine = Engine::of(&vocabulary);
        for (name, text) in [("prose", ENGLISH), ("code", CODE), ("many scripts", OTHER)] {
            let before = engine.source.traffic();
            let (started, tokens) = (std::time::Instant::now(), engine.encode(text).unwrap().len());
            let (after, seconds) = (engine.source.traffic(), started.elapsed().as_secs_f64());
            println!(
                "{model}, {name}: {tokens} tokens, a token {:.1} reads, {:.1} seeks, {:.1} µs",
                (after.reads - before.reads) as f64 / tokens as f64,
                (after.seeks - before.seeks) as f64 / tokens as f64,
                seconds * 1e6 / tokens as f64,
            );
        }
    }
}

/// Whatever the section holds: an error or some tokens.
#[test]
fn damaged_sections() {
    let text = "x<|end|> The library\n's 1987 e\u{301}a\u{323}\u{302} \u{1112}\u{1161}\u{11ab} 👩‍👩‍👧  <tool>\u{958}";
    for json in [llama3(), qwen2()] {
        let bytes = json.to_string().into_bytes();
        let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap();
        let (section, size) = (vocabulary.section().unwrap(), vocabulary.tokens.len() as u32);
        let expected = Engine::open(&section, size).unwrap().encode(text).unwrap();
        let mut random = Random(5);
        let (mut refused, mut changed) = (0, 0);
        for round in 0..(4 * strings()).clamp(4000, 20_000) {
            // The header and the bytes more often than the tables.
            let at = random.below(if round % 2 == 0 { 2048 } else { section.len() });
            let mut damaged = section.clone();
            damaged[at] ^= random.pick(&[0x01, 0x80, 0xff]);
            match Engine::open(&damaged, size).and_then(|mut engine| engine.encode(text)) {
                Err(Error::Format(error)) => refused += usize::from(!error.to_string().is_empty()),
                Err(error) => panic!("byte {at}: {error}"),
                Ok(ids) => changed += usize::from(ids != expected),
            }
        }
        assert!(refused > 50 && changed > 50, "{refused} refused, {changed} changed");
    }
}

/// What a byte-level tokenizer can't be converted for, by name.
#[test]
fn refusals() {
    let refusal =
        |json: Value| Vocabulary::from_tokenizer_json(json.to_string().as_bytes(), None, 3000).unwrap_err().to_string();
    let changed = |path: &str, value: Value| {
        let mut json = gpt2();
        *json.pointer_mut(path).unwrap() = value;
        refusal(json)
    };
    for (path, value, expected) in [
        (
            "/pre_tokenizer",
            sequence(split(r"\d+"), false),
            r#"pre_tokenizer is {"pretokenizers":[{"behavior":"Isolated""#,
        ),
        ("/pre_tokenizer", sequence(split(LLAMA3), true), "pre_tokenizer is"),
        ("/pre_tokenizer", sequence(json!({"type": "Punctuation"}), true), "Punctuation"),
        ("/pre_tokenizer", byte_level(false, false), "pre_tokenizer is"),
        ("/normalizer", json!({"type": "NFKC"}), "normalizer is {\"type\":\"NFKC\"}"),
        ("/decoder", json!({"type": "Fuse"}), "decoder is {\"type\":\"Fuse\"}"),
        ("/model/byte_fallback", json!(true), "byte_fallback of model is true"),
        ("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix of model is \"</w>\""),
        ("/post_processor", json!({"type": "RobertaProcessing"}), "post_processor is"),
        ("/model/merges/0", json!(["Ġ", "國"]), "has \"國\", which is no piece"),
        ("/added_tokens/1/content", json!("x".repeat(256)), "256"),
    ] {
        let message = match path {
            "/added_tokens/1/content" => {
                let mut json = gpt2();
                *json.pointer_mut(path).unwrap() = value;
                let vocabulary = Vocabulary::from_tokenizer_json(json.to_string().as_bytes(), None, 3000).unwrap();
                vocabulary.section().unwrap_err().to_string()
            }
            _ => changed(path, value),
        };
        assert!(message.contains(expected), "{message}");
    }
    let mut normalized = qwen2();
    normalized["added_tokens"][2]["normalized"] = json!(true);
    normalized["added_tokens"][2]["content"] = json!("<|é|>");
    let message = refusal(normalized);
    assert!(message.contains("normalized of the added token \"<|é|>\""), "{message}");
}

/// Tokens of ASCII are not changed by the normalizer, so that they are found whether they are `normalized` or not.
#[test]
fn normalized_tokens_beside_nfc() {
    let mut json = qwen2();
    json["added_tokens"][2]["normalized"] = json!(true);
    let bytes = json.to_string().into_bytes();
    let mut engine = Engine::of(&Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap());
    let reference = Reference::from_bytes(&bytes).unwrap();
    for text in
        ["<|im_start|>user", "e\u{301}<|im_start|>usere\u{301} a", "<|im_start|> user<|im_start|>user <|im_end|>"]
    {
        assert_eq!(engine.encode(text).unwrap(), reference.encode_fast(text, true).unwrap().get_ids(), "{text:?}");
    }
}
