//! The tokenizer in the keys of a GGUF file, read as llama.cpp reads it.

use std::collections::HashSet;

use super::{AddedToken, ByteLevel, PreTokenizer, PrefixSpace, Problem, Vocabulary, byte_of, unsupported};
use crate::gguf::{Gguf, GgufError, TOKEN_TYPES, TOKENS, TokenType, Tokens};

const MODEL: &str = "tokenizer.ggml.model";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

// Names in the `pre` key that llama.cpp takes for one and the same: those of GPT-2's pattern,
const GPT2: [&str; 12] = [
    "gpt-2",
    "jina-v2-code",
    "phi-2",
    "gigachat",
    "a.x-4.0",
    "mellum",
    "exaone4",
    "mpt",
    "olmo",
    "jais",
    "trillion",
    "granite-docling",
];
// of single digits before it,
const DIGITS_GPT2: [&str; 8] =
    ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"];
// of Llama 3, with whole words first and a token that starts every text,
const LLAMA3: [&str; 8] = ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"];
// of Llama 3's pattern alone,
const LLAMA3_PATTERN: [&str; 2] = ["dbrx", "smaug-bpe"];
// of Qwen 2,
const QWEN2: [&str; 4] = ["qwen2", "deepseek-r1-qwen", "kormo", "megrez"];
// and of Qwen 2's pattern alone.
const QWEN2_PATTERN: [&str; 3] = ["stablelm2", "hunyuan", "solar-open"];

impl Vocabulary {
    /// Reads the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// [`Problem`], which names the key.
    pub fn from_gguf(gguf: &Gguf, vocab_size: u32) -> Result<Self, Problem> {
        strips_no_spaces(gguf)?;
        if gguf.get(TOKENS).is_none() {
            return Err(gguf.error(TOKENS, "a list of strings").into());
        }
        let tokens = gguf.tokens()?;
        let mut vocabulary = match gguf.text(MODEL)? {
            Some("llama") => sentencepiece(gguf, &tokens, vocab_size)?,
            Some("gpt2") => byte_level(gguf, &tokens, vocab_size)?,
            _ => {
                let expected =
                    "\"llama\" (sentencepiece with byte fallback) or \"gpt2\" (byte-pair encoding over bytes)";
                return Err(gguf.error(MODEL, expected).into());
            }
        };
        for (token, kind) in vocabulary.tokens.iter_mut().zip(&tokens.types) {
            if *kind == TokenType::Unused {
                token.text.clear();
            }
        }
        let template = gguf.text(CHAT_TEMPLATE)?.or(gguf.text(&format!("{CHAT_TEMPLATE}.default"))?);
        vocabulary.chat_template = template.unwrap_or_default().to_owned();
        for (name, key) in [("bos_token", "bos"), ("eos_token", "eos")] {
            let text = gguf.special(key)?.and_then(|id| tokens.texts.get(id as usize));
            vocabulary.special_tokens.extend(text.map(|text| (name.to_owned(), (*text).to_owned())));
        }
        Ok(vocabulary)
    }
}

/// Byte-pair encoding over characters with byte fallback.
fn sentencepiece(gguf: &Gguf, tokens: &Tokens, vocab_size: u32) -> Result<Vocabulary, Problem> {
    for (text, kind) in tokens.texts.iter().zip(&tokens.types) {
        if *kind == TokenType::Byte && byte_of(text).is_none() {
            return Err(no_byte(text));
        }
    }
    spells_pieces(tokens)?;
    let scores = gguf.numbers_of_tokens(SCORES, tokens.texts.len())?.unwrap_or_else(|| vec![0.0; tokens.texts.len()]);
    let pieces = tokens.texts.iter().map(|&text| text.to_owned()).collect();
    let mut vocabulary = Vocabulary::of_pieces(pieces, vocab_size)?;
    // Added tokens are matched within longer ones, too.
    vocabulary.merge_by_score(&scores, |id| {
        let kind = tokens.types[id];
        matches!(kind, TokenType::Normal | TokenType::UserDefined | TokenType::Unused)
            && byte_of(tokens.texts[id]).is_none()
    })?;
    vocabulary.bos = gguf.special("bos")?;
    vocabulary.add_bos = gguf.bool(ADD_BOS)?.unwrap_or(true);
    vocabulary.unk = gguf.special("unk")?;
    // llama.cpp inserts the space before every text between two special tokens.
    let prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    vocabulary.prefix = if prefix { PrefixSpace::Prepend } else { PrefixSpace::Never };
    vocabulary.strip_space = prefix;
    for token in added(tokens) {
        vocabulary.add(token)?;
    }
    Ok(vocabulary)
}

/// Refuses pieces that llama.cpp merges from a character without a piece: rillm merges pieces only.
fn spells_pieces(tokens: &Tokens) -> Result<(), Problem> {
    let pieces: HashSet<&str> = tokens.texts.iter().copied().collect();
    let single = |text: &str| text.chars().nth(1).is_none();
    for (text, kind) in tokens.texts.iter().zip(&tokens.types) {
        let splits = [text.char_indices().nth(1), text.char_indices().next_back()];
        let mut splits = splits.into_iter().flatten().filter(|&(at, _)| at > 0).map(|(at, _)| text.split_at(at));
        let is_met = |part: &str| pieces.contains(part) || single(part);
        let is_unspelled = |(left, right): (&str, &str)| {
            is_met(left) && is_met(right) && !(pieces.contains(left) && pieces.contains(right))
        };
        if matches!(kind, TokenType::Normal | TokenType::Unused) && splits.any(is_unspelled) {
            let supported = "pieces whose characters are pieces, too";
            return Err(unsupported(
                format!("piece {text:?} of {TOKENS}"),
                "made of a character that is none",
                supported,
            ));
        }
    }
    Ok(())
}

/// Byte-pair encoding over the bytes of words. The `pre` key chooses the pre-tokenizer.
fn byte_level(gguf: &Gguf, tokens: &Tokens, vocab_size: u32) -> Result<Vocabulary, Problem> {
    let pre = gguf.text(PRE)?.unwrap_or_default();
    let known = [
        (&GPT2[..], PreTokenizer::Gpt2),
        (&DIGITS_GPT2, PreTokenizer::DigitsGpt2),
        (&LLAMA3, PreTokenizer::Llama3),
        (&LLAMA3_PATTERN, PreTokenizer::Llama3),
        (&QWEN2, PreTokenizer::Qwen2),
        (&QWEN2_PATTERN, PreTokenizer::Qwen2),
    ];
    let Some((_, pre_tokenizer)) = known.into_iter().find(|(names, _)| names.contains(&pre)) else {
        let expected = "\"gpt-2\", \"smollm\", \"llama-bpe\", \"qwen2\" or another name of these four patterns";
        return Err(gguf.error(PRE, expected).into());
    };
    if let Some(byte) = tokens.types.iter().position(|&kind| kind == TokenType::Byte) {
        return Err(no_byte(tokens.texts[byte]));
    }
    let merges = gguf.texts(MERGES)?.ok_or_else(|| gguf.error(MERGES, "a list of strings"))?;
    let mut merges = merges.into_iter().map(|merge| split_merge(gguf, merge)).collect::<Result<Vec<_>, _>>()?;
    // Of a duplicate pair llama.cpp uses the first.
    let mut seen = HashSet::new();
    merges.retain(|merge| seen.insert(merge.clone()));
    let llama3 = LLAMA3.contains(&pre);
    // Qwen 2's tokenizer normalises text, but no key says so.
    let algorithm = ByteLevel { pre_tokenizer, prefix_space: false, ignore_merges: llama3, nfc: QWEN2.contains(&pre) };
    let pieces = tokens.texts.iter().map(|&text| text.to_owned()).collect();
    let mut vocabulary = Vocabulary::byte_level(pieces, &merges, added(tokens), algorithm, vocab_size)?;
    vocabulary.bos = gguf.special("bos")?;
    vocabulary.add_bos = gguf.bool(ADD_BOS)?.unwrap_or(llama3);
    Ok(vocabulary)
}

/// The added tokens, except those with empty text.
fn added(tokens: &Tokens) -> Vec<AddedToken> {
    let tokens = (0..).zip(tokens.texts.iter().zip(&tokens.types)).filter(|(_, (text, _))| !text.is_empty());
    let added = tokens.filter_map(|(id, (text, kind))| {
        let special = match kind {
            TokenType::Unknown | TokenType::Control => true,
            TokenType::UserDefined => false,
            TokenType::Normal | TokenType::Unused | TokenType::Byte => return None,
        };
        Some(AddedToken { id, content: (*text).to_owned(), normalized: false, special })
    });
    added.collect()
}

/// The two pieces of a merge, separated by a space that is not the first character.
fn split_merge(gguf: &Gguf, merge: &str) -> Result<(String, String), GgufError> {
    let space = merge.char_indices().skip(1).find(|&(_, c)| c == ' ');
    let (left, right) = space
        .map(|(at, _)| (&merge[..at], &merge[at + 1..]))
        .ok_or_else(|| gguf.error(MERGES, format!("a space between two pieces in {merge:?}")))?;
    Ok((left.to_owned(), right.to_owned()))
}

/// Refuses models whose special tokens strip the white space after them. llama.cpp knows them by name.
fn strips_no_spaces(gguf: &Gguf) -> Result<(), Problem> {
    let key = "general.name";
    let name = gguf.text(key)?.unwrap_or_default().to_lowercase();
    if name.contains("phi-3") || name.contains("phi3") {
        let expected = "another model: Phi-3's marks swallow the white space after them, which rillm's do not";
        return Err(gguf.error(key, expected).into());
    }
    Ok(())
}

fn no_byte(text: &str) -> Problem {
    let supported = "this type only for pieces such as <0x41>, under tokenizer.ggml.model \"llama\"";
    unsupported(format!("{TOKEN_TYPES} of piece {text:?}"), "6, a byte", supported)
}
