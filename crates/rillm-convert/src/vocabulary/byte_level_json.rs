//! Reads the settings of byte-pair encoding over bytes from `tokenizer.json`.

use serde_json::{Value, json};

use super::tokenizer_json::alone;
use super::{ByteLevel, PreTokenizer, Problem, unsupported};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The settings; `None` if the tokenizer does not work over bytes.
///
/// # Errors
/// [`Problem`], which names the first part that differs from known models.
pub(super) fn byte_level(json: &Value) -> Result<Option<ByteLevel>, Problem> {
    let pre_tokenizer = &json["pre_tokenizer"];
    let steps = match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) if pre_tokenizer["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(pre_tokenizer),
    };
    if !steps.iter().any(|step| step["type"] == "ByteLevel") {
        return Ok(None);
    }
    let refused = || {
        unsupported(
            "pre_tokenizer",
            pre_tokenizer,
            "ByteLevel, Digits and ByteLevel, or a Split by Llama 3's or Qwen 2's pattern and ByteLevel without use_regex, \
             the latter two without add_prefix_space",
        )
    };
    let (pre_tokenizer, byte_level, has_regex) = match steps {
        [byte_level] => (PreTokenizer::Gpt2, byte_level, true),
        [digits, byte_level] if *digits == json!({"type": "Digits", "individual_digits": true}) => {
            (PreTokenizer::DigitsGpt2, byte_level, true)
        }
        [digits, byte_level] if *digits == json!({"type": "Digits", "individual_digits": false}) => {
            (PreTokenizer::NumbersGpt2, byte_level, true)
        }
        [split, byte_level] => {
            let known = [(LLAMA3, PreTokenizer::Llama3), (QWEN2, PreTokenizer::Qwen2)].into_iter().find(|(pattern, _)| {
                *split
                    == json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
            });
            (known.ok_or_else(refused)?.1, byte_level, false)
        }
        _ => return Err(refused()),
    };
    let prefix_space = byte_level["add_prefix_space"] == true;
    let regex = byte_level["use_regex"].as_bool().unwrap_or(true);
    if byte_level["type"] != "ByteLevel" || regex != has_regex || (prefix_space && pre_tokenizer != PreTokenizer::Gpt2)
    {
        return Err(refused());
    }
    let nfc = match alone(&json["normalizer"], "normalizers") {
        Value::Null => false,
        nfc if *nfc == json!({"type": "NFC"}) => true,
        other => return Err(unsupported("normalizer", other, "none or NFC, where bytes are merged")),
    };
    if alone(&json["decoder"], "decoders")["type"] != "ByteLevel" {
        return Err(unsupported("decoder", &json["decoder"], "ByteLevel, where bytes are merged"));
    }
    let ignore_merges = json["model"]["ignore_merges"] == true;
    Ok(Some(ByteLevel { pre_tokenizer, prefix_space, ignore_merges, nfc }))
}
