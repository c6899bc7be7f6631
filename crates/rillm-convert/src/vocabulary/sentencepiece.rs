//! Reads `tokenizer.model` of sentencepiece: the protocol buffer fields that a tokenizer needs.

use std::collections::HashMap;

use serde_json::json;

use super::settings::Settings;
use super::{AddedToken, PrefixSpace, Problem, SPACE_MARK, TokenKind, Vocabulary, unsupported};

// Field numbers of sentencepiece_model.proto.
const MODEL_PIECES: u64 = 1;
const MODEL_TRAINER: u64 = 2;
const MODEL_NORMALIZER: u64 = 3;
const PIECE_TEXT: u64 = 1;
const PIECE_SCORE: u64 = 2;
const PIECE_TYPE: u64 = 3;
const TRAINER_MODEL_TYPE: u64 = 3;
const TRAINER_SPACE_AS_SUFFIX: u64 = 24;
const TRAINER_BYTE_FALLBACK: u64 = 35;
const TRAINER_UNK: u64 = 40;
const TRAINER_BOS: u64 = 41;
const TRAINER_EOS: u64 = 42;
const NORMALIZER_NAME: u64 = 1;
const NORMALIZER_CHARSMAP: u64 = 2;
const NORMALIZER_ADD_PREFIX: u64 = 3;
const NORMALIZER_REMOVE_SPACES: u64 = 4;
const NORMALIZER_ESCAPE_SPACES: u64 = 5;

const MODEL_TYPE_BPE: u64 = 2;
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;
const BYTE: u64 = 6;

impl Vocabulary {
    /// Reads a `tokenizer.model` and the `tokenizer_config.json` beside it, if there is one. Special tokens such as
    /// `<s>` are matched in a text as in `transformers`, although sentencepiece does not match them.
    ///
    /// # Errors
    /// [`Problem`], which names the first field that requires anything but byte-pair encoding over unnormalized
    /// characters.
    pub fn from_sentencepiece(bytes: &[u8], config: Option<&[u8]>, vocab_size: u32) -> Result<Self, Problem> {
        Self::from_model(bytes, &Settings::of_config(config)?, vocab_size)
    }

    pub(super) fn from_model(bytes: &[u8], settings: &Settings, vocab_size: u32) -> Result<Self, Problem> {
        let mut pieces = Vec::new();
        let mut scores = Vec::new();
        let mut types = Vec::new();
        let mut trainer = Trainer::default();
        let mut normalizer = Normalizer::default();
        for field in Fields(bytes) {
            match field? {
                (MODEL_PIECES, Value::Bytes(bytes)) => {
                    let piece = Piece::parse(bytes)?;
                    pieces.push(piece.text);
                    scores.push(piece.score);
                    types.push(piece.kind);
                }
                (MODEL_TRAINER, Value::Bytes(bytes)) => trainer = Trainer::parse(bytes)?,
                (MODEL_NORMALIZER, Value::Bytes(bytes)) => normalizer = Normalizer::parse(bytes)?,
                _ => {}
            }
        }
        trainer.check()?;
        normalizer.check()?;

        // An unused piece has no text.
        for (piece, _) in pieces.iter_mut().zip(&types).filter(|(_, kind)| **kind == UNUSED) {
            piece.clear();
        }
        let mut vocabulary = Self::of_pieces(pieces, vocab_size)?;
        vocabulary.merge_by_score(&scores, |id| types[id] == NORMAL)?;
        let mut marks = Vec::new();
        for (id, &kind) in types.iter().enumerate() {
            let (piece, token) = (&vocabulary.pieces[id], &mut vocabulary.tokens[id]);
            let is_byte = token.kind == TokenKind::Byte;
            token.kind = match kind {
                NORMAL | UNUSED if !is_byte => TokenKind::Text,
                USER_DEFINED if !is_byte && !piece.contains(SPACE_MARK) => TokenKind::Text,
                UNKNOWN => TokenKind::Unknown,
                CONTROL => TokenKind::Control,
                BYTE if is_byte => TokenKind::Byte,
                _ => {
                    return Err(unsupported(
                        format!("type of piece {piece:?}"),
                        kind,
                        "1 normal, 2 unknown, 3 control, 4 user-defined of pieces without a space, 5 unused and 6 byte; use the \
                         model's tokenizer.json",
                    ));
                }
            };
            if matches!(kind, UNKNOWN | CONTROL | USER_DEFINED) {
                marks.push(json!({"content": piece, "special": kind != USER_DEFINED}));
            }
        }
        let ids = vocabulary.pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty());
        let ids: HashMap<&str, u32> = ids.map(|(id, piece)| (piece.as_str(), id as u32)).collect();
        let added = settings.added(&marks, (&ids, types.len()), false, vocab_size)?;

        let token = |id: i32| u32::try_from(id).ok().filter(|&id| id < vocab_size);
        vocabulary.unk = token(trainer.unk);
        vocabulary.prefix = match (normalizer.add_prefix, settings.add_prefix_space, settings.legacy) {
            (false, ..) | (_, Some(false), _) => PrefixSpace::Never,
            (true, _, Some(false)) => PrefixSpace::First,
            (true, ..) => PrefixSpace::Prepend,
        };
        vocabulary.escaped_marks = vocabulary.prefix != PrefixSpace::First;
        vocabulary.strip_space = vocabulary.prefix != PrefixSpace::Never;
        for token in added {
            // sentencepiece has no added tokens; `transformers` matches them in the unchanged text.
            vocabulary.add(AddedToken { normalized: false, ..token })?;
        }
        vocabulary.special_tokens = settings.special_tokens();
        for (name, id) in [("bos_token", trainer.bos), ("eos_token", trainer.eos), ("unk_token", trainer.unk)] {
            let piece = token(id).map(|id| vocabulary.pieces[id as usize].clone());
            let piece = piece.filter(|_| settings.name(name).is_none());
            vocabulary.special_tokens.extend(piece.map(|piece| (name.to_owned(), piece)));
        }
        vocabulary.bos = settings.name("bos_token").and_then(|bos| vocabulary.find(bos)).or(token(trainer.bos));
        vocabulary.add_bos = settings.add_bos.unwrap_or(true) && vocabulary.bos.is_some();
        vocabulary.chat_template = settings.chat_template.clone();
        Ok(vocabulary)
    }
}

struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: NORMAL };
        for field in Fields(bytes) {
            match field? {
                (PIECE_TEXT, value) => piece.text = value.text()?,
                (PIECE_SCORE, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
                (PIECE_TYPE, Value::Varint(kind)) => piece.kind = kind,
                _ => {}
            }
        }
        Ok(piece)
    }
}

struct Trainer {
    model_type: u64,
    space_as_suffix: bool,
    byte_fallback: bool,
    unk: i32,
    bos: i32,
    eos: i32,
}

impl Default for Trainer {
    fn default() -> Self {
        Self { model_type: 1, space_as_suffix: false, byte_fallback: false, unk: 0, bos: 1, eos: 2 }
    }
}

impl Trainer {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut trainer = Self::default();
        for field in Fields(bytes) {
            match field? {
                (TRAINER_MODEL_TYPE, Value::Varint(value)) => trainer.model_type = value,
                (TRAINER_SPACE_AS_SUFFIX, Value::Varint(value)) => {
                    trainer.space_as_suffix = value != 0;
                }
                (TRAINER_BYTE_FALLBACK, Value::Varint(value)) => trainer.byte_fallback = value != 0,
                // A negative number means that there is no such token. It is encoded with 64 bits.
                (TRAINER_UNK, Value::Varint(value)) => trainer.unk = value as i32,
                (TRAINER_BOS, Value::Varint(value)) => trainer.bos = value as i32,
                (TRAINER_EOS, Value::Varint(value)) => trainer.eos = value as i32,
                _ => {}
            }
        }
        Ok(trainer)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.model_type != MODEL_TYPE_BPE {
            return Err(unsupported("model_type", self.model_type, "2, BPE"));
        }
        if self.space_as_suffix {
            return Err(unsupported("treat_whitespace_as_suffix", true, "false"));
        }
        if !self.byte_fallback {
            return Err(unsupported("byte_fallback", false, "true"));
        }
        Ok(())
    }
}

struct Normalizer {
    name: String,
    charsmap_len: usize,
    add_prefix: bool,
    remove_spaces: bool,
    escape_spaces: bool,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self { name: String::new(), charsmap_len: 0, add_prefix: true, remove_spaces: true, escape_spaces: true }
    }
}

impl Normalizer {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut normalizer = Self::default();
        for field in Fields(bytes) {
            match field? {
                (NORMALIZER_NAME, value) => normalizer.name = value.text()?,
                (NORMALIZER_CHARSMAP, Value::Bytes(map)) => normalizer.charsmap_len = map.len(),
                (NORMALIZER_ADD_PREFIX, Value::Varint(value)) => normalizer.add_prefix = value != 0,
                (NORMALIZER_REMOVE_SPACES, Value::Varint(value)) => {
                    normalizer.remove_spaces = value != 0;
                }
                (NORMALIZER_ESCAPE_SPACES, Value::Varint(value)) => {
                    normalizer.escape_spaces = value != 0;
                }
                _ => {}
            }
        }
        Ok(normalizer)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.charsmap_len > 0 {
            return Err(unsupported("normalizer", &self.name, "identity"));
        }
        if self.remove_spaces {
            return Err(unsupported("remove_extra_whitespaces", true, "false"));
        }
        if !self.escape_spaces {
            return Err(unsupported("escape_whitespaces", false, "true"));
        }
        Ok(())
    }
}

/// A field's value.
enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn text(self) -> Result<String, Problem> {
        match self {
            Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
        .ok_or_else(|| Problem::Malformed("a text is not UTF-8".into()))
    }
}

/// The numbered fields of a message, up to the first incomplete one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => {
                let bytes = self.bytes(4)?.first_chunk()?;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| Problem::Malformed("a field is not whole".into())))
    }
}
