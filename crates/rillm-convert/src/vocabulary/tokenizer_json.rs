//! `tokenizer.json` of the Hugging Face `tokenizers` library.

use std::collections::HashMap;

use rillm::tokenizer::layout::PrefixSpace;
use serde_json::{Value, json};

use super::config::{TokenizerConfig, added_token};
use super::{Merge, Problem, Vocabulary, unsupported};

impl Vocabulary {
    /// Reads a `tokenizer.json` and, if there is one, the `tokenizer_config.json` beside it. `truncation` and `padding`
    /// are left to the caller of a tokenizer, as `transformers` does it.
    ///
    /// # Errors
    /// [`Problem`] names the first field that asks for something else than byte-pair encoding over characters.
    pub fn from_tokenizer_json(bytes: &[u8], config: Option<&[u8]>, vocab_size: u32) -> Result<Self, Problem> {
        let json: Value = serde_json::from_slice(bytes)?;
        let config = TokenizerConfig::parse(config)?;
        let model = &json["model"];
        check_model(model)?;

        let ids = vocab(model)?;
        let len = ids.values().max().map_or(0, |&id| id as usize + 1);
        if len > vocab_size as usize {
            return Err(Problem::TooManyTokens { token: len - 1, vocab_size });
        }
        let mut pieces = vec![String::new(); len];
        for (&piece, &id) in &ids {
            if !pieces[id as usize].is_empty() {
                return Err(Problem::Malformed(format!("two pieces have the number {id}")));
            }
            pieces[id as usize] = piece.to_owned();
        }
        let mut vocabulary = Self::of_pieces(pieces, vocab_size)?;
        vocabulary.merges = merges(model, &ids)?;
        vocabulary.unk = model["unk_token"].as_str().and_then(|unk| vocabulary.find(unk));
        vocabulary.read_spaces(&json["normalizer"], &json["pre_tokenizer"])?;
        let added = json["added_tokens"].as_array();
        for token in added.into_iter().flatten() {
            let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| Problem::Malformed(format!("added token without id: {token}")))?;
            vocabulary.add(added_token(token, id)?)?;
        }
        vocabulary.strip_space = strips_space(&json["decoder"])?;

        let bos = template_bos(&json["post_processor"])?;
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

/// Refuses models that are not byte-pair encoding with byte fallback, done to the end and always the same.
fn check_model(model: &Value) -> Result<(), Problem> {
    let is_bpe = model["type"] == "BPE" || (model["type"].is_null() && model["merges"].is_array());
    if !is_bpe {
        return Err(unsupported("type of model", &model["type"], "BPE"));
    }
    if model["byte_fallback"] != true {
        return Err(unsupported(
            "byte_fallback of model",
            &model["byte_fallback"],
            "true (byte-level BPE is not supported yet)",
        ));
    }
    let is_off = |value: &Value| value.is_null() || *value == false || *value == "" || value.as_f64() == Some(0.0);
    for field in ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"] {
        if !is_off(&model[field]) {
            return Err(unsupported(format!("{field} of model"), &model[field], "none"));
        }
    }
    Ok(())
}

fn vocab(model: &Value) -> Result<HashMap<&str, u32>, Problem> {
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
fn merges(model: &Value, ids: &HashMap<&str, u32>) -> Result<Vec<Merge>, Problem> {
    let list =
        model["merges"].as_array().ok_or_else(|| Problem::Malformed("the model has no list of merges".into()))?;
    let lines = list.iter().filter(|line| !line.as_str().is_some_and(|line| line.starts_with("#version")));
    // Of a pair that is there twice the last one counts.
    let mut merges: HashMap<(u32, u32), Merge> = HashMap::with_capacity(list.len());
    for (rank, line) in lines.enumerate() {
        let pair = match line {
            Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
            _ => line[0].as_str().zip(line[1].as_str()),
        };
        let (left, right) = pair.ok_or_else(|| Problem::Malformed(format!("merge {rank} is {line}")))?;
        let id = |piece: &str| {
            ids.get(piece).copied().ok_or_else(|| {
                Problem::Malformed(format!("merge {rank}, {line}, has {piece:?}, which is not in the vocab"))
            })
        };
        let merge =
            Merge { left: id(left)?, right: id(right)?, rank: rank as u32, merged: id(&[left, right].concat())? };
        merges.insert((merge.left, merge.right), merge);
    }
    let mut merges: Vec<_> = merges.into_values().collect();
    merges.sort_unstable_by_key(|merge| merge.rank);
    Ok(merges)
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

/// The token that the post-processor puts before every text.
fn template_bos(post_processor: &Value) -> Result<Option<u32>, Problem> {
    let refused = || {
        unsupported(
            "post_processor",
            post_processor,
            "none, or a TemplateProcessing with at most one special token before the text",
        )
    };
    if post_processor.is_null() {
        return Ok(None);
    }
    let single = match post_processor["type"].as_str() {
        Some("TemplateProcessing") => post_processor["single"].as_array(),
        _ => None,
    };
    let is_text = |part: &Value| part["Sequence"]["id"] == "A";
    match single.ok_or_else(refused)?.as_slice() {
        [text] if is_text(text) => Ok(None),
        [special, text] if is_text(text) => {
            let name = special["SpecialToken"]["id"].as_str().ok_or_else(refused)?;
            let ids = &post_processor["special_tokens"][name]["ids"];
            match ids.as_array().map(Vec::as_slice) {
                Some([id]) => id.as_u64().and_then(|id| u32::try_from(id).ok()).map(Some).ok_or_else(refused),
                _ => Err(refused()),
            }
        }
        _ => Err(refused()),
    }
}
