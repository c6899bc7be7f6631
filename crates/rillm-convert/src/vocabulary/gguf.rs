//! The tokenizer among the keys of a GGUF file, read as llama.cpp reads it.

use super::{AddedToken, PrefixSpace, Problem, TokenKind, Vocabulary, unsupported};
use crate::gguf::Gguf;

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

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
            _ => return Err(gguf.error(MODEL, "\"llama\" (sentencepiece)").into()),
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
    let pieces = texts(gguf, TOKENS)?;
    let types = numbers(gguf, TYPES, pieces.len())?;
    let scores = numbers(gguf, SCORES, pieces.len())?;
    let mut vocabulary = Vocabulary::of_pieces(pieces, vocab_size)?;
    vocabulary.merge_by_score(&scores, |id| types[id] == NORMAL)?;
    vocabulary.bos = gguf.bos()?;
    vocabulary.add_bos = gguf.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(true) && vocabulary.bos.is_some();
    vocabulary.unk = gguf.u32("tokenizer.ggml.unknown_token_id")?.or(Some(0));
    // llama.cpp puts the space before every text between two marks.
    let prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    vocabulary.prefix = if prefix { PrefixSpace::Prepend } else { PrefixSpace::Never };
    vocabulary.strip_space = prefix;
    for (id, &kind) in types.iter().enumerate() {
        let is_byte = vocabulary.tokens[id].kind == TokenKind::Byte;
        match kind {
            NORMAL | UNUSED if !is_byte => {}
            BYTE if is_byte => {}
            UNKNOWN | CONTROL | USER_DEFINED => add(&mut vocabulary, id as u32, kind)?,
            _ => return Err(wrong_type(&vocabulary.pieces[id], kind)),
        }
    }
    Ok(vocabulary)
}

/// Adds a token that is found as it is written, unless nothing is written of it.
fn add(vocabulary: &mut Vocabulary, id: u32, kind: f32) -> Result<(), Problem> {
    let content = vocabulary.pieces[id as usize].clone();
    if content.is_empty() {
        return Ok(());
    }
    vocabulary.add(AddedToken { id, content, normalized: false, special: kind != USER_DEFINED })
}

fn wrong_type(piece: &str, found: f32) -> Problem {
    let supported = "1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, and 6 byte of pieces such as <0x41>";
    unsupported(format!("{TYPES} of piece {piece:?}"), found, supported)
}

fn texts(gguf: &Gguf, key: &str) -> Result<Vec<String>, Problem> {
    let texts = gguf.texts(key)?.ok_or_else(|| gguf.error(key, "a list of strings"))?;
    Ok(texts.into_iter().map(str::to_owned).collect())
}

/// A list of as many numbers as there are tokens.
fn numbers(gguf: &Gguf, key: &str, tokens: usize) -> Result<Vec<f32>, Problem> {
    let numbers = gguf.numbers(key)?.filter(|numbers| numbers.len() == tokens);
    numbers.ok_or_else(|| gguf.error(key, format!("a list of {tokens} numbers, one for each token")).into())
}
