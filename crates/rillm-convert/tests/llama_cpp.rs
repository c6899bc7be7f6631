//! Odd GGUF files against llama.cpp, which `llama_cpp/make.py` has asked.

use std::fs;

use crate::support::engine::Engine;
use crate::support::gguf::{self, Value};
use rillm::format::MAX_EOS;
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::gguf::Gguf;
use rillm_convert::vocabulary::Vocabulary;
use serde_json::Value as Json;

fn list<T>(json: &Json, element: impl Fn(&Json) -> Option<T>) -> Vec<T> {
    json.as_array().expect("a list").iter().map(|json| element(json).expect("an element")).collect()
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

/// The value of a key: its type and what it is, of most lists the usual one and what follows.
fn value(key: &str, json: &Json, shared: &Json) -> Value {
    let mut value = json[1].clone();
    if let Some(base) = value["base"].as_str() {
        let mut whole = list(&shared[base][key][1], |json| Some(json.clone()));
        whole.extend(list(&value["then"], |json| Some(json.clone())));
        value = whole.into();
    }
    match json[0].as_str().expect("a type") {
        "text" => Value::Text(text(&value).expect("a text")),
        "u32" => Value::U32(value.as_u64().expect("a number") as u32),
        "bool" => Value::Bool(value.as_bool().expect("a truth value")),
        "texts" => Value::Texts(list(&value, text)),
        "i32s" => Value::I32s(list(&value, |json| json.as_i64().map(|number| number as i32))),
        "f32s" => Value::F32s(list(&value, |json| json.as_f64().map(|number| number as f32))),
        other => panic!("a type {other}"),
    }
}

/// A number of a tensor of the models, the same in `make.py`.
fn number(tensor: usize, index: usize) -> f32 {
    let mixed = (index as u32).wrapping_mul(2_654_435_761).wrapping_add(tensor as u32 * 97_531);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519);
    (((mixed >> 12) % 4001) as f32 - 2000.0) / 4096.0
}

/// A model of one layer with these keys, and biases of attention that are named.
fn model(keys: Vec<(String, Value)>, tokens: usize, biases: &[String]) -> gguf::Gguf {
    let mut file = gguf::Gguf { version: 3, keys, tensors: Vec::new() };
    file.set("general.architecture", Value::Text("llama".to_owned()));
    for (key, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 32),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
    ] {
        file.set(&format!("llama.{key}"), Value::U32(value));
    }
    file.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let mut add = |name: String, dimensions: &[u64]| {
        let tensor = file.tensors.len();
        let numbers = (0..dimensions.iter().product::<u64>() as usize).map(|index| number(tensor, index));
        let bytes = numbers.flat_map(f32::to_le_bytes).collect();
        file.tensors.push(gguf::Tensor { name, dimensions: dimensions.to_vec(), kind: 0, bytes });
    };
    add("token_embd.weight".to_owned(), &[32, tokens as u64]);
    add("output_norm.weight".to_owned(), &[32]);
    for name in ["attn_norm", "ffn_norm"] {
        add(format!("blk.0.{name}.weight"), &[32]);
    }
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
        add(format!("blk.0.{name}.weight"), &[32, 32]);
    }
    biases.iter().for_each(|name| add(format!("blk.0.{name}.bias"), &[32]));
    file
}

fn open(file: &gguf::Gguf) -> Result<Checkpoint, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.gguf");
    fs::write(&path, file.to_bytes()).expect("a file");
    Checkpoint::open(&path).map_err(|error| error.to_string())
}

/// What rillm makes of a file.
struct Found {
    /// The tokens of the texts.
    texts: Vec<Vec<u32>>,
    /// Those of a text without marks.
    plain: Vec<u32>,
    /// Those that end a text.
    ends: Vec<u32>,
}

fn found(keys: &Json, shared: &Json) -> Result<Found, String> {
    let keys = keys.as_object().expect("keys").iter();
    let keys: Vec<_> = keys.map(|(key, json)| (key.clone(), value(key, json, shared))).collect();
    let tokens = keys.iter().find(|(key, _)| key == "tokenizer.ggml.tokens");
    let tokens = if let Some((_, Value::Texts(texts))) = tokens { texts.len() } else { 100 };
    let file = model(keys, tokens, &[]);
    let ends = open(&file)?.config().eos.clone();
    let bytes = file.to_bytes();
    let gguf = Gguf::parse(&bytes).map_err(|error| error.to_string())?;
    let vocabulary = Vocabulary::from_gguf(&gguf, tokens as u32).map_err(|error| error.to_string())?;
    vocabulary.section().map_err(|error| error.to_string())?;
    let mut engine = Engine::of(&vocabulary);
    let texts = list(&shared["texts"], text).iter().map(|text| engine.encode(text).expect("tokens")).collect();
    let plain = engine.encode_plain(shared["plain"].as_str().expect("a text")).expect("tokens");
    Ok(Found { texts, plain, ends })
}

#[test]
fn odd_vocabularies_are_those_of_llama_cpp() {
    let goldens: Json = serde_json::from_slice(include_bytes!("llama_cpp/vocabularies.json")).expect("goldens");
    let shared = &goldens["shared"];
    let texts = list(&shared["texts"], text);
    let mut wrong = Vec::new();
    let cases = goldens["cases"].as_array().expect("cases");
    assert!(cases.len() > 120);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let expected = &case["expected"];
        let ids = |json: &Json| list(json, |id| id.as_u64().map(|id| id as u32));
        match found(&case["keys"], shared) {
            Err(_) if expected.is_null() => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(_) if expected.is_null() => wrong.push(format!("{name}: llama.cpp refuses it")),
            Ok(Found { texts: tokens, plain, ends }) => {
                for (at, tokens) in tokens.iter().enumerate() {
                    let expected = ids(&expected["tokens"][at]);
                    if *tokens != expected {
                        wrong.push(format!("{name}: {:?} is {tokens:?}, expected {expected:?}", texts[at]));
                    }
                }
                if plain != ids(&expected["plain"]) {
                    wrong.push(format!("{name}: without marks {plain:?}, expected {:?}", ids(&expected["plain"])));
                }
                let expected = ids(&expected["ends"]);
                if ends.len() != expected.len().min(MAX_EOS) || ends.iter().any(|end| !expected.contains(end)) {
                    wrong.push(format!("{name}: ends {ends:?}, expected {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn biases_of_attention_count_as_in_llama_cpp() {
    let goldens: Json = serde_json::from_slice(include_bytes!("llama_cpp/biases.json")).expect("goldens");
    let tokens = goldens["tokens"].as_u64().expect("a number") as usize;
    for golden in goldens["models"].as_array().expect("models") {
        let checkpoint = open(&model(Vec::new(), tokens, &list(&golden["biases"], text))).expect("a checkpoint");
        let mut reference = checkpoint.reference();
        let mut logits = Vec::new();
        for (position, token) in list(&goldens["prompt"], Json::as_u64).into_iter().enumerate() {
            logits = reference.forward(token as u32, position).to_vec();
        }
        let sum = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        for pair in golden["top"].as_array().expect("tokens") {
            let found = f64::from(logits[pair[0].as_u64().expect("a token") as usize]) - sum;
            let expected = pair[1].as_f64().expect("a logarithm");
            assert!((found - expected).abs() < 1e-3, "{}: {pair}, found {found}", golden["biases"]);
        }
    }
}
