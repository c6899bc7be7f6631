//! The tokenizer among the keys of a GGUF file, read as llama.cpp reads it.

use super::{AddedToken, ByteLevel, PrefixSpace, Problem, Splits, TokenKind, Vocabulary, unsupported};
use crate::gguf::{Gguf, GgufError};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";

// What `token_type` says of a token.
const NORMAL: f32 = 1.0;
const UNKNOWN: f32 = 2.0;
const CONTROL: f32 = 3.0;
const USER_DEFINED: f32 = 4.0;
const UNUSED: f32 = 5.0;
const BYTE: f32 = 6.0;

impl Vocabulary {
    /// Reads the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// [`Problem`] names the key.
    pub fn from_gguf(gguf: &Gguf, vocab_size: u32) -> Result<Self, Problem> {
        let key = "tokenizer.ggml.add_eos_token";
        if gguf.bool(key)? == Some(true) {
            return Err(unsupported(key, true, "false: a prompt must not end the text"));
        }
        let mut vocabulary = match gguf.text(MODEL)? {
            Some("llama") => sentencepiece(gguf, vocab_size)?,
            Some("gpt2") => byte_level(gguf, vocab_size)?,
            _ => {
                let expected =
                    "\"llama\" (sentencepiece with byte fallback) or \"gpt2\" (byte-pair encoding over bytes)";
                return Err(gguf.error(MODEL, expected).into());
            }
        };
        vocabulary.chat_template = gguf.text("tokenizer.chat_template")?.unwrap_or_default().to_owned();
        for name in ["bos_token", "eos_token"] {
            let id = gguf.u32(&format!("tokenizer.ggml.{name}_id"))?;
            let token = id.and_then(|id| vocabulary.tokens.get(id as usize));
            let text = token.and_then(|token| String::from_utf8(token.text.clone()).ok());
            vocabulary.special_tokens.extend(text.map(|text| (name.to_owned(), text)));
        }
        Ok(vocabulary)
    }
}

/// Byte-pair encoding over characters with byte fallback.
fn sentencepiece(gguf: &Gguf, vocab_size: u32) -> Result<Vocabulary, Problem> {
    let (pieces, types) = tokens(gguf)?;
    let scores = numbers(gguf, SCORES, pieces.len())?;
    let mut vocabulary = Vocabulary::of_pieces(pieces, vocab_size)?;
    vocabulary.merge_by_score(&scores, |id| types[id] == NORMAL)?;
    vocabulary.bos = gguf.bos()?;
    vocabulary.add_bos = gguf.bool(ADD_BOS)?.unwrap_or(true) && vocabulary.bos.is_some();
    vocabulary.unk = gguf.u32("tokenizer.ggml.unknown_token_id")?.or(Some(0));
    // llama.cpp puts the space before every text between two marks.
    let prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    vocabulary.prefix = if prefix { PrefixSpace::Prepend } else { PrefixSpace::Never };
    vocabulary.strip_space = prefix;
    for (id, &kind) in types.iter().enumerate() {
        let is_byte = vocabulary.tokens[id].kind == TokenKind::Byte;
        if is_byte != (kind == BYTE) {
            return Err(wrong_type(&vocabulary.pieces[id], kind));
        }
    }
    for token in added(&vocabulary.pieces, &types) {
        vocabulary.add(token)?;
    }
    Ok(vocabulary)
}

/// Byte-pair encoding over the bytes of words, cut as the `pre` key says.
fn byte_level(gguf: &Gguf, vocab_size: u32) -> Result<Vocabulary, Problem> {
    // Names that llama.cpp takes for one and the same are so here.
    let (splits, llama3) = match gguf.text(PRE)? {
        Some("gpt-2") => (Splits::Gpt2, false),
        Some("smollm") => (Splits::DigitsGpt2, false),
        Some("llama-bpe" | "llama3" | "llama-v3") => (Splits::Llama3, true),
        Some("qwen2" | "deepseek-r1-qwen") => (Splits::Qwen2, false),
        _ => return Err(gguf.error(PRE, "\"gpt-2\", \"smollm\", \"llama-bpe\" or \"qwen2\"").into()),
    };
    let (pieces, types) = tokens(gguf)?;
    if let Some(id) = types.iter().position(|&kind| kind == BYTE) {
        return Err(wrong_type(&pieces[id], BYTE));
    }
    let merges = gguf.texts(MERGES)?.ok_or_else(|| gguf.error(MERGES, "a list of strings"))?;
    let merges = merges.into_iter().map(|merge| split_merge(gguf, merge)).collect::<Result<Vec<_>, _>>()?;
    // Qwen 2's tokenizer normalises text, which no key says.
    let algorithm = ByteLevel { splits, prefix_space: false, ignore_merges: llama3, nfc: splits == Splits::Qwen2 };
    let added = added(&pieces, &types);
    let mut vocabulary = Vocabulary::byte_level(pieces, &merges, added, algorithm, vocab_size)?;
    vocabulary.bos = gguf.bos()?;
    vocabulary.add_bos = gguf.bool(ADD_BOS)?.unwrap_or(llama3) && vocabulary.bos.is_some();
    Ok(vocabulary)
}

/// The pieces and their types, which are known; unused pieces are empty.
fn tokens(gguf: &Gguf) -> Result<(Vec<String>, Vec<f32>), Problem> {
    let pieces = gguf.texts(TOKENS)?.ok_or_else(|| gguf.error(TOKENS, "a list of strings"))?;
    let types = numbers(gguf, TYPES, pieces.len())?;
    let used = |(piece, &kind): (&str, &f32)| match kind {
        NORMAL | UNKNOWN | CONTROL | USER_DEFINED | BYTE => Ok(piece.to_owned()),
        UNUSED => Ok(String::new()),
        _ => Err(wrong_type(piece, kind)),
    };
    let pieces = pieces.into_iter().zip(&types).map(used).collect::<Result<_, _>>()?;
    Ok((pieces, types))
}

/// The tokens that are found as they are written, unless nothing is written of them.
fn added(pieces: &[String], types: &[f32]) -> Vec<AddedToken> {
    let tokens = pieces.iter().zip(types).enumerate();
    let added =
        tokens.filter(|(_, (piece, kind))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED) && !piece.is_empty());
    added
        .map(|(id, (piece, &kind))| AddedToken {
            id: id as u32,
            content: piece.clone(),
            normalized: false,
            special: kind != USER_DEFINED,
        })
        .collect()
}

/// The two pieces of a merge, between which stands a space that is not the first character.
fn split_merge(gguf: &Gguf, merge: &str) -> Result<(String, String), GgufError> {
    let space = merge.char_indices().skip(1).find(|&(_, c)| c == ' ');
    let (left, right) = space
        .map(|(at, _)| (&merge[..at], &merge[at + 1..]))
        .ok_or_else(|| gguf.error(MERGES, format!("a space between two pieces in {merge:?}")))?;
    Ok((left.to_owned(), right.to_owned()))
}

fn wrong_type(piece: &str, found: f32) -> Problem {
    let supported = "1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, and 6 byte of pieces such as <0x41>";
    unsupported(format!("{TYPES} of piece {piece:?}"), found, supported)
}

/// A list of as many numbers as there are tokens.
fn numbers(gguf: &Gguf, key: &str, tokens: usize) -> Result<Vec<f32>, Problem> {
    let numbers = gguf.numbers(key)?.filter(|numbers| numbers.len() == tokens);
    numbers.ok_or_else(|| gguf.error(key, format!("a list of {tokens} numbers, one for each token")).into())
}
