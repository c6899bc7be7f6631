//! The tokens of a file, classified as by llama.cpp: special tokens, and tokens that end a text.
//!
//! The rules and names are those of `llama_vocab::impl::load` in `src/llama-vocab.cpp` of llama.cpp (2026).

use super::{Gguf, GgufError, Value};

pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(crate) const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// Special tokens that end a text, by name, whatever their types.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
/// Tokens that are part of an answer, by name, whatever their types.
const SHOWN: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];
/// The special tokens of code models: the name in the key, an older name, whether the token ends a text, and the
/// token's text where there is no key.
const CODE_MARKS: [(&str, Option<&str>, bool, &[&str]); 6] = [
    (
        "fim_pre",
        Some("prefix"),
        false,
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
    ),
    (
        "fim_suf",
        Some("suffix"),
        false,
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
    ),
    (
        "fim_mid",
        Some("middle"),
        false,
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
    ),
    ("fim_pad", None, true, &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    ("fim_rep", None, true, &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    ("fim_sep", None, true, &["<|file_sep|>"]),
];

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// A piece of text.
    Normal,
    /// The unknown token, for what cannot be spelled.
    Unknown,
    /// A special token.
    Control,
    /// An added token, which is matched before any merge.
    UserDefined,
    /// A piece of text that is never printed.
    Unused,
    /// A byte, as `<0x41>`.
    Byte,
}

/// A file's tokens.
pub(crate) struct Tokens<'a> {
    /// Their texts; empty if the file has no list of tokens.
    pub texts: Vec<&'a str>,
    /// Their types.
    pub types: Vec<TokenType>,
    /// The tokens that end a text, in this order: by key, by name, and those of code models.
    pub ends: Vec<u32>,
}

impl<'a> Gguf<'a> {
    /// Reads the tokens, if the file has a list of them, and the tokens that end a text.
    pub(crate) fn tokens(&self) -> Result<Tokens<'a>, GgufError> {
        let texts = self.texts(TOKENS)?.unwrap_or_default();
        let mut tokens = Tokens { types: self.types(texts.len())?, texts, ends: Vec::new() };
        for name in ["eos", "eot", "eom"] {
            tokens.end_at(self.special(name)?);
        }
        for (id, text) in (0..).zip(tokens.texts.clone()) {
            if ENDS.contains(&text) {
                tokens.types[id as usize] = TokenType::Control;
                tokens.end_at(Some(id));
            }
        }
        for (name, older, ends, texts) in CODE_MARKS {
            let mut mark = self.special(name)?;
            if let Some(older) = older {
                mark = self.special(older)?.or(mark);
            }
            if mark.is_none() {
                let found = tokens.texts.iter().position(|text| texts.contains(text));
                found.iter().for_each(|&id| tokens.types[id] = TokenType::Control);
                mark = found.map(|id| id as u32);
            }
            tokens.end_at(mark.filter(|_| ends));
        }
        tokens.correct();
        Ok(tokens)
    }

    /// The token that a key names, for example `bos`; llama.cpp's default if the key is missing or names no token of
    /// the file.
    pub(crate) fn special(&self, name: &str) -> Result<Option<u32>, GgufError> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let len = self.len(TOKENS).unwrap_or(u64::MAX);
        let known = |id: u32| u64::from(id) < len;
        let named = match self.get(&key) {
            None => None,
            Some(Value::Integer(id)) => u32::try_from(id).ok().filter(|&id| known(id)),
            Some(_) => return Err(self.error(&key, "an integer")),
        };
        let default = match (self.text("tokenizer.ggml.model")?, name) {
            (Some("llama"), "unk") => Some(0),
            (Some("llama"), "bos") => Some(1),
            (Some("llama"), "eos") => Some(2),
            (Some("gpt2"), "bos" | "eos") => Some(11),
            _ => None,
        };
        Ok(named.or(default.filter(|&id| known(id))))
    }

    /// The types of `len` tokens; normal if the file has no types.
    fn types(&self, len: usize) -> Result<Vec<TokenType>, GgufError> {
        let Some(types) = self.numbers_of_tokens(TOKEN_TYPES, len)? else {
            return Ok(vec![TokenType::Normal; len]);
        };
        let known = |number: f32| match number as i64 {
            1 => TokenType::Normal,
            2 => TokenType::Unknown,
            3 => TokenType::Control,
            4 => TokenType::UserDefined,
            6 => TokenType::Byte,
            _ => TokenType::Unused,
        };
        Ok(types.into_iter().map(known).collect())
    }

    /// A list with a number for each of `len` tokens, if there is one; further numbers are dropped.
    pub(crate) fn numbers_of_tokens(&self, key: &str, len: usize) -> Result<Option<Vec<f32>>, GgufError> {
        let Some(mut numbers) = self.numbers(key)? else { return Ok(None) };
        if numbers.len() < len {
            return Err(self.error(key, format!("a list of {len} numbers, one for each token")));
        }
        numbers.truncate(len);
        Ok(Some(numbers))
    }
}

impl Tokens<'_> {
    fn end_at(&mut self, token: Option<u32>) {
        self.ends.extend(token.filter(|token| !self.ends.contains(token)));
    }

    /// The corrections that llama.cpp makes for some families.
    fn correct(&mut self) {
        for (text, kind) in self.texts.iter().zip(&mut self.types) {
            if SHOWN.contains(text) {
                *kind = TokenType::UserDefined;
            }
        }
        let end = |text| self.ends.iter().copied().find(|&id| self.texts.get(id as usize) == Some(&text));
        let [returns, calls, flushes] = [&["<|return|>"][..], &["<|call|>", "<|calls|>"], &["<|flush|>"]]
            .map(|texts| texts.iter().any(|text| end(text).is_some()));
        let message = end("<|end|>").filter(|_| calls && (returns || flushes)).map(|id| (id, TokenType::UserDefined));
        let text = end("</s>").filter(|_| end("<|tool_response>").is_some()).map(|id| (id, TokenType::Normal));
        for (id, kind) in message.into_iter().chain(text) {
            self.ends.retain(|&end| end != id);
            self.types[id as usize] = kind;
        }
    }
}
