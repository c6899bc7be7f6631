//! BERT's WordPiece: read from `tokenizer.json` and written as part of a section.

mod characters;

use std::collections::HashSet;

use rillm::SECTOR_LEN;
use rillm::tokenizer::layout::wordpiece::{
    BUCKET_ROOM, BucketHead, CharRecord, MAX_PIECE_LEN, MAX_WORD_CHARS, PieceHash, PieceHead, WordPieceHeader,
};
use rillm::tokenizer::layout::{MAX_PROBES, TableHeader};
use serde_json::Value;

use super::settings::Settings;
use super::tokenizer_json::{added_tokens, alone, pieces, vocab};
use super::{Algorithm, Problem, Token, TokenKind, Vocabulary, unsupported};
pub use characters::Normalizer;

/// The prefix of pieces that continue a word.
const CONTINUES: &str = "##";

/// The settings of WordPiece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordPiece {
    /// The normalizer and pre-tokenizer of characters.
    pub normalizer: Normalizer,
    /// The longest word in characters that is split into pieces; a longer word is unknown.
    pub max_chars: u32,
    /// Whether decoding omits the space before some punctuation.
    pub cleanup: bool,
}

impl WordPiece {
    /// Reads the parts of a `tokenizer.json` that describe WordPiece.
    pub(super) fn parse(json: &Value, settings: &Settings) -> Result<Self, Problem> {
        let model = &json["model"];
        if model["continuing_subword_prefix"] != CONTINUES {
            let prefix = &model["continuing_subword_prefix"];
            return Err(unsupported("continuing_subword_prefix of model", prefix, "\"##\""));
        }
        let max_chars = &model["max_input_chars_per_word"];
        let admitted = max_chars.as_u64().filter(|n| (1..=MAX_WORD_CHARS.into()).contains(n));
        let max_chars =
            admitted.ok_or_else(|| unsupported("max_input_chars_per_word of model", max_chars, "1 to 256"))? as u32;
        let pre_tokenizer = alone(&json["pre_tokenizer"], "pretokenizers");
        if pre_tokenizer["type"] != "BertPreTokenizer" {
            return Err(unsupported("pre_tokenizer of a WordPiece model", pre_tokenizer, "BertPreTokenizer"));
        }
        let decoder = alone(&json["decoder"], "decoders");
        let cleanup = decoder["cleanup"].as_bool();
        let cleanup = cleanup.filter(|_| decoder["type"] == "WordPiece" && decoder["prefix"] == CONTINUES);
        let normalizer_json = alone(&json["normalizer"], "normalizers");
        let mut normalizer = Normalizer::parse(normalizer_json)?;
        if let Some(bert) = settings.bert.as_ref().filter(|_| !normalizer_json.is_null()) {
            normalizer.lowercase = bert.lowercase;
            normalizer.strip_accents = bert.strip_accents.unwrap_or(bert.lowercase);
            normalizer.split_ideographs = bert.split_ideographs;
        }
        Ok(Self {
            normalizer,
            max_chars,
            cleanup: cleanup.ok_or_else(|| {
                unsupported("decoder of a WordPiece model", decoder, "WordPiece with the prefix \"##\"")
            })?,
        })
    }

    /// The decoded text of a piece within a text.
    pub(super) fn printed(&self, piece: &str) -> Vec<u8> {
        let text = match piece.strip_prefix(CONTINUES) {
            Some(rest) => rest.to_owned(),
            None => format!(" {piece}"),
        };
        if self.cleanup { clean(&text).into_bytes() } else { text.into_bytes() }
    }

    /// The header's fields and the tables of a section, from the index of blocks on, for the vocabulary's `pieces`.
    pub(super) fn tables(&self, pieces: &[String], unk: Option<u32>) -> Result<(WordPieceHeader, Vec<u8>), Problem> {
        let unk = unk.ok_or_else(|| unsupported("token of unknown words", "missing", "one"))?;
        let entries: Vec<Piece> =
            pieces.iter().enumerate().filter_map(|(id, text)| Piece::new(id as u32, text)).collect();
        if let Some(piece) = entries.iter().find(|piece| piece.text.len() > MAX_PIECE_LEN as usize) {
            return Err(unsupported("length of a piece", piece.text.len(), "at most 254 bytes"));
        }
        let (table, buckets) = fill(&entries);
        let characters = self.normalizer.characters();
        let header = WordPieceHeader {
            unk,
            max_chars: self.max_chars,
            longest_piece: entries.iter().map(|piece| piece.text.chars().count()).max().unwrap_or(1) as u32,
            pieces: table,
            blocks: characters.blocks.len() as u32,
            spellings: characters.spellings.len() as u32,
        };
        let mut bytes: Vec<u8> = characters.index.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend(characters.blocks.as_flattened().iter().flat_map(|record| record.emit()));
        bytes.extend(buckets);
        bytes.extend(characters.spellings.into_iter().flat_map(CharRecord::emit));
        Ok((header, bytes))
    }
}

impl Vocabulary {
    /// Reads a `tokenizer.json` of a WordPiece model.
    pub(super) fn from_word_pieces(json: &Value, settings: &Settings, vocab_size: u32) -> Result<Self, Problem> {
        let word_piece = WordPiece::parse(json, settings)?;
        let model = &json["model"];
        let ids = vocab(model)?;
        let mut vocabulary = Self::of_pieces(pieces(&ids, vocab_size)?, vocab_size)?;
        vocabulary.algorithm = Algorithm::Pieces(word_piece);
        vocabulary.escaped_marks = false;
        for (token, piece) in vocabulary.tokens.iter_mut().zip(&vocabulary.pieces) {
            let text = if piece.is_empty() { Vec::new() } else { word_piece.printed(piece) };
            *token = Token { text, kind: TokenKind::Text };
        }
        let unk = &model["unk_token"];
        vocabulary.unk = unk.as_str().and_then(|unk| ids.get(unk).copied());
        if vocabulary.unk.is_none() {
            return Err(unsupported("unk_token of model", unk, "a piece of its vocab"));
        }
        for added in added_tokens(json, settings, &ids, true, vocab_size)? {
            vocabulary.add(added)?;
        }
        vocabulary.check_patterns(word_piece, json)?;
        Ok(vocabulary)
    }

    /// Refuses added tokens whose normalized text is empty or is not matched reliably.
    fn check_patterns(&self, word_piece: WordPiece, json: &Value) -> Result<(), Problem> {
        let strips =
            |token: &Value| token["normalized"] == false && (token["lstrip"] == true || token["rstrip"] == true);
        let strips = json["added_tokens"].as_array().into_iter().flatten().any(strips);
        let mut patterns = HashSet::new();
        for added in self.added.iter().filter(|added| added.normalized) {
            let pattern = self.pattern(added);
            let refused =
                |supported| Err(unsupported(format!("the added token {:?}", added.content), "normalized", supported));
            if pattern.is_empty() {
                return refused("text without combining marks that stay, of which the normalizer leaves something");
            }
            // An ideograph's own spaces are not stripped.
            let text = Normalizer { split_ideographs: false, ..word_piece.normalizer }.normalize(&added.content);
            if strips && text.is_some_and(|text| text.trim() != text) {
                return refused("no space at either end, as another added token strips those");
            }
            if !patterns.insert(pattern) {
                return refused("one of those that the normalizer makes the same");
            }
        }
        Ok(())
    }
}

/// What the library's decoder makes of a token when it cleans up.
fn clean(text: &str) -> String {
    let replaced = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    replaced.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A piece to be placed in the table.
struct Piece<'a> {
    head: PieceHead,
    text: &'a str,
    hash: u32,
}

impl<'a> Piece<'a> {
    fn new(id: u32, piece: &'a str) -> Option<Self> {
        let text = piece.strip_prefix(CONTINUES).unwrap_or(piece);
        let continues = text.len() < piece.len();
        let hash = text.chars().fold(PieceHash::first(continues), PieceHash::then).0;
        (!text.is_empty()).then_some(Self { head: PieceHead { id, continues, len: text.len() as u8 }, text, hash })
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.head.emit().into_iter().chain(self.text.bytes())
    }
}

/// Places pieces in buckets, two thirds full. If a bucket is full, the piece goes into the next one with room.
fn fill(pieces: &[Piece<'_>]) -> (TableHeader, Vec<u8>) {
    let bytes: usize = pieces.iter().map(|piece| piece.bytes().count()).sum();
    let mut buckets = (bytes * 3).div_ceil(BUCKET_ROOM * 2).max(1) as u32;
    loop {
        if let Some((probes, bytes)) = try_fill(pieces, buckets) {
            return (TableHeader { buckets, probes }, bytes);
        }
        buckets *= 2;
    }
}

/// The most buckets that a lookup reads, and the buckets; `None` if that number is too large.
fn try_fill(pieces: &[Piece<'_>], buckets: u32) -> Option<(u32, Vec<u8>)> {
    let table = TableHeader { buckets, probes: 1 };
    let mut contents = vec![Vec::new(); buckets as usize];
    let mut overflowing = HashSet::new();
    let mut probes = 1;
    for piece in pieces {
        let entry: Vec<u8> = piece.bytes().collect();
        let first = table.bucket(piece.hash);
        let places = (0..buckets.min(MAX_PROBES)).map(|probe| (first + probe) % buckets);
        let full: Vec<u32> =
            places.take_while(|&bucket| contents[bucket as usize].len() + entry.len() > BUCKET_ROOM).collect();
        if full.len() as u32 == buckets.min(MAX_PROBES) {
            return None;
        }
        let bucket = (first + full.len() as u32) % buckets;
        contents[bucket as usize].extend(entry);
        probes = probes.max(full.len() as u32 + 1);
        overflowing.extend(full);
    }
    let mut bytes = Vec::with_capacity(contents.len() * SECTOR_LEN);
    for (bucket, content) in (0..).zip(&contents) {
        let start = bytes.len();
        let head = BucketHead { used: content.len() as u16, overflows: overflowing.contains(&bucket) };
        bytes.extend(head.emit());
        bytes.extend(content);
        bytes.resize(start + SECTOR_LEN, 0);
    }
    debug_assert_eq!(bytes.len() % SECTOR_LEN, 0);
    Some((probes, bytes))
}
