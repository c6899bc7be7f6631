//! The table of normalization form C, from the Unicode data that the `tokenizers` library has.

use std::collections::HashMap;
use std::sync::LazyLock;

use rillm::tokenizer::layout::NormalizerEntry;
use unicode_normalization_alignments::char::{canonical_combining_class, compose, decompose_canonical};

const HANGUL: std::ops::RangeInclusive<char> = '\u{ac00}'..='\u{d7a3}';

/// Every character that decomposes or has a combining class, and every pair that composes, but Hangul syllables.
pub(super) static NORMAL_FORMS: LazyLock<Vec<NormalizerEntry>> = LazyLock::new(normal_forms);

fn normal_forms() -> Vec<NormalizerEntry> {
    let decompositions: Vec<(char, Vec<char>)> = ('\0'..=char::MAX)
        .filter(|c| !HANGUL.contains(c))
        .map(|c| {
            let mut parts = Vec::new();
            decompose_canonical(c, |part| parts.push(part));
            (c, parts)
        })
        .filter(|(c, parts)| *parts != [*c] || canonical_combining_class(*c) != 0)
        .collect();
    // Of characters that are the same when decomposed, what their parts compose to, or any of them.
    let mut by_parts: HashMap<&[char], char> = HashMap::new();
    for (c, parts) in &decompositions {
        let slot = by_parts.entry(parts).or_insert(*c);
        if parts[1..].iter().try_fold(parts[0], |first, &second| compose(first, second)) == Some(*c) {
            *slot = *c;
        }
    }
    let mut entries = Vec::new();
    for (c, parts) in &decompositions {
        let class = canonical_combining_class(*c);
        let parts = match parts.as_slice() {
            [same] if same == c => [0, 0],
            [other] => [u32::from(*other), 0],
            // Unicode decomposes in steps of two, of which only the first goes on.
            [first, second] => [*first, *second].map(u32::from),
            [start @ .., last] => [u32::from(by_parts[start]), u32::from(*last)],
            [] => continue,
        };
        if class != 0 || parts[0] != 0 {
            entries.push(NormalizerEntry::Char { code_point: u32::from(*c), class, parts });
        }
        let [first, second] = parts.map(char::from_u32);
        if let (Some(first), Some(second @ '\u{1}'..)) = (first, second)
            && let Some(composed) = compose(first, second)
            && composed == *c
        {
            entries.push(NormalizerEntry::Pair { first: parts[0], second: parts[1], composed: u32::from(*c) });
        }
    }
    entries
}
