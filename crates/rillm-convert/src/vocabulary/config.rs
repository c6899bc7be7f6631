//! `tokenizer_config.json`, which `transformers` keeps beside a tokenizer.

use serde_json::Value;

use super::{AddedToken, Problem, unsupported};

/// What of the file bears on the tokens of a text.
#[derive(Default)]
pub(super) struct TokenizerConfig {
    pub add_bos: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub legacy: Option<bool>,
    pub bos: Option<String>,
    pub chat_template: Option<String>,
    pub special_tokens: Vec<(String, String)>,
    added: Value,
}

impl TokenizerConfig {
    /// Reads the file, if there is one.
    pub fn parse(bytes: Option<&[u8]>) -> Result<Self, Problem> {
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        let json: Value = serde_json::from_slice(bytes)?;
        if json["add_eos_token"] == true {
            return Err(unsupported(
                "add_eos_token of tokenizer_config.json",
                true,
                "false: a prompt must not end the text",
            ));
        }
        // A token is written as its text, or as an object that has the text.
        let text = |token: &Value| token.as_str().or(token["content"].as_str()).map(str::to_owned);
        let fields = json.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
        Ok(Self {
            add_bos: json["add_bos_token"].as_bool(),
            add_prefix_space: json["add_prefix_space"].as_bool(),
            legacy: json["legacy"].as_bool(),
            bos: text(&json["bos_token"]),
            chat_template: chat_template(&json["chat_template"]),
            special_tokens: fields.filter_map(|(name, token)| Some((name.clone(), text(token)?))).collect(),
            added: json["added_tokens_decoder"].clone(),
        })
    }

    /// The added tokens that the file lists.
    pub fn added(&self) -> Result<Vec<AddedToken>, Problem> {
        let tokens = self.added.as_object().into_iter().flatten();
        let added = tokens.map(|(id, token)| {
            let id = id.parse().map_err(|_| Problem::Malformed(format!("added_tokens_decoder has token \"{id}\"")))?;
            added_token(token, id, false)
        });
        added.collect()
    }
}

/// The chat template: alone, or the default one of several, each with its name.
fn chat_template(json: &Value) -> Option<String> {
    let mut named = json.as_array().into_iter().flatten();
    let default = || named.find(|template| template["name"] == "default")?["template"].as_str();
    json.as_str().or_else(default).map(str::to_owned)
}

/// Reads an added token of either JSON file. It may strip spaces beside it where those are `no_text` anyway.
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
