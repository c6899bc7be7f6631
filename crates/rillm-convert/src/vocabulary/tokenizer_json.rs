//! `tokenizer.json` of the Hugging Face `tokenizers` library.

use std::collections::HashMap;

use rillm::tokenizer::layout::PrefixSpace;
use serde_json::{Value, json};

use super::byte_level::merge_ids;
use super::byte_level_json::byte_level;
use super::config::{TokenizerConfig, added_token};
use super::{AddedToken, Problem, Vocabulary, unsupported};

impl Vocabulary {
    /// Reads a `tokenizer.json` and, if there is one, the `tokenizer_config.json` beside it. `truncation` and `padding`
    /// are left to the caller of a tokenizer, as `transformers` does it.
    ///
    /// # Errors
    /// [`Problem`] names the first field that asks for something else than byte-pair encoding as known models have it.
    pub fn from_tokenizer_json(bytes: &[u8], config: Option<&[u8]>, vocab_size: u32) -> Result<Self, Problem> {
        let json: Value = serde_json::from_slice(bytes)?;
        let config = TokenizerConfig::parse(config)?;
        let model = &json["model"];
        if model["type"] == "WordPiece" {
            return Self::from_word_pieces(&json, config, vocab_size);
        }
        let byte_level = byte_level(&json)?;
        check_model(model, byte_level.is_some())?;

        let ids = vocab(model)?;
        let pieces = pieces(&ids, vocab_size)?;
        let merges = merges(model)?;
        let added = added_tokens(&json, false);
        let unk = model["unk_token"].as_str();
        let mut vocabulary;
        if let Some(byte_level) = byte_level {
            vocabulary = Self::byte_level(pieces, &merges, added?, byte_level, vocab_size)?;
            vocabulary.unk = unk.and_then(|unk| vocabulary.find(unk));
        } else {
            vocabulary = Self::of_pieces(pieces, vocab_size)?;
            vocabulary.merges = merge_ids(&merges, |piece| ids.get(piece).copied())?;
            vocabulary.unk = unk.and_then(|unk| vocabulary.find(unk));
            vocabulary.read_spaces(&json["normalizer"], &json["pre_tokenizer"])?;
            for token in added? {
                vocabulary.add(token)?;
            }
            vocabulary.strip_space = strips_space(&json["decoder"])?;
        }

        let bos = template_bos(&json["post_processor"], false)?;
        vocabulary.add_bos = match &json["post_processor"] {
            Value::Null => config.add_bos == Some(true),
            _ => bos.is_some(),
        };
        vocabulary.bos = bos.or_else(|| vocabulary.find(&config.bos?));
        vocabulary.chat_template = config.chat_template.unwrap_or_default();
        vocabulary.special_tokens = config.special_tokens;
        Ok(vocabulary)
    }

    /// What becomes of spaces: the `Prepend` and `Replace` normalizers, or the `Metaspace` pre-tokenizer.
    fn read_spaces(&mut self, normalizer: &Value, pre_tokenizer: &Value) -> Result<(), Problem> {
        const SUPPORTED: &str =
            "Prepend \"▁\" (or none) and Replace \" \" by \"▁\", or no normalizer and a Metaspace pre_tokenizer";
        let steps = match normalizer {
            Value::Null => &[][..],
            sequence if sequence["type"] == "Sequence" => sequence["normalizers"]
                .as_array()
                .ok_or_else(|| Problem::Malformed("the normalizer Sequence has no list".into()))?,
            step => std::slice::from_ref(step),
        };
        let mut replaced = false;
        for step in steps {
            if *step == json!({"type": "Prepend", "prepend": "▁"}) && self.prefix == PrefixSpace::Never {
                self.prefix = PrefixSpace::Prepend;
            } else if *step == json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}) {
                replaced = true;
            } else {
                return Err(unsupported("normalizer", step, SUPPORTED));
            }
        }
        if replaced && pre_tokenizer.is_null() {
            return Ok(());
        }
        if !steps.is_empty() || pre_tokenizer["type"] != "Metaspace" {
            let found = json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer});
            return Err(unsupported("treatment of spaces", found, SUPPORTED));
        }
        let replacement = &pre_tokenizer["replacement"];
        if replacement != "▁" {
            return Err(unsupported("replacement of pre_tokenizer", replacement, "\"▁\""));
        }
        self.prefix = match (pre_tokenizer["prepend_scheme"].as_str(), pre_tokenizer["add_prefix_space"].as_bool()) {
            (Some("never"), _) | (None, Some(false)) => PrefixSpace::Never,
            (Some("always") | None, _) => PrefixSpace::Always,
            (Some("first"), _) => PrefixSpace::First,
            (Some(scheme), _) => {
                return Err(unsupported("prepend_scheme of pre_tokenizer", scheme, "always, first and never"));
            }
        };
        self.escaped_marks = false;
        self.split_words = pre_tokenizer["split"] != false;
        Ok(())
    }
}

/// Refuses models that are not byte-pair encoding, done to the end and always the same: over bytes, or over characters
/// with byte fallback.
fn check_model(model: &Value, over_bytes: bool) -> Result<(), Problem> {
    let is_bpe = model["type"] == "BPE" || (model["type"].is_null() && model["merges"].is_array());
    if !is_bpe {
        return Err(unsupported("type of model", &model["type"], "BPE and WordPiece"));
    }
    if (model["byte_fallback"] == true) == over_bytes {
        return Err(unsupported(
            "byte_fallback of model",
            &model["byte_fallback"],
            "false with a ByteLevel pre_tokenizer, and true without",
        ));
    }
    let is_off = |value: &Value| value.is_null() || *value == false || *value == "" || value.as_f64() == Some(0.0);
    for field in ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges", "fuse_unk"] {
        let allowed = match field {
            "ignore_merges" => over_bytes,
            // Without an unknown token there is nothing to fuse, and with byte fallback nothing unknown.
            "fuse_unk" => !over_bytes || model["unk_token"].is_null(),
            _ => false,
        };
        if !allowed && !is_off(&model[field]) {
            return Err(unsupported(format!("{field} of model"), &model[field], "none"));
        }
    }
    Ok(())
}

/// The vocabulary's pieces by their numbers; of numbers without one, empty.
pub(super) fn pieces(ids: &HashMap<&str, u32>, vocab_size: u32) -> Result<Vec<String>, Problem> {
    let len = ids.values().max().map_or(0, |&id| id as usize + 1);
    if len > vocab_size as usize {
        return Err(Problem::TooManyTokens { token: len - 1, vocab_size });
    }
    let mut pieces = vec![String::new(); len];
    for (&piece, &id) in ids {
        if !pieces[id as usize].is_empty() {
            return Err(Problem::Malformed(format!("two pieces have the number {id}")));
        }
        pieces[id as usize] = piece.to_owned();
    }
    Ok(pieces)
}

/// The added tokens, which may strip spaces beside them where those are `no_text` anyway.
pub(super) fn added_tokens(json: &Value, no_text: bool) -> Result<Vec<AddedToken>, Problem> {
    let tokens = json["added_tokens"].as_array().into_iter().flatten();
    let added = tokens.map(|token| {
        let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| Problem::Malformed(format!("added token without id: {token}")))?;
        added_token(token, id, no_text)
    });
    added.collect()
}

pub(super) fn vocab(model: &Value) -> Result<HashMap<&str, u32>, Problem> {
    let malformed = || Problem::Malformed("the model has no vocab of numbered pieces".into());
    let vocab = model["vocab"].as_object().ok_or_else(malformed)?;
    vocab
        .iter()
        .map(|(piece, id)| {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            id.map(|id| (piece.as_str(), id)).ok_or_else(malformed)
        })
        .collect()
}

/// The merges, each written as `"a b"` or as `["a", "b"]`.
fn merges(model: &Value) -> Result<Vec<(String, String)>, Problem> {
    let list =
        model["merges"].as_array().ok_or_else(|| Problem::Malformed("the model has no list of merges".into()))?;
    let lines = list.iter().filter(|line| !line.as_str().is_some_and(|line| line.starts_with("#version")));
    let pair = |(rank, line): (usize, &Value)| {
        let pair = match line {
            Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
            _ => line[0].as_str().zip(line[1].as_str()),
        };
        let (left, right) = pair.ok_or_else(|| Problem::Malformed(format!("merge {rank} is {line}")))?;
        Ok((left.to_owned(), right.to_owned()))
    };
    lines.enumerate().map(pair).collect()
}

/// Whether the decoder strips the first space: `Replace`, `ByteFallback`, `Fuse` and perhaps `Strip`.
fn strips_space(decoder: &Value) -> Result<bool, Problem> {
    let mut usual = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let is = |usual: &[Value]| *decoder == json!({"type": "Sequence", "decoders": usual});
    if is(&usual) {
        return Ok(false);
    }
    usual.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    if is(&usual) {
        return Ok(true);
    }
    Err(unsupported(
        "decoder",
        decoder,
        "the Sequence of Replace \"▁\" by \" \", ByteFallback, Fuse and (or without) Strip \" \" start 1 stop 0",
    ))
}

/// The token that the post-processor puts before every text. One that it puts after every text is left out where
/// `may_end`.
pub(super) fn template_bos(post_processor: &Value, may_end: bool) -> Result<Option<u32>, Problem> {
    let refused = || {
        unsupported(
            "post_processor",
            post_processor,
            "none, ByteLevel, and a TemplateProcessing with at most one special token before the text, and of a WordPiece \
             model one after it or a BertProcessing",
        )
    };
    let is_text = |part: &Value| part["Sequence"]["id"] == "A";
    let token = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).map(Some).ok_or_else(refused);
    let steps = match post_processor["processors"].as_array() {
        Some(steps) if post_processor["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(post_processor),
    };
    // ByteLevel changes no token.
    let mut steps = steps.iter().filter(|step| !step.is_null() && (may_end || step["type"] != "ByteLevel"));
    let step = match (steps.next(), steps.next()) {
        (None, _) => return Ok(None),
        (Some(step), None) => step,
        _ => return Err(refused()),
    };
    match step["type"].as_str() {
        Some("BertProcessing") if may_end => return token(&step["cls"][1]),
        Some("TemplateProcessing") => {}
        _ => return Err(refused()),
    }
    let single = match step["single"].as_array().ok_or_else(refused)?.as_slice() {
        [single @ .., last] if may_end && last["SpecialToken"].is_object() => single,
        single => single,
    };
    match single {
        [text] if is_text(text) => Ok(None),
        [special, text] if is_text(text) => {
            let name = special["SpecialToken"]["id"].as_str().ok_or_else(refused)?;
            let ids = &step["special_tokens"][name]["ids"];
            match ids.as_array().map(Vec::as_slice) {
                Some([id]) => token(id),
                _ => Err(refused()),
            }
        }
        _ => Err(refused()),
    }
}
