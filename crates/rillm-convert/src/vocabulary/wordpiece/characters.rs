//! BERT's normalizer and pre-tokenizer as a table of characters.

use std::collections::HashMap;

use rillm::tokenizer::layout::wordpiece::{BLOCK_CHARS, CharKind, CharRecord, INDEX_ENTRIES};
use serde_json::Value;
// The crates, of the versions, that the `tokenizers` library asks: their Unicode is older than Rust's.
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

use crate::vocabulary::{Problem, unsupported};

/// The settings of a `BertNormalizer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalizer {
    /// Whether control characters are removed and white space becomes spaces.
    pub clean_text: bool,
    /// Whether Chinese characters get spaces around them.
    pub split_ideographs: bool,
    /// Whether accents are removed.
    pub strip_accents: bool,
    /// Whether letters become lower case.
    pub lowercase: bool,
}

/// The characters' part of a section.
pub(super) struct Characters {
    /// The block of each 128 characters.
    pub index: Vec<u16>,
    /// Blocks of records, each of them once.
    pub blocks: Vec<[CharRecord; BLOCK_CHARS as usize]>,
    /// The records of characters that expand to several.
    pub spellings: Vec<CharRecord>,
}

impl Normalizer {
    /// Reads the `normalizer` of a `tokenizer.json`.
    pub(super) fn parse(json: &Value) -> Result<Self, Problem> {
        if json.is_null() {
            return Ok(Self { clean_text: false, split_ideographs: false, strip_accents: false, lowercase: false });
        }
        let flag = |name: &str| json[name].as_bool();
        let lowercase = flag("lowercase");
        let settings = (json["type"] == "BertNormalizer").then(|| {
            Some(Self {
                clean_text: flag("clean_text")?,
                split_ideographs: flag("handle_chinese_chars")?,
                strip_accents: match &json["strip_accents"] {
                    Value::Null => lowercase?,
                    value => value.as_bool()?,
                },
                lowercase: lowercase?,
            })
        });
        settings
            .flatten()
            .ok_or_else(|| unsupported("normalizer of a WordPiece model", json, "a BertNormalizer, or none"))
    }

    /// The normalized form of a text, if it has no combining marks that need reordering.
    pub(in crate::vocabulary) fn normalize(&self, text: &str) -> Option<String> {
        let records = text.chars().flat_map(|c| self.records(c));
        let mut normalized = String::new();
        for record in records.filter(|record| !matches!(record.kind(), CharKind::Dropped | CharKind::Barrier)) {
            normalized.push(char::from_u32(record.value()).filter(|_| record.class() == 0)?);
        }
        Some(normalized)
    }

    /// The records of all characters.
    pub(super) fn characters(&self) -> Characters {
        let mut characters = Characters { index: Vec::new(), blocks: Vec::new(), spellings: Vec::new() };
        let mut numbers = HashMap::new();
        for key in 0..INDEX_ENTRIES {
            let block = std::array::from_fn(|place| {
                let c = char::from_u32(key * BLOCK_CHARS + place as u32);
                c.map_or(CharRecord::SAME, |c| self.record(c, &mut characters.spellings))
            });
            let number = *numbers.entry(block).or_insert_with(|| {
                characters.blocks.push(block);
                characters.blocks.len() as u16 - 1
            });
            characters.index.push(number);
        }
        characters
    }

    /// The record of a character, and those of its spelling where that is several.
    fn record(&self, c: char, spellings: &mut Vec<CharRecord>) -> CharRecord {
        if self.strip_accents && ('\u{ac00}'..='\u{d7a3}').contains(&c) {
            return CharRecord::new(CharKind::Hangul, 0, 0);
        }
        let records = self.records(c);
        match records[..] {
            [record] if record.value() == u32::from(c) => CharRecord::new(record.kind(), record.class(), 0),
            [record] => record,
            [SPACE, letter, SPACE] if letter.kind() == CharKind::Letter => {
                let value = if letter.value() == u32::from(c) { 0 } else { letter.value() };
                CharRecord::new(CharKind::Ideograph, letter.class(), value)
            }
            _ => {
                let place = spellings.len() as u32;
                spellings.extend(&records);
                CharRecord::new(CharKind::Spelled, records.len() as u8, place)
            }
        }
    }

    /// The records of what a character becomes: one or more, each with its character.
    fn records(&self, c: char) -> Vec<CharRecord> {
        if self.clean_text && (c == '\0' || c == char::REPLACEMENT_CHARACTER || is_control(c)) {
            return vec![DROPPED];
        }
        if self.clean_text && c.is_whitespace() {
            return vec![SPACE];
        }
        let mut parts = Vec::new();
        match self.strip_accents {
            true => decompose_canonical(c, |part| parts.push((part, canonical_combining_class(part)))),
            false => parts.push((c, 0)),
        }
        let is_barrier = parts.iter().any(|&(_, class)| class == 0);
        parts.retain(|(part, _)| !(self.strip_accents && part.is_mark_nonspacing()));
        let mut records = Vec::new();
        for (part, class) in parts {
            match self.lowercase {
                true => records.extend(part.to_lowercase().map(|part| record(part, class))),
                false => records.push(record(part, class)),
            }
        }
        if records.is_empty() {
            return vec![if is_barrier { BARRIER } else { DROPPED }];
        }
        if self.split_ideographs && is_ideograph(c) {
            records.insert(0, SPACE);
            records.push(SPACE);
        }
        records
    }
}

const SPACE: CharRecord = CharRecord::new(CharKind::Space, 0, ' ' as u32);
const DROPPED: CharRecord = CharRecord::new(CharKind::Dropped, 0, 0);
const BARRIER: CharRecord = CharRecord::new(CharKind::Barrier, 0, 0);

/// The record of a character as the normalizer leaves it, by which the pre-tokenizer cuts words.
fn record(c: char, class: u8) -> CharRecord {
    let kind = match c {
        _ if c.is_whitespace() => CharKind::Space,
        _ if c.is_ascii_punctuation() || c.is_punctuation() => CharKind::Punctuation,
        _ => CharKind::Letter,
    };
    CharRecord::new(kind, class, c.into())
}

fn is_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r') && c.is_other()
}

/// The blocks that `BertNormalizer` treats as Chinese.
fn is_ideograph(c: char) -> bool {
    matches!(
        c,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

#[cfg(test)]
mod tests {
    use tokenizers::normalizers::BertNormalizer;
    use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
    use tokenizers::tokenizer::{NormalizedString, Normalizer as _, PreTokenizedString, PreTokenizer as _};
    use tokenizers::{OffsetReferential, OffsetType};

    use super::*;

    /// Every character, through the records as a reader reads them.
    /// Characters are assigned in the planes 0 to 3 and 14 only, those of 2 and 3 are all Han; CI looks at all planes, with
    /// RILLM_STRINGS.
    fn blocks() -> impl Iterator<Item = u32> {
        let all = std::env::var_os("RILLM_STRINGS").is_some();
        (0..0x11_0000).step_by(0x1000).filter(move |&start| all || start < 0x2_1000 || start == 0xe_0000)
    }

    #[test]
    fn every_character_is_as_the_library_has_it() {
        // BERT's uncased and cased, and settings that no model has.
        for bits in [0b1111, 0b0011, 0b0100, 0b1010] {
            let flag = |bit: u32| bits & 1 << bit != 0;
            let library = BertNormalizer::new(flag(0), flag(1), Some(flag(2)), flag(3));
            let ours = Normalizer::parse(&serde_json::to_value(library).unwrap()).unwrap();
            let characters = ours.characters();
            for start in blocks() {
                // Letters between them, so that each stands for itself.
                let text: String =
                    (start..start + 0x1000).filter_map(char::from_u32).flat_map(|c| ['x', c, 'x']).collect();
                let mut expected = NormalizedString::from(text.as_str());
                library.normalize(&mut expected).unwrap();
                let mut words = PreTokenizedString::from(expected.get());
                BertPreTokenizer.pre_tokenize(&mut words).unwrap();
                let words = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);

                let (mut normalized, mut cut) = (String::new(), String::new());
                for record in text.chars().flat_map(|c| characters.expand(c)) {
                    let c = char::from_u32(record.value()).unwrap();
                    match record.kind() {
                        CharKind::Letter => cut.push(c),
                        CharKind::Punctuation => cut.extend(['\n', c, '\n']),
                        CharKind::Space => cut.push('\n'),
                        _ => continue,
                    }
                    normalized.push(c);
                }
                assert!(normalized == expected.get(), "{library:?}: {start:x}");
                assert!(
                    cut.split('\n').filter(|word| !word.is_empty()).eq(words.iter().map(|word| word.0)),
                    "{start:x}"
                );
            }
        }
    }

    impl Characters {
        /// The records of what a character becomes, each with its character.
        fn expand(&self, c: char) -> Vec<CharRecord> {
            let (key, place) = (u32::from(c) / BLOCK_CHARS, u32::from(c) % BLOCK_CHARS);
            let record = self.blocks[usize::from(self.index[key as usize])][place as usize];
            let value = if record.value() == 0 { c.into() } else { record.value() };
            match record.kind() {
                CharKind::Spelled => self.spellings[record.value() as usize..][..record.class().into()].to_vec(),
                CharKind::Ideograph => vec![SPACE, CharRecord::new(CharKind::Letter, record.class(), value), SPACE],
                CharKind::Hangul => {
                    let mut letters = Vec::new();
                    decompose_canonical(c, |letter| letters.push(super::record(letter, 0)));
                    letters
                }
                kind => vec![CharRecord::new(kind, record.class(), value)],
            }
        }
    }
}
