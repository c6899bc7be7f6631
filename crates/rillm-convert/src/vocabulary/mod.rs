//! A checkpoint's tokenizer, read from any of its files, and written as a section of a `.rillm` file.
//!
//! Three algorithms are supported: byte-pair encoding over characters with byte fallback (Llama 1 and 2, Mistral,
//! TinyLlama, llama2.c), byte-pair encoding over the bytes of words (GPT-2, SmolLM2, Llama 3, Qwen), and WordPiece
//! (BERT). Anything else is refused by name.

mod byte_level;
mod byte_level_json;
mod gguf;
mod llama2c;
mod normal_forms;
mod section;
mod sentencepiece;
mod settings;
mod tokenizer_json;
mod wordpiece;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

pub use byte_level::ByteLevel;
pub use rillm::format::TokenKind;
use rillm::tokenizer::layout::{MAX_TOKENS, SPACE_MARK};
pub use rillm::tokenizer::layout::{PreTokenizer, PrefixSpace};
pub use wordpiece::{Normalizer, WordPiece};

use crate::checkpoint::WeightFile;
use crate::gguf::{Gguf, GgufError, is_gguf};
use settings::Settings;

/// An error with the file that it is in.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
#[non_exhaustive]
pub struct VocabularyError {
    /// The file, or the directory that has no tokenizer.
    pub path: PathBuf,
    /// The problem. The message includes it, so it is no [`source`](std::error::Error::source).
    pub problem: Problem,
}

/// Why a tokenizer was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The file is a damaged GGUF file, or a key has an unexpected value.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The tokenizer is missing.
    #[error("no tokenizer.json and no tokenizer.model here; copy one of them from the model's page")]
    NotFound,
    /// The file is malformed.
    #[error("{0}; the file is damaged or of another format")]
    Malformed(String),
    /// The tokenizer has a feature that `.rillm` files cannot describe.
    #[error("{field} is {value}, and rillm supports {supported}")]
    Unsupported {
        /// The field's name in the file.
        field: String,
        /// The field's value.
        value: String,
        /// The allowed values.
        supported: &'static str,
    },
    /// The tokenizer has more tokens than the model.
    #[error(
        "the tokenizer has token {token} and the model's vocabulary ends at {vocab_size}; these files belong to different models"
    )]
    TooManyTokens {
        /// The largest token id.
        token: usize,
        /// The model's vocabulary size.
        vocab_size: u32,
    },
}

/// A token and its decoded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its text, with spaces in place of U+2581; for a byte token, the byte.
    pub text: Vec<u8>,
    /// The kind of the text.
    pub kind: TokenKind,
}

/// A merge: two tokens that become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The left token.
    pub left: u32,
    /// The right token.
    pub right: u32,
    /// The rank: the lowest is merged first, the leftmost of equal ones.
    pub rank: u32,
    /// The merged token.
    pub merged: u32,
}

/// The algorithm that tokenizes the text between added tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Byte-pair encoding over characters, configured by the vocabulary's other fields.
    Chars,
    /// Byte-pair encoding over the bytes of words.
    Bytes(ByteLevel),
    /// WordPiece: the longest matching pieces of words.
    Pieces(WordPiece),
}

/// An added token, which is matched in the text before any merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// The token.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it is matched after normalization, which replaces spaces in the text and in the token.
    pub normalized: bool,
    /// Whether it is a special token and not part of the text.
    pub special: bool,
}

/// A checkpoint's tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The model's tokens. Tokens that the tokenizer does not have are empty.
    pub tokens: Vec<Token>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The pieces that merges work on, with U+2581 for spaces and byte tokens as `<0x41>`; in GPT-2's alphabet for
    /// bytes; or as in a WordPiece vocabulary. Empty for other tokens.
    pub pieces: Vec<String>,
    /// The merges, one for each pair.
    pub merges: Vec<Merge>,
    /// The added tokens.
    pub added: Vec<AddedToken>,
    /// Where a space is inserted before text. This field and the next three are used by [`Algorithm::Chars`].
    pub prefix: PrefixSpace,
    /// Whether spaces are replaced by U+2581 before `normalized` added tokens are matched, rather than after.
    pub escaped_marks: bool,
    /// Whether every space starts a word, which is merged by itself.
    pub split_words: bool,
    /// Whether decoding strips a leading space.
    pub strip_space: bool,
    /// Whether every text starts with `bos`.
    pub add_bos: bool,
    /// The BOS token, which starts a text.
    pub bos: Option<u32>,
    /// The unknown token, for what the vocabulary cannot spell.
    pub unk: Option<u32>,
    /// The chat template in Jinja; empty if there is none.
    pub chat_template: String,
    /// The variables of the chat template, for example `bos_token`, and their texts.
    pub special_tokens: Vec<(String, String)>,
}

/// The names that llama2.c gives to the tokenizer of a checkpoint with a vocabulary of this size.
pub fn llama2c_names(vocab_size: u32) -> [String; 2] {
    ["tokenizer.bin".to_owned(), format!("tok{vocab_size}.bin")]
}

impl Vocabulary {
    /// The path of the tokenizer that belongs to a checkpoint, for [`open`](Self::open): the checkpoint's own, if that is a
    /// directory or a GGUF file, or else the file beside it with one of [`llama2c_names`]. `None` if there is no such file.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn path_of(checkpoint: &Path, vocab_size: u32) -> Result<Option<PathBuf>, io::Error> {
        if checkpoint.is_dir() || is_gguf(checkpoint)? {
            return Ok(Some(checkpoint.to_owned()));
        }
        let beside = llama2c_names(vocab_size).map(|name| checkpoint.with_file_name(name));
        Ok(beside.into_iter().find(|path| path.exists()))
    }

    /// Reads a checkpoint's tokenizer from a directory (`tokenizer.json`, or else `tokenizer.model`), from one of these
    /// files, from a GGUF file, or from a `tokenizer.bin` of llama2.c. For the first two it also reads the files that
    /// `transformers` keeps beside them. `vocab_size` is the model's.
    ///
    /// # Errors
    /// [`VocabularyError`], which names the file and the field.
    pub fn open(path: &Path, vocab_size: u32) -> Result<Self, VocabularyError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            |problem| VocabularyError { path, problem }
        };
        let file = if path.is_dir() {
            ["tokenizer.json", "tokenizer.model"]
                .map(|name| path.join(name))
                .into_iter()
                .find(|file| file.exists())
                .ok_or(Problem::NotFound)
                .map_err(at(path))?
        } else {
            path.to_owned()
        };
        if is_gguf(&file).map_err(Problem::Io).map_err(at(&file))? {
            let opened = WeightFile::open(&file).map_err(Problem::Io).map_err(at(&file))?;
            let start = Gguf::start(&opened).map_err(Problem::Io).map_err(at(&file))?;
            let gguf = Gguf::parse_start(&start, opened.len() as u64).map_err(Problem::Gguf).map_err(at(&file))?;
            return Self::from_gguf(&gguf, vocab_size).map_err(at(&file));
        }
        let bytes = std::fs::read(&file).map_err(Problem::Io).map_err(at(&file))?;
        let settings = || Settings::beside(&file);
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::from_json(&bytes, &settings()?, vocab_size),
            Some("model") => Self::from_model(&bytes, &settings()?, vocab_size),
            Some("bin") => Self::from_llama2c(&bytes, vocab_size),
            _ => Err(Problem::Unsupported {
                field: "the file's extension".into(),
                value: file.display().to_string(),
                supported: ".json, .model and .bin",
            }),
        }
        .map_err(at(&file))
    }

    /// A vocabulary of `pieces` without merges. Each piece is text, except pieces that spell a byte.
    fn of_pieces(mut pieces: Vec<String>, vocab_size: u32) -> Result<Self, Problem> {
        if vocab_size == 0 || vocab_size > MAX_TOKENS {
            return Err(unsupported("the vocabulary's size", vocab_size, "1 to 1048576"));
        }
        if pieces.len() > vocab_size as usize {
            return Err(Problem::TooManyTokens { token: pieces.len() - 1, vocab_size });
        }
        pieces.resize(vocab_size as usize, String::new());
        let tokens = pieces
            .iter()
            .map(|piece| match byte_of(piece) {
                Some(byte) => Token { text: vec![byte], kind: TokenKind::Byte },
                None => Token { text: printed(piece), kind: TokenKind::Text },
            })
            .collect();
        Ok(Self {
            tokens,
            algorithm: Algorithm::Chars,
            pieces,
            merges: Vec::new(),
            added: Vec::new(),
            prefix: PrefixSpace::Never,
            escaped_marks: true,
            split_words: false,
            strip_space: true,
            add_bos: false,
            bos: None,
            unk: None,
            chat_template: String::new(),
            special_tokens: Vec::new(),
        })
    }

    /// Adds an added token. The treatment of spaces must be known before.
    fn add(&mut self, added: AddedToken) -> Result<(), Problem> {
        let vocab_size = self.tokens.len() as u32;
        // The text that it is matched by, so that a space that belongs to it is printed again.
        let text = match self.algorithm {
            Algorithm::Chars => printed(&self.pattern(&added)),
            // ASCII is in normalization form C, and nearly every text around it is, too, so the token is matched as
            // written.
            Algorithm::Bytes(byte_level) if byte_level.nfc && added.normalized && !added.content.is_ascii() => {
                return Err(unsupported(
                    format!("normalized of the added token {:?}, with an NFC normalizer,", added.content),
                    true,
                    "false, or true of ASCII",
                ));
            }
            Algorithm::Bytes(_) => byte_level::spelled(&added.content),
            Algorithm::Pieces(word_piece) => word_piece.printed(&self.pattern(&added)),
        };
        let token = self
            .tokens
            .get_mut(added.id as usize)
            .ok_or(Problem::TooManyTokens { token: added.id as usize, vocab_size })?;
        token.text = text;
        token.kind = match added.special {
            true if self.unk == Some(added.id) => TokenKind::Unknown,
            true => TokenKind::Control,
            false if matches!(self.algorithm, Algorithm::Bytes(_)) => TokenKind::Part,
            false => TokenKind::Text,
        };
        self.added.push(added);
        Ok(())
    }

    /// Derives the merges of a vocabulary with a score for each piece, among pieces for which `is_text` holds. Two
    /// pieces merge if their concatenation is a piece; the highest score of the three is merged first.
    fn merge_by_score(&mut self, scores: &[f32], is_text: impl Fn(usize) -> bool) -> Result<(), Problem> {
        let texts = || {
            let pieces = self.pieces.iter().enumerate().zip(scores);
            pieces.filter(|((id, piece), _)| is_text(*id) && !piece.is_empty())
        };
        let mut ranks = BTreeMap::new();
        for ((id, _), score) in texts() {
            if score.is_nan() {
                return Err(Problem::Malformed(format!("the score of piece {id} is {score}")));
            }
            ranks.insert(descending(*score), 0);
        }
        for (rank, (_, slot)) in ranks.iter_mut().enumerate() {
            *slot = rank as u32;
        }
        let ids: HashMap<&str, u32> = texts().map(|((id, piece), _)| (piece.as_str(), id as u32)).collect();
        let mut merges = Vec::new();
        for ((id, piece), score) in texts() {
            for (at, _) in piece.char_indices().skip(1) {
                let (left, right) = piece.split_at(at);
                if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                    merges.push(Merge { left, right, rank: ranks[&descending(*score)], merged: id as u32 });
                }
            }
        }
        self.merges = merges;
        Ok(())
    }

    fn find(&self, piece: &str) -> Option<u32> {
        let added = self.added.iter().find(|added| added.content == piece);
        added.map(|added| added.id).or_else(|| {
            let position = self.pieces.iter().position(|other| other == piece);
            position.map(|id| id as u32)
        })
    }
}

/// A key that sorts scores from the highest to the lowest.
fn descending(score: f32) -> i64 {
    // −0.0 and 0.0 are equal scores.
    let bits = i64::from((score + 0.0).to_bits() as i32);
    if bits < 0 { bits & 0x7fff_ffff } else { -bits }
}

/// The decoded text of a piece.
fn printed(piece: &str) -> Vec<u8> {
    piece.replace(SPACE_MARK, " ").into_bytes()
}

/// The byte that a token such as `<0x41>` stands for.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok())?
}

fn unsupported(field: impl Into<String>, value: impl std::fmt::Display, supported: &'static str) -> Problem {
    Problem::Unsupported { field: field.into(), value: value.to_string(), supported }
}
