//! Byte-pair encoding over bytes. Pieces are spelled in GPT-2's alphabet of 256 characters.

use std::collections::HashMap;
use std::sync::LazyLock;

use rillm::tokenizer::layout::{MAX_WHOLE_NODES, NONE_BYTE, PairEntry, PreTokenizer};

use super::{AddedToken, Algorithm, Merge, Problem, TokenKind, Vocabulary, unsupported};

/// The settings of byte-pair encoding over bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLevel {
    /// The pre-tokenizer, which splits text into words.
    pub pre_tokenizer: PreTokenizer,
    /// Whether a space is inserted before every text between added tokens that starts with none.
    pub prefix_space: bool,
    /// Whether a word that is in the vocabulary becomes its token without merges.
    pub ignore_merges: bool,
    /// Whether text is normalized to form C first.
    pub nfc: bool,
}

impl Vocabulary {
    /// A vocabulary of `pieces` in GPT-2's alphabet, one for each token from 0 on; an empty piece is no token. `merges`
    /// are pairs of pieces in merge order. Bytes without a piece are dropped from a text, unless [`unk`](Self::unk) is
    /// set. `vocab_size` is the model's.
    ///
    /// # Errors
    /// [`Problem`]: a merge of unknown pieces, more tokens than the model's, or an added token that cannot be matched.
    pub fn byte_level(
        pieces: Vec<String>,
        merges: &[(String, String)],
        added: Vec<AddedToken>,
        byte_level: ByteLevel,
        vocab_size: u32,
    ) -> Result<Self, Problem> {
        let mut vocabulary = Self::of_pieces(pieces, vocab_size)?;
        vocabulary.algorithm = Algorithm::Bytes(byte_level);
        vocabulary.escaped_marks = false;
        vocabulary.strip_space = false;
        for (token, piece) in vocabulary.tokens.iter_mut().zip(&vocabulary.pieces) {
            (token.text, token.kind) = (spelled(piece), TokenKind::Part);
        }
        let ids = ids(&vocabulary.pieces);
        vocabulary.merges = merge_ids(merges, |piece| ids.get(piece).copied())?;
        for token in added {
            vocabulary.add(token)?;
        }
        Ok(vocabulary)
    }

    /// The token of each byte.
    pub(super) fn byte_table(&self) -> [u32; 256] {
        let ids = ids(&self.pieces);
        let missing = self.unk.unwrap_or(NONE_BYTE);
        let mut utf8 = [0; 4];
        alphabet().map(|c| ids.get(&*c.encode_utf8(&mut utf8)).copied().unwrap_or(missing))
    }

    /// The tree of words that are tokens although no merges lead to them: from the first token that merges lead to, by
    /// each further one, to the word's token.
    ///
    /// # Errors
    /// A word with a byte that is no token, or too many words.
    pub(super) fn whole_words(&self) -> Result<Vec<PairEntry>, Problem> {
        let bytes = self.byte_table();
        let merges: HashMap<(u32, u32), (u32, u32)> =
            self.merges.iter().map(|merge| ((merge.left, merge.right), (merge.rank, merge.merged))).collect();
        let mut tree: HashMap<(u32, u32), PairEntry> = HashMap::new();
        let mut nodes = self.tokens.len() as u32;
        for (id, piece) in self.pieces.iter().enumerate() {
            // No word of a text has characters outside the alphabet.
            let Some(word) = unspelled(piece) else { continue };
            let mut tokens: Vec<u32> = word.iter().map(|&byte| bytes[usize::from(byte)]).collect();
            if tokens.contains(&NONE_BYTE) || self.unk.is_some_and(|unk| tokens.contains(&unk)) {
                return Err(unsupported(
                    format!("piece {piece:?}, under ignore_merges of model,"),
                    "spelled with bytes that have no token",
                    "all bytes of such words as tokens",
                ));
            }
            merge(&mut tokens, &merges);
            let [first, rest @ ..] = &tokens[..] else { continue };
            let mut node = *first;
            for (place, &token) in rest.iter().enumerate() {
                let entry = tree.entry((node, token)).or_insert_with(|| {
                    nodes += 1;
                    PairEntry { left: node, right: token, rank: 0, merged: nodes - 1 }
                });
                node = entry.merged;
                if place + 1 == rest.len() {
                    entry.rank = id as u32 + 1;
                }
            }
        }
        if nodes > MAX_WHOLE_NODES {
            return Err(unsupported("tokens that no merges lead to, with all others,", nodes, "at most 1048576"));
        }
        let mut tree: Vec<_> = tree.into_values().collect();
        tree.sort_unstable_by_key(|entry| (entry.left, entry.right));
        Ok(tree)
    }
}

/// The ids of the non-empty pieces.
fn ids(pieces: &[String]) -> HashMap<&str, u32> {
    let there = pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty());
    there.map(|(id, piece)| (piece.as_str(), id as u32)).collect()
}

/// Pairs of pieces as token ids. Of a duplicate pair the last one counts.
pub(super) fn merge_ids(merges: &[(String, String)], id: impl Fn(&str) -> Option<u32>) -> Result<Vec<Merge>, Problem> {
    let mut by_pair: HashMap<(u32, u32), Merge> = HashMap::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        let known = |piece: &str| {
            id(piece).ok_or_else(|| {
                Problem::Malformed(format!("merge {rank}, {left:?} and {right:?}, has {piece:?}, which is no piece"))
            })
        };
        let (left, right, merged) = (known(left)?, known(right)?, known(&[left.as_str(), right].concat())?);
        by_pair.insert((left, right), Merge { left, right, rank: rank as u32, merged });
    }
    let mut merges: Vec<_> = by_pair.into_values().collect();
    merges.sort_unstable_by_key(|merge| merge.rank);
    Ok(merges)
}

/// Merges tokens until no two neighbours merge: the lowest rank first, the leftmost of equal ones.
fn merge(tokens: &mut Vec<u32>, merges: &HashMap<(u32, u32), (u32, u32)>) {
    loop {
        let pairs = tokens.windows(2).enumerate();
        let found = pairs
            .filter_map(|(place, pair)| merges.get(&(pair[0], pair[1])).map(|&(rank, merged)| (rank, place, merged)));
        let Some((_, place, merged)) = found.min() else { return };
        tokens[place] = merged;
        tokens.remove(place + 1);
    }
}

/// The alphabet: the character for each byte. Printable Latin-1 characters stand for themselves; the others get the
/// characters from U+0100 on, in order.
fn alphabet() -> [char; 256] {
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(byte),
        _ => others.next().unwrap_or_default(),
    })
}

/// The bytes of a piece in the alphabet; `None` if a character is not in the alphabet.
fn unspelled(piece: &str) -> Option<Vec<u8>> {
    static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| alphabet().into_iter().zip(0..=255).collect());
    piece.chars().map(|c| BYTES.get(&c).copied()).collect()
}

/// The decoded text of a piece or an added token: its bytes, or the token itself if it is not in the alphabet.
pub(super) fn spelled(piece: &str) -> Vec<u8> {
    unspelled(piece).unwrap_or_else(|| piece.as_bytes().to_vec())
}
