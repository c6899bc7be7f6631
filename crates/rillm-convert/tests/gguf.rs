//! GGUF files that are read, and ones that are refused.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::support::gguf::{self, Value};
use proptest::prelude::*;
use rillm::format::{AttentionExtras, Rope, RopeScaling, TensorKind, TokenKind};
use rillm_convert::checkpoint::{Checkpoint, Dtype};
use rillm_convert::gguf::Gguf;
use rillm_convert::random;
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert};
use rillm_quantise::config::LlamaConfig;
use rillm_quantise::rope;
use safetensors::tensor::TensorView;
use serde_json::json;

/// Llama 3's pattern, as its tokenizer.json has it.
const LLAMA3: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/// Tokens of the sentencepiece vocabulary.
const TOKENS: u32 = 3 + 256 + 9;

fn config(tied_embeddings: bool, attention: AttentionExtras) -> LlamaConfig {
    LlamaConfig {
        hidden_size: 64,
        intermediate_size: 96,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        vocab_size: TOKENS,
        context_length: 128,
        attention,
        rope: Rope { theta: 20_000.0, scaling: RopeScaling::None },
        rope_divisors: Vec::new(),
        norm_eps: 1e-5,
        tied_embeddings,
        bos: Some(1),
        eos: vec![2],
    }
}

fn llama() -> LlamaConfig {
    config(false, AttentionExtras::default())
}

/// Marks, bytes, and pieces with their scores.
fn pieces() -> Vec<(String, f32, i32)> {
    let marks = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(piece, kind)| (piece.to_owned(), 0.0, kind));
    let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let texts = ["▁", "a", "b", "c", "ab", "▁ab", "abc", "▁abc", "<|turn|>"];
    let texts = texts.iter().enumerate().map(|(at, piece)| {
        let kind = if piece.starts_with('<') { 4 } else { 1 };
        ((*piece).to_owned(), -(at as f32), kind)
    });
    marks.into_iter().chain(bytes).chain(texts).collect()
}

fn add_sentencepiece(file: &mut gguf::Gguf) {
    let pieces = pieces();
    file.set("tokenizer.ggml.model", Value::Text("llama".to_owned()));
    file.set("tokenizer.ggml.tokens", Value::Texts(pieces.iter().map(|(piece, ..)| piece.clone()).collect()));
    file.set("tokenizer.ggml.scores", Value::F32s(pieces.iter().map(|&(_, score, _)| score).collect()));
    file.set("tokenizer.ggml.token_type", Value::I32s(pieces.iter().map(|&(.., kind)| kind).collect()));
    file.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    file.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    file.set("tokenizer.chat_template", Value::Text("{{ messages }}".to_owned()));
}

fn random_file(config: &LlamaConfig) -> gguf::Gguf {
    let (mut file, _) = gguf::random(config, 5);
    add_sentencepiece(&mut file);
    file
}

struct Opened {
    directory: tempfile::TempDir,
    checkpoint: Checkpoint,
}

fn open(file: &gguf::Gguf) -> Result<Opened, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.gguf");
    fs::write(&path, file.to_bytes()).expect("a file");
    let checkpoint = Checkpoint::open(&path).map_err(|error| error.to_string())?;
    Ok(Opened { directory, checkpoint })
}

fn families() -> [LlamaConfig; 5] {
    let biases = AttentionExtras { qkv_bias: true, o_bias: true, ..AttentionExtras::default() };
    let qwen2 = AttentionExtras { qkv_bias: true, ..AttentionExtras::default() };
    let qwen3 = AttentionExtras { qk_norm: true, ..AttentionExtras::default() };
    let plain = AttentionExtras::default();
    [llama(), config(true, plain), config(true, biases), config(true, qwen2), config(false, qwen3)]
}

#[test]
fn tensors_are_read_in_the_order_of_rillm() {
    for config in families() {
        let (mut file, numbers) = gguf::random(&config, 5);
        add_sentencepiece(&mut file);
        let Opened { checkpoint, .. } = open(&file).expect("a checkpoint");
        assert_eq!(*checkpoint.config(), config);
        for (kind, layer, numbers) in numbers {
            assert_eq!(checkpoint.tensor(kind, layer), numbers, "{kind} of layer {layer}");
        }
        let head = checkpoint.tensor(TensorKind::Head, 0);
        assert_eq!(head == checkpoint.tensor(TensorKind::Embedding, 0), config.tied_embeddings);
    }
    let Opened { checkpoint, .. } = open(&random_file(&llama())).expect("a checkpoint");
    let dtypes: Vec<Dtype> = llama().tensors().map(|(kind, layer)| checkpoint.dtype(kind, layer)).collect();
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Q8_0, Dtype::Q4_1] {
        assert!(dtypes.contains(&dtype), "{dtype}");
    }
}

/// The same numbers as a Hugging Face directory in float32.
fn hugging_face(directory: &Path, config: &LlamaConfig, numbers: &[(TensorKind, u32, Vec<f32>)]) {
    random::write(directory, config, Dtype::F32, 0).expect("a checkpoint");
    let tensors = numbers.iter().map(|(kind, layer, numbers)| {
        let (rows, cols) = config.shape(*kind);
        let layer = format!("model.layers.{layer}");
        let name = match kind {
            TensorKind::Head => "lm_head.weight".to_owned(),
            TensorKind::Embedding | TensorKind::FinalNorm => format!("model.{kind}.weight"),
            TensorKind::AttentionNorm | TensorKind::MlpNorm => format!("{layer}.{kind}.weight"),
            TensorKind::GateProj | TensorKind::UpProj | TensorKind::DownProj => format!("{layer}.mlp.{kind}.weight"),
            _ if kind.is_bias() => format!("{layer}.self_attn.{kind}"),
            _ => format!("{layer}.self_attn.{kind}.weight"),
        };
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        (name, if kind.is_vector() { vec![cols] } else { vec![rows, cols] }, bytes)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    let file = safetensors::serialize(views, None).expect("safetensors");
    fs::write(directory.join("model.safetensors"), file).expect("weights");
}

#[test]
fn the_file_is_that_of_the_same_numbers_as_a_hugging_face_directory() {
    for config in families() {
        let (mut file, numbers) = gguf::random(&config, 7);
        add_sentencepiece(&mut file);
        let Opened { directory, checkpoint } = open(&file).expect("a checkpoint");
        let vocabulary = Vocabulary::open(&directory.path().join("model.gguf"), TOKENS).expect("a vocabulary");
        let sections = vocabulary.sections().expect("sections");
        hugging_face(directory.path(), &config, &numbers);
        let other = Checkpoint::open(directory.path()).expect("a checkpoint");
        let [found, expected] = [("gguf", &checkpoint), ("hf", &other)].map(|(name, checkpoint)| {
            let out = directory.path().join(name);
            convert(checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), &out).expect("a report");
            let mut bytes = fs::read(out).expect("a file");
            // Hash and name of the source, and the header's checksum.
            bytes[112..208].fill(0);
            bytes[508..512].fill(0);
            bytes
        });
        assert!(found == expected);
    }
}

#[test]
fn the_rotary_embedding_is_scaled() {
    let scaling = |edit: &dyn Fn(&mut gguf::Gguf)| {
        let mut file = random_file(&llama());
        edit(&mut file);
        open(&file).map(|opened| opened.checkpoint.config().clone())
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let linear = scaling(&|file| {
        file.set("llama.rope.scaling.type", text("linear"));
        file.set("llama.rope.scaling.factor", Value::F32(4.0));
    });
    assert_eq!(linear.expect("a model").rope.scaling, RopeScaling::Linear { factor: 4.0 });
    let old = scaling(&|file| file.set("llama.rope.scale_linear", Value::F32(2.0)));
    assert_eq!(old.expect("a model").rope.scaling, RopeScaling::Linear { factor: 2.0 });
    let none = scaling(&|file| {
        file.set("llama.rope.scaling.type", text("none"));
        file.set("llama.rope.scaling.factor", Value::F32(4.0));
    });
    assert_eq!(none.expect("a model").rope.scaling, RopeScaling::None);
    let yarn = scaling(&|file| file.set("llama.rope.scaling.type", text("yarn"))).expect_err("a refusal");
    assert!(yarn.contains("llama.rope.scaling.type is \"yarn\"; expected"), "{yarn}");

    // Llama 3.1's scaling comes as what each frequency is divided by.
    let divisors = [1.0f32, 1.0, 2.5, 8.0];
    let tensor = |divisors: &[f32]| gguf::Tensor {
        name: "rope_freqs.weight".to_owned(),
        dimensions: vec![divisors.len() as u64],
        kind: 0,
        bytes: divisors.iter().flat_map(|divisor| divisor.to_le_bytes()).collect(),
    };
    let config = scaling(&|file| file.tensors.push(tensor(&divisors))).expect("a model");
    assert_eq!((config.rope.scaling, &config.rope_divisors[..]), (RopeScaling::Divisors, &divisors[..]));
    let plain = rope::frequencies(&llama().rope, &[], 8);
    let divided = rope::frequencies(&config.rope, &config.rope_divisors, 8);
    for ((divided, plain), divisor) in divided.iter().zip(plain).zip(divisors) {
        assert_eq!(*divided, plain / f64::from(divisor));
    }
    for (divisors, expected) in [
        (&[1.0, 2.0, 3.0][..], "[3]; expected [4]"),
        (&[1.0, 0.1, 0.01, 0.001], "divisor 1 of the rotary embedding is 0.1"),
        (&[1.0, 2.0, f32::INFINITY, 1.0], "divisor 2 of the rotary embedding is inf"),
    ] {
        let error = scaling(&|file| file.tensors.push(tensor(divisors))).expect_err("a refusal");
        assert!(error.contains(expected), "{error}");
    }
    let both = scaling(&|file| {
        file.tensors.push(tensor(&divisors));
        file.set("llama.rope.scaling.factor", Value::F32(4.0));
    });
    assert_eq!(both.expect("a model").rope_divisors, divisors.map(|divisor| 4.0 * divisor));
}

#[test]
fn tokens_that_end_a_text_are_those_of_three_keys_and_of_known_names() {
    let mut file = random_file(&llama());
    file.set("tokenizer.ggml.eot_token_id", Value::U32(5));
    file.set("tokenizer.ggml.eom_token_id", Value::U32(2));
    assert_eq!(open(&file).expect("a model").checkpoint.config().eos, [2, 5]);
    // Those that no key names, as Llama 3's files have them.
    let mut tokens: Vec<_> = (0..TOKENS).map(|token| format!("piece {token}")).collect();
    tokens[7] = "<|end_of_text|>".to_owned();
    file.set("tokenizer.ggml.tokens", Value::Texts(tokens.clone()));
    assert_eq!(open(&file).expect("a model").checkpoint.config().eos, [2, 5, 7]);
    // As many as there is room for.
    (tokens[8], tokens[9]) = ("<|eom_id|>".to_owned(), "<|endoftext|>".to_owned());
    file.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    assert_eq!(open(&file).expect("a model").checkpoint.config().eos, [2, 5, 7, 8]);
}

#[test]
fn the_vocabulary_is_found_among_the_keys() {
    let vocabulary = |file: &gguf::Gguf| {
        let bytes = file.to_bytes();
        Vocabulary::from_gguf(&Gguf::parse(&bytes).expect("a file"), TOKENS).map_err(|error| error.to_string())
    };
    let mut file = random_file(&llama());
    let found = vocabulary(&file).expect("a vocabulary");
    let pieces = pieces();
    // llama2.c's form of the same pieces has the same merges.
    let mut llama2c = 20u32.to_le_bytes().to_vec();
    for (piece, score, _) in &pieces {
        llama2c.extend(score.to_le_bytes());
        let piece = piece.replace('▁', " ");
        llama2c.extend((piece.len() as u32).to_le_bytes());
        llama2c.extend(piece.as_bytes());
    }
    let expected = Vocabulary::from_llama2c(&llama2c, TOKENS).expect("a vocabulary");
    assert_eq!((&found.pieces, &found.merges), (&expected.pieces, &expected.merges));
    assert!(!found.merges.is_empty());
    assert_eq!((found.prefix, found.strip_space), (expected.prefix, expected.strip_space));
    assert_eq!((found.bos, found.unk, found.add_bos), (Some(1), Some(0), true));
    assert_eq!(found.chat_template, "{{ messages }}");
    let added: Vec<_> = found.added.iter().map(|added| (added.content.as_str(), added.special)).collect();
    assert_eq!(added, [("<unk>", true), ("<s>", true), ("</s>", true), ("<|turn|>", false)]);
    let kinds: Vec<TokenKind> = [0, 1, 3, 260, TOKENS as usize - 1].map(|id| found.tokens[id].kind).to_vec();
    assert_eq!(kinds, [TokenKind::Unknown, TokenKind::Control, TokenKind::Byte, TokenKind::Text, TokenKind::Text]);

    file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    file.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    let plain = vocabulary(&file).expect("a vocabulary");
    assert!(!plain.add_bos && !plain.strip_space && plain.prefix != found.prefix);

    let text = |text: &str| Value::Text(text.to_owned());
    let refusals: [(&str, Option<Value>, &str); 7] = [
        ("tokenizer.ggml.model", Some(text("bert")), "tokenizer.ggml.model is \"bert\"; expected"),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model is absent"),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens is absent; expected a list of strings"),
        ("tokenizer.ggml.tokens", Some(Value::I32s(vec![1])), "is a list of 1; expected a list of strings"),
        ("tokenizer.ggml.scores", Some(Value::F32s(vec![0.0; 3])), "expected a list of 268 numbers"),
        ("tokenizer.ggml.token_type", Some(Value::I32s(vec![6; TOKENS as usize])), "of piece \"<unk>\" is 6, a byte"),
        ("general.name", Some(text("Phi-3 mini")), "general.name is \"Phi-3 mini\"; expected another model"),
    ];
    let mut unspelled: Vec<_> = pieces.iter().map(|(piece, ..)| piece.clone()).collect();
    unspelled[TOKENS as usize - 2] = "xab".to_owned();
    let unspelled =
        ("tokenizer.ggml.tokens", Some(Value::Texts(unspelled)), "piece \"xab\" of tokenizer.ggml.tokens is made of");
    for (key, value, expected) in refusals.into_iter().chain([unspelled]) {
        let mut file = random_file(&llama());
        file.remove(key);
        if let Some(value) = value {
            file.set(key, value);
        }
        let error = vocabulary(&file).expect_err("a refusal");
        assert!(error.contains(expected), "{error}");
    }
}

/// GPT-2's alphabet for the bytes of printable ASCII and a space, marks, and a few merges.
fn byte_level_pieces() -> (Vec<(String, i32)>, Vec<&'static str>) {
    let letters = ('!'..='~').chain(['Ġ']).map(|c| (c.to_string(), 1));
    let words = ["Ġt", "he", "Ġthe", "ab"].map(|word| (word.to_owned(), 1));
    let marks = [("<|end|>", 3), ("<|tool|>", 4), ("[pad0]", 5)].map(|(mark, kind)| (mark.to_owned(), kind));
    (letters.chain(words).chain(marks).collect(), vec!["Ġ t", "h e", "Ġt he", "a b"])
}

#[test]
fn byte_level_vocabularies_are_those_of_tokenizer_json() {
    let (pieces, merges) = byte_level_pieces();
    let id = |piece: &str| pieces.iter().position(|(known, _)| known == piece).expect("a piece") as u32;
    let mut file = random_file(&llama());
    let set = |file: &mut gguf::Gguf, pre: &str| {
        file.set("tokenizer.ggml.model", Value::Text("gpt2".to_owned()));
        file.set("tokenizer.ggml.pre", Value::Text(pre.to_owned()));
        file.set("tokenizer.ggml.tokens", Value::Texts(pieces.iter().map(|(piece, _)| piece.clone()).collect()));
        file.set("tokenizer.ggml.token_type", Value::I32s(pieces.iter().map(|&(_, kind)| kind).collect()));
        file.set("tokenizer.ggml.merges", Value::Texts(merges.iter().map(|&merge| merge.to_owned()).collect()));
        file.remove("tokenizer.ggml.scores");
        file.set("tokenizer.ggml.bos_token_id", Value::U32(id("<|end|>")));
    };
    let vocabulary = |file: &gguf::Gguf| {
        let bytes = file.to_bytes();
        Vocabulary::from_gguf(&Gguf::parse(&bytes).expect("a file"), TOKENS).map_err(|error| error.to_string())
    };
    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
        ]})
    };
    let gpt2 = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let smollm = json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, gpt2]});
    for (pre, pre_tokenizer, starts) in [
        ("gpt-2", gpt2.clone(), false),
        ("smollm", smollm, false),
        ("llama-bpe", split(LLAMA3), true),
        ("qwen2", split(&LLAMA3.replace("{1,3}", "")), false),
    ] {
        set(&mut file, pre);
        let found = vocabulary(&file).expect("a vocabulary");
        let words = pieces.iter().filter(|(_, kind)| *kind == 1);
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [
                {"id": id("<|end|>"), "content": "<|end|>", "special": true, "normalized": false},
                {"id": id("<|tool|>"), "content": "<|tool|>", "special": false, "normalized": false}
            ],
            "normalizer": (pre == "qwen2").then(|| json!({"type": "NFC"})),
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": {"type": "ByteLevel"},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": pre == "llama-bpe",
                "vocab": words.map(|(word, _)| (word.clone(), json!(id(word)))).collect::<serde_json::Map<_, _>>(),
                "merges": merges
            }
        });
        let expected = Vocabulary::from_tokenizer_json(tokenizer.to_string().as_bytes(), None, TOKENS);
        let expected = expected.expect("a vocabulary");
        assert_eq!(found.algorithm, expected.algorithm, "{pre}");
        assert_eq!((&found.merges, &found.added), (&expected.merges, &expected.added), "{pre}");
        assert_eq!(found.tokens, expected.tokens, "{pre}");
        assert_eq!((found.bos, found.add_bos), (Some(id("<|end|>")), starts), "{pre}");
        found.sections().expect("sections");
    }

    for (pre, alias) in [
        ("llama-bpe", "llama3"),
        ("llama-bpe", "llama-v3"),
        ("qwen2", "deepseek-r1-qwen"),
        ("gpt-2", "trillion"),
        ("smollm", "starcoder"),
        ("llama-bpe", "falcon3"),
    ] {
        let [one, other] = [pre, alias].map(|pre| {
            set(&mut file, pre);
            vocabulary(&file).expect("a vocabulary")
        });
        assert_eq!(one, other, "{alias}");
    }

    set(&mut file, "default");
    let error = vocabulary(&file).expect_err("a refusal");
    assert!(error.contains("tokenizer.ggml.pre is \"default\"; expected \"gpt-2\", \"smollm\""), "{error}");
    for (merge, expected) in
        [("Ġt", "in \"Ġt\""), (" t", "in \" t\""), ("", "in \"\""), ("Ġ zz", "\"zz\", which is no piece")]
    {
        set(&mut file, "gpt-2");
        file.set("tokenizer.ggml.merges", Value::Texts(vec![merge.to_owned()]));
        let error = vocabulary(&file).expect_err("a refusal");
        assert!(error.contains(expected) && error.contains("merge"), "{error}");
    }
}

#[test]
fn keys_that_rillm_does_not_compute_are_refused_by_name() {
    let text = |text: &str| Value::Text(text.to_owned());
    let cases: [(&str, Value, &str); 18] = [
        ("general.architecture", text("gpt2"), "is \"gpt2\"; expected \"llama\", \"qwen2\" or \"qwen3\""),
        ("general.architecture", Value::U32(1), "is 1; expected a string"),
        ("split.count", Value::U32(2), "--merge"),
        ("llama.expert_count", Value::U32(8), "is 8; expected nothing"),
        ("llama.attention.sliding_window", Value::U32(4096), "is 4096"),
        ("llama.logit_scale", Value::F32(0.5), "is 0.5"),
        ("llama.rope.scaling.attn_factor", Value::F32(0.5), "is 0.5; expected 1"),
        ("llama.rope.dimension_count", Value::U32(4), "is 4; expected 8"),
        ("llama.attention.value_length", Value::U32(16), "is 16; expected 8"),
        ("llama.attention.key_length", Value::U32(9), "is 8; expected 9"),
        ("llama.attention.head_count_kv", Value::U32(3), "a divisor"),
        ("llama.attention.head_count_kv", Value::I32s(vec![2, 4]), "is a list of 2; expected an integer, the same"),
        ("llama.embedding_length", Value::U32(0), "llama.embedding_length is 0; expected 1 to 65536"),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN), "is NaN"),
        ("llama.rope.freq_base", Value::F32(0.5), "llama.rope.freq_base is 0.5"),
        ("tokenizer.ggml.bos_token_id", text("<s>"), "tokenizer.ggml.bos_token_id is \"<s>\"; expected an integer"),
        ("general.alignment", Value::U32(48), "general.alignment is 48; expected a power of two"),
        ("general.alignment", Value::U32(0), "general.alignment is 0; expected a power of two"),
    ];
    for (key, value, expected) in cases {
        let mut file = random_file(&llama());
        file.set(key, value);
        let error = open(&file).err().expect("a refusal");
        assert!(error.contains(expected) && error.contains("model.gguf"), "{key}: {error}");
    }
    for key in ["general.architecture", "llama.block_count", "llama.context_length", "llama.attention.head_count"] {
        let mut file = random_file(&llama());
        file.remove(key);
        let error = open(&file).err().expect("a refusal");
        assert!(error.contains(&format!("{key} is absent; expected")), "{error}");
    }
}

#[test]
fn keys_may_be_absent_or_written_in_other_ways() {
    let opened = |edit: &dyn Fn(&mut gguf::Gguf)| {
        let mut file = random_file(&llama());
        edit(&mut file);
        open(&file).map(|opened| opened.checkpoint.config().clone())
    };
    let same = [
        // The table of embeddings says how many tokens there are.
        ("llama.vocab_size", None),
        ("llama.vocab_size", Some(Value::U32(TOKENS + 64))),
        ("llama.rope.dimension_count", None),
        ("llama.attention.value_length", None),
        ("llama.attention.head_count_kv", Some(Value::I32s(vec![2, 2]))),
        ("llama.attention.head_count", Some(Value::I32s(vec![4, 4]))),
        ("llama.feed_forward_length", Some(Value::I32s(vec![96, 96]))),
        // As 64 bits, 16 bits and 64 bits of a float.
        ("llama.block_count", Some(Value::Raw(10, 2u64.to_le_bytes().to_vec()))),
        ("llama.embedding_length", Some(Value::Raw(3, 64i16.to_le_bytes().to_vec()))),
        ("llama.rope.freq_base", Some(Value::Raw(12, 20_000.0f64.to_le_bytes().to_vec()))),
        ("split.count", Some(Value::Raw(2, 1u16.to_le_bytes().to_vec()))),
        // Ids that no token has are those that llama.cpp takes otherwise: 1 and 2.
        ("tokenizer.ggml.bos_token_id", Some(Value::U32(999))),
        ("tokenizer.ggml.eos_token_id", Some(Value::U32(u32::MAX))),
        ("tokenizer.ggml.eot_token_id", Some(Value::Raw(5, (-1i32).to_le_bytes().to_vec()))),
        ("tokenizer.ggml.bos_token_id", None),
        ("tokenizer.ggml.eos_token_id", None),
    ];
    for (key, value) in same {
        let found = opened(&|file| {
            file.remove(key);
            if let Some(value) = &value {
                file.set(key, value.clone());
            }
        });
        assert_eq!(found, Ok(llama()), "{key}");
    }
    let theta = opened(&|file| file.remove("llama.rope.freq_base")).expect("a model").rope.theta;
    assert_eq!(theta, 10_000.0);
    let heads = opened(&|file| {
        file.remove("llama.attention.head_count_kv");
        for layer in 0..2 {
            for name in ["attn_k", "attn_v"] {
                let tensor = file.tensor(&format!("blk.{layer}.{name}.weight"));
                (tensor.kind, tensor.dimensions[1], tensor.bytes) = (0, 32, vec![0; 64 * 32 * 4]);
            }
        }
    });
    assert_eq!(heads.expect("a model").n_kv_heads, 4);
    // Tables with more rows than there are tokens.
    let padded = opened(&|file| {
        for name in ["token_embd.weight", "output.weight"] {
            let tensor = file.tensor(name);
            (tensor.kind, tensor.dimensions[1]) = (0, 320);
            tensor.bytes = vec![0; 320 * 64 * 4];
        }
    });
    assert_eq!(padded.expect("a model").vocab_size, 320);
    // A part of a file that was split has no more keys than this one.
    let part = gguf::Gguf { version: 3, keys: vec![("split.count".to_owned(), Value::U32(2))], tensors: vec![] };
    let error = open(&part).err().expect("a refusal");
    assert!(error.contains("split.count is 2; expected 1: join the parts"), "{error}");
}

#[test]
fn biases_may_be_some_of_a_layers() {
    let attention = AttentionExtras { qkv_bias: true, o_bias: true, ..AttentionExtras::default() };
    let (mut file, numbers) = gguf::random(&config(true, attention), 9);
    let left_out = [(TensorKind::KBias, 0, "blk.0.attn_k.bias"), (TensorKind::OBias, 1, "blk.1.attn_output.bias")];
    file.tensors.retain(|tensor| left_out.iter().all(|(.., name)| tensor.name != *name));
    let Opened { checkpoint, .. } = open(&file).expect("a checkpoint");
    assert_eq!(checkpoint.config().attention, attention);
    for (kind, layer, numbers) in numbers {
        let absent = left_out.iter().any(|left_out| (left_out.0, left_out.1) == (kind, layer));
        let expected = if absent { vec![0.0; numbers.len()] } else { numbers };
        assert_eq!(checkpoint.tensor(kind, layer), expected, "{kind} of layer {layer}");
    }
    file.tensors.retain(|tensor| !tensor.name.ends_with(".bias") || tensor.name.ends_with("attn_output.bias"));
    let Opened { checkpoint, .. } = open(&file).expect("a checkpoint");
    assert_eq!(checkpoint.config().attention, AttentionExtras { qkv_bias: false, ..attention });
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let refused = |edit: &dyn Fn(&mut gguf::Gguf)| {
        let mut file = random_file(&llama());
        edit(&mut file);
        open(&file).err().expect("a refusal")
    };
    let q_proj = "blk.1.attn_q.weight";
    let error = refused(&|file| file.tensors.retain(|tensor| tensor.name != q_proj));
    assert!(error.contains(&format!("no tensor {q_proj} of shape [32, 64]")), "{error}");
    let error = refused(&|file| file.tensor(q_proj).dimensions = vec![32, 64]);
    assert!(error.contains(q_proj) && error.contains("[64, 32]") && error.contains("[32, 64]"), "{error}");
    let error = refused(&|file| file.tensor(q_proj).kind = 10);
    assert!(error.contains(q_proj) && error.contains("Q2_K; expected one of F32, F16, Q4_0"), "{error}");
    let error = refused(&|file| file.tensor(q_proj).kind = 99);
    assert!(error.contains("numbers of type 99"), "{error}");
    let error = refused(&|file| {
        let tensor = file.tensor("blk.0.attn_norm.weight");
        (tensor.kind, tensor.dimensions[0]) = (8, 33);
    });
    assert!(error.contains("row length 33; expected a multiple of 32, the block of Q8_0"), "{error}");
    for dimensions in [vec![], vec![1; 5], vec![0], vec![u64::MAX, 2], vec![1 << 40, 1 << 40]] {
        let error = refused(&|file| file.tensor(q_proj).dimensions.clone_from(&dimensions));
        assert!(error.contains(q_proj), "{error}");
    }
    for name in ["blk.0.ffn_up.bias", "blk.2.attn_q.weight", "blk.2.attn_q.bias"] {
        let error = refused(&|file| {
            let extra = file.tensor("output_norm.weight").clone();
            file.tensors.push(gguf::Tensor { name: name.to_owned(), ..extra });
        });
        assert!(error.contains(&format!("tensor {name} belongs to no")), "{error}");
    }
    let error = refused(&|file| {
        let again = file.tensor(q_proj).clone();
        file.tensors.push(again);
    });
    assert!(error.contains("two tensors called"), "{error}");
    // The next tensor does not start where this one says that it ends.
    for len in [32, 288] {
        let error = refused(&|file| file.tensor("blk.0.attn_norm.weight").bytes.resize(len, 0));
        assert!(error.contains("and the one before it ends at") && error.contains("with its padding"), "{error}");
    }
}

#[test]
fn the_structure_is_checked() {
    let parse = |bytes: &[u8]| Gguf::parse(bytes).map(|gguf| gguf.tensors().len()).map_err(|error| error.to_string());
    let file = random_file(&llama());
    let whole = file.to_bytes();
    assert_eq!(parse(&whole), Ok(file.tensors.len()));
    let refused = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        edit(&mut bytes);
        parse(&bytes).expect_err("a refusal")
    };
    let version = |version: [u8; 4]| refused(&move |bytes| bytes[4..8].copy_from_slice(&version));
    assert!(version([1, 0, 0, 0]).starts_with("version 1; expected GGUF version 2 or 3"));
    assert!(version([4, 0, 0, 0]).starts_with("version 4"));
    assert!(version([0, 0, 0, 3]).starts_with("a big-endian file of version 3"));
    assert!(refused(&|bytes| bytes[0] = b'X').contains("GGUF"));
    assert!(refused(&|bytes| bytes[8..16].fill(255)).contains("18446744073709551615 tensors; expected at most 65536"));
    assert!(refused(&|bytes| bytes[16..24].fill(255)).contains("keys; expected at most"));
    // The first key's length.
    assert!(refused(&|bytes| bytes[24..32].fill(255)).contains("the name of key 0 calls for 18446744073709551615"));
    assert!(refused(&|bytes| bytes[32] = 255).contains("not UTF-8"));
    assert!(refused(&|bytes| bytes.truncate(bytes.len() - 1)).contains("cut off"));

    let with = |value: Value| {
        let mut file = random_file(&llama());
        file.set("some.key", value);
        parse(&file.to_bytes())
    };
    let nested = |depth: usize| {
        let list = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
        let numbers = [4u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec(), vec![0; 4]].concat();
        Value::Raw(9, [list.repeat(depth - 1), numbers].concat())
    };
    assert!(with(nested(4)).is_ok());
    for depth in [6, 1000] {
        let error = with(nested(depth)).expect_err("a refusal");
        assert!(error.contains("some.key") && error.contains("lists within lists"), "{error}");
    }
    assert!(with(Value::Raw(13, vec![])).expect_err("a refusal").contains("type 13"));
    assert!(with(Value::Raw(7, vec![2])).expect_err("a refusal").contains("truth value 2"));
    for kind in [0u32, 4, 8, 9, 12] {
        let endless = [kind.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
        assert!(with(Value::Raw(9, endless)).is_err(), "{kind}");
    }
    let mut twice = random_file(&llama());
    let again = ("llama.block_count".to_owned(), Value::U32(2));
    twice.keys.push(again);
    assert!(parse(&twice.to_bytes()).expect_err("a refusal").contains("two keys called \"llama.block_count\""));

    for (version, alignment) in [(2, 32), (3, 1), (3, 2), (3, 8), (3, 4096)] {
        let mut file = random_file(&llama());
        file.version = version;
        file.set("general.alignment", Value::U32(alignment));
        open(&file).expect("another alignment");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_files_never_panic(
        flips in prop::collection::vec((0usize..16_000, any::<u8>()), 0..4),
        cut in prop::option::of(0usize..20_000),
    ) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| random_file(&llama()).to_bytes());
        let mut bytes = WHOLE.clone();
        for (at, byte) in flips {
            bytes[at] = byte;
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("model.gguf");
        fs::write(&path, &bytes).expect("a file");
        if let Ok(gguf) = Gguf::parse(&bytes)
            && let Ok(vocabulary) = Vocabulary::from_gguf(&gguf, TOKENS)
        {
            let _ = vocabulary.sections();
        }
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            for (kind, layer) in checkpoint.config().tensors() {
                checkpoint.tensor(kind, layer);
            }
        }
    }

    #[test]
    fn damaged_numbers_never_panic(at in 0usize..3000, number in any::<u64>()) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| random_file(&llama()).to_bytes());
        let mut bytes = WHOLE.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = Gguf::parse(&bytes);
    }
}
