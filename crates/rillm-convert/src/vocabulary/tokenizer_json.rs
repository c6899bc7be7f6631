//! Reads `tokenizer.json` of the Hugging Face `tokenizers` library.

use std::collections::HashMap;

use rillm::tokenizer::layout::PrefixSpace;
use serde_json::{Value, json};

use super::byte_level::merge_ids;
use super::byte_level_json::byte_level;
use super::settings::Settings;
use super::{AddedToken, Problem, Vocabulary, unsupported};
use crate::json;

impl Vocabulary {
    /// Reads a `tokenizer.json` and the `tokenizer_config.json` beside it, if there is one. `truncation` and `padding`
    /// are left to the caller, as in `transformers`.
    ///
    /// # Errors
    /// [`Problem`], which names the first field that requires anything but byte-pair encoding as in known models.
    pub fn from_tokenizer_json(bytes: &[u8], config: Option<&[u8]>, vocab_size: u32) -> Result<Self, Problem> {
        Self::from_json(bytes, &Settings::of_config(config)?, vocab_size)
    }

    pub(super) fn from_json(bytes: &[u8], settings: &Settings, vocab_size: u32) -> Result<Self, Problem> {
        let json: Value = json::read(bytes)?;
        let model = &json["model"];
        let is_word_piece = model["type"] == "WordPiece";
        let mut vocabulary = match is_word_piece {
            true => Self::from_word_pieces(&json, settings, vocab_size)?,
            false => Self::from_merges(&json, settings, vocab_size)?,
        };
        let bos = template_bos(&json["post_processor"])?;
        if let Some(token) = bos.filter(|&bos| bos >= vocab_size) {
            return Err(Problem::TooManyTokens { token: token as usize, vocab_size });
        }
        vocabulary.add_bos = bos.is_some();
        vocabulary.bos = bos.or_else(|| vocabulary.find(settings.name("bos_token")?));
        vocabulary.chat_template = settings.chat_template.clone();
        vocabulary.special_tokens = settings.special_tokens();
        Ok(vocabulary)
    }

    /// Byte-pair encoding, over bytes or over characters.
    fn from_merges(json: &Value, settings: &Settings, vocab_size: u32) -> Result<Self, Problem> {
        let model = &json["model"];
        let byte_level = byte_level(json)?;
        check_model(model, byte_level.is_some())?;

        let ids = vocab(model)?;
        let pieces = pieces(&ids, vocab_size)?;
        let merges = merges(model)?;
        let added = added_tokens(json, settings, &ids, false, vocab_size);
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
        Ok(vocabulary)
    }

    /// The treatment of spaces: the `Prepend` and `Replace` normalizers, or the `Metaspace` pre-tokenizer.
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

/// Refuses models other than complete, deterministic byte-pair encoding over bytes, or over characters with byte
/// fallback.
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
            // Without an unknown token there is nothing to fuse, and with byte fallback nothing is unknown.
            "fuse_unk" => !over_bytes || model["unk_token"].is_null(),
            _ => false,
        };
        if !allowed && !is_off(&model[field]) {
            return Err(unsupported(format!("{field} of model"), &model[field], "none"));
        }
    }
    Ok(())
}

/// The vocabulary's pieces by id; empty for an unused id.
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

/// The added tokens, those of the files beside the tokenizer included. They may strip spaces beside them where those are
/// `no_text` anyway.
pub(super) fn added_tokens(
    json: &Value,
    settings: &Settings,
    pieces: &HashMap<&str, u32>,
    no_text: bool,
    vocab_size: u32,
) -> Result<Vec<AddedToken>, Problem> {
    let own = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    settings.added(own, (pieces, pieces.len()), no_text, vocab_size)
}

/// The only step of a Sequence whose `list` has one; null if the list is empty; anything else unchanged.
pub(super) fn alone<'a>(step: &'a Value, list: &str) -> &'a Value {
    match step[list].as_array().map(Vec::as_slice) {
        Some([]) if step["type"] == "Sequence" => &Value::Null,
        Some([only]) if step["type"] == "Sequence" => alone(only, list),
        _ => step,
    }
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

/// The token that the post-processor inserts before every text. Tokens after a text are dropped, because a prompt is
/// continued.
fn template_bos(post_processor: &Value) -> Result<Option<u32>, Problem> {
    let steps = match post_processor["processors"].as_array() {
        Some(steps) if post_processor["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(post_processor),
    };
    let firsts = steps.iter().map(step_firsts).collect::<Option<Vec<_>>>().map(|firsts| firsts.concat());
    match firsts.as_deref() {
        Some([]) => Ok(None),
        Some([id]) => Ok(Some(*id)),
        _ => Err(unsupported(
            "post_processor",
            post_processor,
            "none, ByteLevel, BertProcessing, RobertaProcessing, and a TemplateProcessing with at most one special token before \
             the text",
        )),
    }
}

/// The tokens that a step of the post-processor inserts before a text; `None` if it does anything else.
fn step_firsts(step: &Value) -> Option<Vec<u32>> {
    let token = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    match step["type"].as_str() {
        None if step.is_null() => Some(Vec::new()),
        // This step changes no token.
        Some("ByteLevel") => Some(Vec::new()),
        Some("BertProcessing" | "RobertaProcessing") => Some(vec![token(&step["cls"][1])?]),
        Some("TemplateProcessing") => {
            let single = step["single"].as_array()?;
            let text = single.iter().position(|part| part["Sequence"]["id"] == "A")?;
            let is_special = |part: &Value| part["SpecialToken"].is_object();
            let ids = single[..text].iter().map(|part| {
                let name = part["SpecialToken"]["id"].as_str()?;
                step["special_tokens"][name]["ids"].as_array()?.iter().map(token).collect::<Option<Vec<_>>>()
            });
            let ids = ids.collect::<Option<Vec<_>>>()?.concat();
            single[text + 1..].iter().all(is_special).then_some(ids)
        }
        _ => None,
    }
}
