//! WordPiece on the device: the engine's tokens are those of the `tokenizers` library.

mod support;

use std::collections::BTreeMap;

use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Decoder, Error};
use rillm_convert::vocabulary::Vocabulary;
use serde_json::{Value, json};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{NormalizedString, Normalizer, Tokenizer as Reference};

use support::engine::{Engine, Random, decode, vocab_size};
use support::texts::{ENGLISH, OTHER, strings};

const CODE: &str = "fn main() {\n\tlet x: Vec<&'static str> = vec![\"don't\", r#\"a\\b\"#]; // 0xFF_u8 != 1e-3\n    \
    if x.len() >= 2 && !x.is_empty() { println!(\"{:?}\", &x[..2]); }\r\n}\n#include <stdio.h>\nint *p = &a[i++]; \
    def f(self, **kw): return {k: v for k, v in kw.items() if k not in ('a', \"b\")}  # naïve\n<a href=\"x?y=1&z=2\">~`^$</a>";

/// Texts whose characters do something: marks that change places, letters that become several, joiners, directions.
const SPECIAL: [&str; 24] = [
    "e\u{301}a\u{300}\u{323}\u{345} \u{1e9b}\u{323}",
    "\u{1d15f}\u{1d160}\u{1d158}\u{1d16e}\u{1d165}\u{301}\u{1d16d}x",
    "a\u{302e}\u{1d165}\u{1baa}b a\u{302e}\u{e31}\u{1d165}b a\u{302e}\u{200d}\u{1d165}b",
    "\u{1e008}\u{8d4}\u{1b44}\u{a953} \u{1e94a}\u{1e944}\u{11446}",
    "İstanbul ΑΣ ΣΑΣ. ſtraße STRASSE ǅ ŉ ΐ \u{fb03}",
    "한국어 각각 힣가\u{11a8} \u{1100}\u{1161}\u{11a8}",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽 1️⃣ a\u{200d}b\u{200c}c\u{feff}d\u{ad}e",
    "مرحبا بِالعَالَم שָׁלוֹם \u{202e}abc\u{202c} \u{2067}א\u{2069}",
    "\0\u{1}\u{7f}\u{85}\u{9b}a\u{b}b\u{c}c\u{1c}d\u{fffd}e\u{e000}f\u{10fffd}g\u{e0041}h",
    "a\u{a0}b\u{2003}c\u{2001}d\u{3000}e\u{2028}f\u{1680}g\u{180e}h\u{200b}i\t\r\nj",
    "你好,世界。日本語のテキスト \u{f900}\u{fa30}\u{2f800}\u{20000}\u{2b73f}x中y\u{9fff}",
    "≠ ≮ ≯ \u{37e} \u{1fef} \u{387} \u{2260}a\u{338}=",
    "नमस्ते दुनिया স্বাগতম কো ೊೋ ೈ ཀྵ ဦ ᬻ",
    "[MASK] [mask]  [MASK]x[SEP] x [CLS][MASK]\t\u{a0}[MASK] \u{200b}[MASK]",
    "foo bar FOO  BAR xFoo barx Füü zwei中 zwei 中 zwei 中  가각 foo\u{200d} bar",
    "don't can't we're they've I'm it's do not . , ? ! ; 'a' ' '",
    "##ing # #ing play##ing ## ##",
    "\u{2e80}\u{31c0}\u{3105}\u{ff21}\u{ff01}\u{ff61}\u{2070}\u{b2}\u{bd}",
    "ＡＢＣ①②㍿ﬀ …–—‘’“”«»¿¡§¶†‡•",
    "\u{10a0}\u{13a0}\u{1c90}\u{a640}\u{10400}\u{118a0}\u{1e900}",
    "\u{303}\u{303}a \u{345}\u{301}",
    "x\u{1d165}\u{1d16e}\u{1d165}\u{1d16e}\u{1d165}\u{302e}\u{302f}\u{1bf2}y",
    "\u{d7}\u{f7}\u{ac}\u{a6}$+<=>^`|~",
    "ǰ ẖ ẗ ẘ ẙ ẚ Å K Ω ς Ϲ ϴ ẞ Ⅷ Ⓐ",
];

/// A vocabulary with most characters of a few texts, and pieces of their words, as the normalizer leaves them.
fn vocabulary(normalizer: BertNormalizer) -> BTreeMap<String, u32> {
    let text = [ENGLISH, OTHER, CODE].into_iter().chain(SPECIAL).collect::<Vec<_>>().join(" ");
    let mut text = NormalizedString::from(text);
    normalizer.normalize(&mut text).unwrap();
    let mut random = Random(0xbe27);
    let mut pieces: Vec<String> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##", "##ing", "[unused1]"].map(String::from).into();
    let mut add = |piece: &[char], first: bool| {
        let piece: String = piece.iter().collect();
        pieces.push(if first { piece } else { format!("##{piece}") });
    };
    for word in text.get().split_whitespace() {
        let chars: Vec<char> = word.chars().collect();
        for place in 0..chars.len() {
            // Some characters have no piece: their words are unknown.
            let known = chars[place] as u32 % 31 != 7;
            if known {
                add(&chars[place..=place], true);
                add(&chars[place..=place], false);
            }
        }
        for _ in 0..3 {
            let start = random.below(chars.len());
            let end = start + 1 + random.below(chars.len() - start);
            add(&chars[start..end], start == 0);
        }
        if random.below(2) == 0 {
            add(&chars, true);
        }
    }
    let mut vocabulary = BTreeMap::new();
    for piece in pieces {
        let id = vocabulary.len() as u32;
        vocabulary.entry(piece).or_insert(id);
    }
    vocabulary
}

/// A `tokenizer.json`, with BERT's marks and a few words that are added.
fn tokenizer_json(normalizer: BertNormalizer) -> Value {
    let vocab = vocabulary(normalizer);
    let mut next = vocab.len() as u32;
    let mut added = Vec::new();
    for (content, special) in [
        ("[PAD]", true),
        ("[UNK]", true),
        ("[CLS]", true),
        ("[SEP]", true),
        ("[MASK]", true),
        ("[mark]", true),
        ("Foo", false),
        ("Foo Bar", false),
        ("Füü", false),
        ("zwei 中", false),
        ("각", false),
        ("[MASK]x", false),
    ] {
        let id = vocab.get(content).copied().unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        added.push(json!({"id": id, "content": content, "single_word": false, "lstrip": content == "[MASK]",
            "rstrip": false, "normalized": !special || content == "[mark]", "special": special}));
    }
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", vocab["[SEP]"]], "cls": ["[CLS]", vocab["[CLS]"]]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}})
}

/// Uncased with accents stripped, as BERT has it; cased; cased with accents stripped; and the text as it is.
fn settings() -> [(&'static str, BertNormalizer); 4] {
    [
        ("uncased", BertNormalizer::new(true, true, None, true)),
        ("cased", BertNormalizer::new(true, false, None, false)),
        ("uncased with accents", BertNormalizer::new(true, true, Some(false), true)),
        ("raw without accents", BertNormalizer::new(false, true, Some(true), false)),
    ]
}

fn next_string(random: &mut Random, words: &[&str], pieces: &[String]) -> String {
    const MARKS: [&str; 15] = [
        "[MASK]", "[mark]", "[MARK] ", "[CLS]", "[SEP] ", "[MASK", "mask]", "foo bar", "Foo", "FOO", "füü", "zwei 中",
        "각", "[UNK]", "[PAD]",
    ];
    const SPACES: [&str; 8] = [" ", "  ", "\n", "\t", "\u{a0}", "\u{3000}", "\u{200b}", "\r\n"];
    // Marks that are stripped, those that are put in order and stay, and those that keep others in their place.
    const COMBINING: [&str; 14] = [
        "\u{301}",
        "\u{323}",
        "\u{345}",
        "\u{302e}",
        "\u{1d165}",
        "\u{1d16d}",
        "\u{1baa}",
        "\u{8d4}",
        "\u{1e008}",
        "\u{e31}",
        "\u{fe0f}",
        "\u{20dd}",
        "\u{338}",
        "\u{11446}",
    ];
    const RANGES: [(u32, u32); 12] = [
        (0, 0x100),
        (0, 0x500),
        (0x300, 0x370),
        (0x590, 0x700),
        (0x900, 0xe00),
        (0xf00, 0x1200),
        (0x1e00, 0x2100),
        (0x2000, 0x3100),
        (0x4e00, 0x5000),
        (0xac00, 0xd7a4),
        (0xf900, 0x1_0000),
        (0x1_0000, 0x2_0000),
    ];
    let mut text = String::new();
    for _ in 0..random.below(8) {
        match random.below(12) {
            0 => text += random.pick(&MARKS),
            1 => text += random.pick(&SPACES),
            2 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            3 => {
                let (start, end) = random.pick(&RANGES);
                for _ in 0..random.below(6) {
                    text.extend(char::from_u32(start + random.below((end - start) as usize) as u32));
                }
            }
            4 => (0..random.below(6)).for_each(|_| text += random.pick(&COMBINING)),
            5 | 6 => text += pieces[random.below(pieces.len())].trim_start_matches("##"),
            7 => {
                // A word of letters, now and then one that is too long or almost.
                let len = [400, 101, 100, 99, 12, 4][random.below(100).min(5)];
                let letters: Vec<char> =
                    random.pick(&["thein", "aeiou nrst", "aÉ각", "0123456789", "ab\u{301}"]).chars().collect();
                text.extend((0..len).map(|_| random.pick(&letters)));
            }
            8 => text.extend(char::from_u32(0x21 + random.below(0x5e) as u32)),
            _ => text += random.pick(words),
        }
    }
    text
}

/// Both tokenizers on many strings.
fn assert_same(index: usize) {
    let (name, normalizer) = settings()[index];
    let json = tokenizer_json(normalizer);
    let bytes = serde_json::to_vec(&json).unwrap();
    let reference = Reference::from_bytes(&bytes).unwrap();
    let mut plain = reference.clone();
    plain.set_encode_special_tokens(true);
    let vocabulary = Vocabulary::from_tokenizer_json(&bytes, None, vocab_size(&json)).unwrap();
    let mut engine = Engine::of(&vocabulary);
    let cls = vocabulary.bos.unwrap();
    let (mut unknown, mut tokens) = (0, 0);
    let mut check = |text: &str, decode: bool| {
        let expected = reference.encode_fast(text, false).unwrap();
        let ids = engine.encode(text).unwrap();
        assert_eq!(ids[0], cls);
        assert_eq!(&ids[1..], expected.get_ids(), "{name}: {text:?}");
        unknown += ids.iter().filter(|&&id| Some(id) == vocabulary.unk).count();
        tokens += ids.len();
        let expected = plain.encode_fast(text, false).unwrap();
        assert_eq!(&engine.encode_plain(text).unwrap()[1..], expected.get_ids(), "{name}, no marks: {text:?}");
        if decode {
            assert_decodes(name, &vocabulary, &reference, &ids[1..]);
        }
    };
    let texts: Vec<&str> = [ENGLISH, OTHER, CODE].into_iter().chain(SPECIAL).collect();
    for text in &texts {
        check(text, true);
    }
    let words: Vec<&str> = texts.iter().flat_map(|text| text.split_inclusive(' ')).collect();
    let mut random = Random(0x5eed + index as u64);
    for round in 0..strings() {
        check(&next_string(&mut random, &words, &vocabulary.pieces), round % 8 == 0);
    }
    println!("{name}: {tokens} tokens, {unknown} unknown");
    assert!(unknown > tokens / 100 && unknown < tokens / 2, "{name}: {unknown} unknown of {tokens}");
}

#[test]
fn uncased_strings() {
    assert_same(0);
}

#[test]
fn cased_strings() {
    assert_same(1);
}

#[test]
fn uncased_strings_with_accents() {
    assert_same(2);
}

#[test]
fn raw_strings_without_accents() {
    assert_same(3);
}

/// The text of tokens, with marks and without.
fn assert_decodes(name: &str, vocabulary: &Vocabulary, reference: &Reference, ids: &[u32]) {
    let decoder = Decoder::new(true);
    for skip_special in [true, false] {
        let decoder = if skip_special { decoder.clone() } else { decoder.clone().show_control_tokens() };
        let expected = reference.decode(ids, skip_special).unwrap();
        assert_eq!(decode(vocabulary, decoder, ids), expected, "{name}: {ids:?}");
    }
}

fn uncased() -> (Value, Vocabulary) {
    let json = tokenizer_json(settings()[0].1);
    let vocabulary = Vocabulary::from_tokenizer_json(&serde_json::to_vec(&json).unwrap(), None, vocab_size(&json));
    (json, vocabulary.unwrap())
}

/// Whatever the section holds: an error or some tokens.
#[test]
fn damaged_sections() {
    let (_, vocabulary) = uncased();
    let section = vocabulary.section().unwrap();
    let size = vocabulary.tokens.len() as u32;
    let text = "Once ö각 中 [MASK] foo bar ೋ\u{302e}\u{1d160} xyzzy. \u{a0}Ünïcödé";
    let expected = Engine::open(&section, size).unwrap().encode(text).unwrap();
    let (mut refused, mut changed) = (0, 0);
    let mut random = Random(0xda4a9ed);
    for round in 0..4_000 {
        let mut damaged = section.clone();
        // The header byte by byte, and then some bytes anywhere.
        match round {
            0..384 => damaged[round / 3] ^= [0x01, 0x80, 0xff][round % 3],
            _ => (0..1 << random.below(11)).for_each(|_| damaged[random.below(section.len())] ^= 1 << random.below(8)),
        }
        match Engine::open(&damaged, size).and_then(|mut engine| engine.encode(text)) {
            Err(Error::Format(error)) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
            Err(error) => panic!("round {round}: {error}"),
            Ok(ids) => changed += usize::from(ids != expected),
        }
    }
    assert!(refused > 100 && changed > 100, "{refused} refused, {changed} changed");
    for len in (0..section.len()).step_by(97) {
        assert!(Engine::open(&section[..len], size).is_err(), "{len} bytes");
    }
}

/// A space before what is said in a conversation makes no difference, nor does it stay there for ever.
#[test]
fn a_space_before_what_is_said() {
    let mut engine = Engine::of(&uncased().1);
    for text in ["", "hello", " hello", "[MASK] a", "中", "\u{301}"] {
        let expected = engine.encode_content(text, false).unwrap();
        assert_eq!(engine.encode_content(text, true).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn memory() {
    let mut engine = Engine::of(&uncased().1);
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
    let (_, vocabulary) = uncased();
    let section = vocabulary.section().unwrap();
    let mut engine = Engine::of(&vocabulary);
    for (name, text) in [("English", ENGLISH), ("other", OTHER), ("code", CODE)] {
        let before = engine.source.traffic().reads;
        let tokens = engine.encode(text).unwrap().len();
        let reads = engine.source.traffic().reads - before;
        println!(
            "{name}: a section of {} bytes, {} pieces; {tokens} tokens, {reads} sectors, {:.1} a token",
            section.len(),
            vocabulary.pieces.len(),
            reads as f64 / tokens as f64
        );
        assert!(reads < 6 * tokens as u64);
    }
}

/// What a tokenizer can't be converted for, by name, and what makes no difference.
#[test]
fn refusals() {
    let (json, vocabulary) = uncased();
    let read = |path: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(path).unwrap() = value;
        Vocabulary::from_tokenizer_json(&serde_json::to_vec(&json).unwrap(), None, vocabulary.tokens.len() as u32)
    };
    let long = "x".repeat(255);
    for (path, value, message) in [
        ("/normalizer", json!({"type": "NFKC"}), "normalizer of a WordPiece model is {\"type\":\"NFKC\"}"),
        ("/normalizer/lowercase", json!(1), "normalizer of a WordPiece model is"),
        ("/pre_tokenizer/type", json!("Whitespace"), "pre_tokenizer of a WordPiece model is"),
        ("/decoder/prefix", json!("@"), "decoder of a WordPiece model is"),
        ("/decoder", Value::Null, "decoder of a WordPiece model is null"),
        ("/post_processor/type", json!("Reversed"), "post_processor is"),
        ("/model/continuing_subword_prefix", json!("@@"), "continuing_subword_prefix of model is \"@@\""),
        ("/model/max_input_chars_per_word", json!(257), "max_input_chars_per_word of model is 257"),
        ("/model/max_input_chars_per_word", json!(0), "max_input_chars_per_word of model is 0"),
        ("/model/unk_token", json!("<unk>"), "unk_token of model is \"<unk>\""),
        ("/added_tokens/4/single_word", json!(true), "single_word of the added token \"[MASK]\" is true"),
        ("/added_tokens/6/content", json!("\u{301}"), "the added token \"\\u{301}\" is normalized"),
        ("/added_tokens/6/content", json!("x\u{302e}"), "without combining marks that stay"),
        ("/added_tokens/6/content", json!("foo bar"), "one of those that the normalizer makes the same"),
        ("/added_tokens/6/content", json!("foo "), "no space at either end"),
    ] {
        let error = read(path, value).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let mut too_long = json.clone();
    too_long["model"]["vocab"][&long] = (vocabulary.tokens.len() as u32).into();
    let too_long = serde_json::to_vec(&too_long).unwrap();
    let too_long = Vocabulary::from_tokenizer_json(&too_long, None, vocabulary.tokens.len() as u32 + 1).unwrap();
    assert!(too_long.section().unwrap_err().to_string().contains("length of a"));

    let template = json!({"type": "TemplateProcessing", "pair": [], "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}});
    assert_eq!(read("/post_processor", template).unwrap(), vocabulary);
    let bare = read("/post_processor", Value::Null).unwrap();
    assert_eq!((bare.bos, bare.add_bos), (None, false));
}
