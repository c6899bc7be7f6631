//! What lies beside a tokenizer counts as `transformers` has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::engine::Engine;
use rillm_convert::vocabulary::Vocabulary;
use serde_json::{Value, json};

/// A file of `beside/`.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("beside").join(name)).expect("a file")
}

fn fixture_json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).expect("JSON")
}

/// A directory with a tokenizer of `beside/`, its post-processor exchanged, and with `files`, which are JSON or, where they are
/// strings, texts.
fn directory(tokenizer: &str, post_processor: Option<&Value>, files: &Value) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    };
    if tokenizer == "model" {
        write("tokenizer.model", &fixture("tokenizer.model"));
    } else {
        let mut json = fixture_json(&format!("{tokenizer}.json"));
        if let Some(post_processor) = post_processor {
            json["post_processor"] = post_processor.clone();
        }
        write("tokenizer.json", json.to_string().as_bytes());
    }
    for (name, content) in files.as_object().expect("files") {
        write(name, content.as_str().map_or_else(|| content.to_string(), str::to_owned).as_bytes());
    }
    directory
}

fn open(tokenizer: &str, files: &Value, vocab_size: u32) -> Result<Vocabulary, String> {
    let directory = directory(tokenizer, None, files);
    let error = |error: rillm_convert::vocabulary::VocabularyError| error.to_string();
    Vocabulary::open(directory.path(), vocab_size).map_err(error)
}

#[test]
fn tokens_and_names_are_those_of_transformers() {
    let rows = fixture_json("rows.json");
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 140);
    let mut wrong = Vec::new();
    for row in rows {
        let (name, tokenizer) = (&row["name"], row["tokenizer"].as_str().expect("a name"));
        let directory = directory(tokenizer, row["post_processor"].get(0), &row["files"]);
        let vocab_size = row["vocab_size"].as_u64().expect("a size") as u32;
        let vocabulary = match Vocabulary::open(directory.path(), vocab_size) {
            Ok(vocabulary) => vocabulary,
            Err(error) => {
                wrong.push(format!("{tokenizer}, {name}: {error}"));
                continue;
            }
        };
        let mut engine = Engine::of(&vocabulary);
        for (text, expected) in row["texts"].as_array().expect("texts").iter().zip(row["ids"].as_array().expect("ids"))
        {
            let text = text.as_str().expect("a text");
            let found = json!(engine.encode(text).expect("tokens"));
            if found != *expected {
                wrong.push(format!("{tokenizer}, {name}, {text:?}: expected {expected}, found {found}"));
            }
        }
        let names: BTreeMap<_, _> = vocabulary.special_tokens.into_iter().collect();
        if json!(names) != row["names"] {
            wrong.push(format!("{tokenizer}, {name}: expected {}, found {}", row["names"], json!(names)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Models get tokens beyond the table only by a mistake of whoever named them: `transformers` fails where a text has one.
#[test]
fn added_tokens_without_an_embedding_are_text() {
    let files = json!({"tokenizer_config.json": {"pad_token": "<pad>", "added_tokens_decoder": {"512": {"content": "<extra>"}}}});
    let ids = |vocab_size| Engine::of(&open("characters", &files, vocab_size).expect("a vocabulary")).encode("<extra>");
    assert_eq!(ids(514), Ok(vec![1, 512]));
    assert_eq!(ids(512).map(|ids| ids.len() > 2), Ok(true));
}

#[test]
fn what_flags_strip_is_refused_by_name() {
    for (flag, tokenizer) in [("lstrip", "characters"), ("rstrip", "byte_level"), ("single_word", "model")] {
        let token = json!({"content": "<extra>", flag: true});
        let files = json!({"tokenizer_config.json": {"added_tokens_decoder": {"701": token}}});
        let error = open(tokenizer, &files, 800).expect_err("a refusal");
        assert!(error.contains(&format!("{flag} of the added token \"<extra>\" is true")), "{error}");
    }
}

#[test]
fn an_error_names_the_file_and_the_field() {
    for (name, content, expected) in [
        ("tokenizer_config.json", "{\"bos_token\": NaN}", "tokenizer_config.json: bos_token is NaN"),
        ("tokenizer_config.json", "{\"add_bos_token\": Infinity}", "tokenizer_config.json: add_bos_token is Infinity"),
        ("tokenizer_config.json", "{\"bos_token\": \"<s>\",}", "tokenizer_config.json: trailing comma at line 1"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json: invalid type: sequence"),
        (
            "tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"x\": {}}}",
            "tokenizer_config.json: added_tokens_decoder is {\"x\":{}}",
        ),
        ("special_tokens_map.json", "{\"eos_token\": 2}", "special_tokens_map.json: eos_token is 2"),
        ("special_tokens_map.json", "{", "special_tokens_map.json: EOF"),
        ("added_tokens.json", "{\"<extra>\": NaN}", "added_tokens.json: <extra> is NaN"),
        ("added_tokens.json", "{\"<extra>\": -1}", "added_tokens.json: <extra> is -1"),
    ] {
        let error = open("characters", &json!({name: content}), 600).expect_err(content);
        assert!(error.contains(expected), "{content}: {error}");
    }
    let unused = "\u{feff}{\"model_max_length\": Infinity, \"x\": [NaN, 1e999, -Infinity], \"bos_token\": \"<s>\"}";
    let read = |content: &str| open("characters", &json!({"tokenizer_config.json": content}), 600);
    assert_eq!(read(unused), read("{\"bos_token\": \"<s>\"}"));
}

/// The places of chat templates, in the order in which they count.
#[test]
fn templates_are_found_where_checkpoints_have_them() {
    let named =
        |names: &[&str]| json!(names.iter().map(|name| json!({"name": name, "template": name})).collect::<Vec<_>>());
    let mut files = json!({});
    let mut found = |name: &str, content: Value| {
        files[name] = content;
        open("characters", &files, 600).expect("a vocabulary").chat_template
    };
    assert_eq!(found("tokenizer_config.json", json!({})), "");
    assert_eq!(found("chat_template.json", json!({"chat_template": "of a processor"})), "of a processor");
    assert_eq!(found("tokenizer_config.json", json!({"chat_template": named(&["tool_use", "default"])})), "default");
    assert_eq!(
        found("tokenizer_config.json", json!({"chat_template": {"default": "a dictionary's"}})),
        "a dictionary's"
    );
    assert_eq!(found("tokenizer_config.json", json!({"chat_template": "plain"})), "plain");
    assert_eq!(found("chat_template.jinja", json!("a file")), "a file");
    assert_eq!(found("additional_chat_templates/tool_use.jinja", json!("tools")), "a file");
    assert_eq!(found("additional_chat_templates/default.jinja", json!("the last")), "the last");
}

/// Templates know `[CLS]` and `[SEP]` by names, from a file or from the tokenizer's class.
#[test]
fn names_of_a_word_piece_tokenizer_are_known_to_its_template() {
    let template =
        "{{ cls_token }}{% for m in messages %}{{ m.role }} : {{ m.content }}{{ sep_token }}{% endfor %}assistant :";
    let written = template.replace("{{ cls_token }}", "[CLS]").replace("{{ sep_token }}", "[SEP]");
    let chat = |files: Value| {
        let vocabulary = open("word_piece", &files, 101).expect("a vocabulary");
        vocabulary.sections().expect("sections").chat
    };
    let expected = chat(json!({"chat_template.jinja": written}));
    assert!(expected.is_ok(), "{expected:?}");
    for files in [
        json!({"tokenizer_config.json": {"cls_token": "[CLS]", "sep_token": {"content": "[SEP]"}}}),
        json!({"special_tokens_map.json": {"cls_token": "[CLS]", "sep_token": "[SEP]"}}),
        json!({"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}),
    ] {
        let mut files = files;
        files["chat_template.jinja"] = template.into();
        assert_eq!(chat(files.clone()), expected, "{files}");
    }
}
