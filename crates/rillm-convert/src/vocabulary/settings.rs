//! The files that `transformers` keeps beside a tokenizer: `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json` and chat templates. [The list of models] has their order of precedence.
//!
//! [the list of models]: https://github.com/rillm/rillm/blob/main/docs/models.md

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{AddedToken, Problem, VocabularyError, unsupported};
use crate::json;

/// The names of special tokens in `transformers`, in the order in which it assigns ids to new ones.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of special tokens without names.
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The settings that affect the tokens of a text or of a chat.
#[derive(Default)]
pub(super) struct Settings {
    pub add_bos: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub legacy: Option<bool>,
    pub chat_template: String,
    /// The settings of `BertTokenizer`, which override the normalizer's.
    pub bert: Option<Bert>,
    /// The named special tokens: texts, or objects as in `added_tokens`.
    names: BTreeMap<String, Value>,
    /// Special tokens without names.
    extra: Vec<Value>,
    /// The tokens that are listed with ids, by id.
    listed: BTreeMap<u32, Value>,
}

/// The settings of `BertTokenizer`, with its defaults.
pub(super) struct Bert {
    pub lowercase: bool,
    pub strip_accents: Option<bool>,
    pub split_ideographs: bool,
}

impl Settings {
    /// Reads the files beside a tokenizer's file.
    pub fn beside(tokenizer: &Path) -> Result<Self, VocabularyError> {
        let config = read_json(&tokenizer.with_file_name("tokenizer_config.json"))?;
        let mut settings = Self::default();
        let at = |name: &str| {
            let path = tokenizer.with_file_name(name);
            |problem| VocabularyError { path, problem }
        };
        settings.read_config(&config).map_err(at("tokenizer_config.json"))?;
        // Both are older than the list of added tokens in the file above.
        if !config.contains_key("added_tokens_decoder") {
            let map = read_json(&tokenizer.with_file_name("special_tokens_map.json"))?;
            settings.read_names(&map).map_err(at("special_tokens_map.json"))?;
            let added = read_json(&tokenizer.with_file_name("added_tokens.json"))?;
            settings.read_added(&added).map_err(at("added_tokens.json"))?;
        }
        for name in ["chat_template.jinja", "additional_chat_templates/default.jinja"] {
            let text = read(&tokenizer.with_file_name(name))?;
            settings.chat_template =
                text.map_or(settings.chat_template, |text| String::from_utf8_lossy(&text).into_owned());
        }
        if settings.chat_template.is_empty() {
            // Multimodal processors store it here.
            let template = read_json(&tokenizer.with_file_name("chat_template.json"))?;
            settings.chat_template = chat_template(template.get("chat_template"));
        }
        Ok(settings)
    }

    /// Reads `tokenizer_config.json` alone, if there is one.
    pub fn of_config(config: Option<&[u8]>) -> Result<Self, Problem> {
        let mut settings = Self::default();
        settings.read_config(&config.map(json::read).transpose()?.unwrap_or_default())?;
        Ok(settings)
    }

    fn read_config(&mut self, config: &Map<String, Value>) -> Result<(), Problem> {
        let flag = |name: &str| match config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(unsupported(name, json::shown(other), "true and false")),
        };
        self.add_bos = flag("add_bos_token")?;
        self.add_prefix_space = flag("add_prefix_space")?;
        self.legacy = flag("legacy")?;
        self.chat_template = chat_template(config.get("chat_template"));
        let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let class = class.trim_end_matches("Fast");
        if class == "BertTokenizer" {
            self.bert = Some(Bert {
                lowercase: flag("do_lower_case")?.unwrap_or(true),
                strip_accents: flag("strip_accents")?,
                split_ideographs: flag("tokenize_chinese_chars")?.unwrap_or(true),
            });
        }
        for (name, text) in defaults(class) {
            self.names.insert((*name).to_owned(), json!(text));
        }
        self.read_names(config)?;
        let listed = config.get("added_tokens_decoder").and_then(Value::as_object);
        for (id, token) in listed.into_iter().flatten() {
            let number = id.parse().ok().filter(|_| text(token).is_some());
            let number = number.ok_or_else(|| {
                let found = json::shown(&json!({ id: token }));
                unsupported("added_tokens_decoder", found, "numbers of tokens, each with content")
            })?;
            self.listed.insert(number, token.clone());
        }
        Ok(())
    }

    /// Reads the special tokens of an object, which override those that were read before.
    fn read_names(&mut self, json: &Map<String, Value>) -> Result<(), Problem> {
        for (name, token) in json.iter().filter(|(name, _)| name.ends_with("_token")) {
            if text(token).is_some() {
                self.names.insert(name.clone(), token.clone());
            } else if NAMES.contains(&name.as_str()) {
                if !token.is_null() {
                    return Err(unsupported(name.as_str(), json::shown(token), "a token's text, alone or as content"));
                }
                self.names.remove(name);
            }
        }
        for list in LISTS.iter().filter_map(|name| json.get(*name)) {
            if let Value::Object(named) = list {
                self.names.extend(named.iter().map(|(name, token)| (name.clone(), token.clone())));
            }
            for token in list.as_array().into_iter().flatten() {
                if text(token).is_some() && !self.extra.iter().any(|other| text(other) == text(token)) {
                    self.extra.push(token.clone());
                }
            }
        }
        Ok(())
    }

    /// Reads `added_tokens.json`: an id for each text.
    fn read_added(&mut self, json: &Map<String, Value>) -> Result<(), Problem> {
        for (content, id) in json {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = number.ok_or_else(|| unsupported(content.as_str(), json::shown(id), "a token's number"))?;
            let special = self.special().any(|token| text(token) == Some(content));
            self.listed.insert(id, json!({"content": content, "special": special}));
        }
        Ok(())
    }

    /// The special tokens, the named ones first.
    fn special(&self) -> impl Iterator<Item = &Value> {
        let known = NAMES.iter().filter_map(|name| self.names.get(*name));
        let others = self.names.iter().filter(|(name, _)| !NAMES.contains(&name.as_str())).map(|(_, token)| token);
        known.chain(others).chain(&self.extra)
    }

    /// The added tokens: the tokenizer's `own`, and those that are listed or named here. Their ids are those that
    /// `tokenizers` assigns, whatever the files say: a token has the id of the piece with its text, and a new token has
    /// the next id after all others. `pieces` are the ids of the model's `len` pieces. Tokens without an embedding in a
    /// model of `vocab_size` tokens are dropped. For `no_text` see [`added_token`].
    pub fn added(
        &self,
        own: &[Value],
        (pieces, len): (&HashMap<&str, u32>, usize),
        no_text: bool,
        vocab_size: u32,
    ) -> Result<Vec<AddedToken>, Problem> {
        let mut added: Vec<AddedToken> = Vec::new();
        let mut next = len as u32;
        let listed = own.iter().chain(self.listed.values()).map(|token| (token, true));
        for (token, is_listed) in listed.chain(self.special().map(|token| (token, false))) {
            let content = text(token).unwrap_or_default();
            let known = added.iter_mut().find(|token| token.content == content);
            if known.is_some() && !is_listed || content.is_empty() {
                continue;
            }
            let id = known.as_ref().map(|token| token.id).or_else(|| pieces.get(content).copied()).unwrap_or(next);
            next = next.max(id + 1);
            let token = match token {
                Value::String(content) => added_token(&json!({"content": content, "special": true}), id, no_text)?,
                object => added_token(object, id, no_text)?,
            };
            match known {
                Some(known) => *known = token,
                None => added.push(token),
            }
        }
        added.retain(|token| token.id < vocab_size);
        for token in &mut added {
            token.special |= self.special().any(|special| text(special) == Some(&token.content));
        }
        Ok(added)
    }

    /// The text of a special token.
    pub fn name(&self, name: &str) -> Option<&str> {
        self.names.get(name).and_then(text)
    }

    /// The special tokens' names and texts.
    pub fn special_tokens(&self) -> Vec<(String, String)> {
        let names = self.names.iter();
        names.filter_map(|(name, token)| Some((name.clone(), text(token)?.to_owned()))).collect()
    }
}

/// The default special tokens of the classes of `transformers`.
fn defaults(class: &str) -> &'static [(&'static str, &'static str)] {
    const END: &str = "<|endoftext|>";
    match class {
        "LlamaTokenizer" | "CodeLlamaTokenizer" => {
            &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]
        }
        "GemmaTokenizer" => {
            &[("bos_token", "<bos>"), ("eos_token", "<eos>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")]
        }
        "GPT2Tokenizer" => &[("bos_token", END), ("eos_token", END), ("unk_token", END)],
        "Qwen2Tokenizer" => &[("eos_token", END), ("unk_token", END), ("pad_token", END)],
        "BertTokenizer" => &[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ],
        _ => &[],
    }
}

/// A token's text: a string, or a field of an object.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or(token["content"].as_str())
}

/// The chat template: a string, or the default one of several named templates.
fn chat_template(json: Option<&Value>) -> String {
    let template = match json {
        Some(Value::Array(named)) => {
            named.iter().rfind(|template| template["name"] == "default").map(|template| &template["template"])
        }
        Some(Value::Object(named)) => named.get("default"),
        other => other,
    };
    template.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An added token of any of the files. It may strip spaces beside it where those are `no_text` anyway.
pub(super) fn added_token(json: &Value, id: u32, no_text: bool) -> Result<AddedToken, Problem> {
    let content = json["content"]
        .as_str()
        .filter(|content| !content.is_empty())
        .ok_or_else(|| Problem::Malformed(format!("added token {id} has no content")))?;
    for field in ["single_word", "lstrip", "rstrip"] {
        if json[field] == true && !(no_text && field != "single_word") {
            return Err(unsupported(format!("{field} of the added token {content:?}"), true, "false"));
        }
    }
    let special = json["special"] == true;
    Ok(AddedToken {
        id,
        content: content.to_owned(),
        normalized: json["normalized"].as_bool().unwrap_or(!special),
        special,
    })
}

/// A file's bytes, if there is one.
fn read(path: &Path) -> Result<Option<Vec<u8>>, VocabularyError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(VocabularyError { path: path.to_owned(), problem: error.into() }),
    }
}

/// A file's JSON object; an empty one if there is no file.
fn read_json(path: &Path) -> Result<Map<String, Value>, VocabularyError> {
    let json = read(path)?.map(|bytes| json::read(&bytes)).transpose();
    let json = json.map_err(|error| VocabularyError { path: path.to_owned(), problem: error.into() })?;
    Ok(json.unwrap_or_default())
}
