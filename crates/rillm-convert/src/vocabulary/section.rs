//! The vocabulary as the `tokenizer` section of a `.rillm` file.

use std::collections::{HashMap, HashSet};

use rillm::SECTOR_LEN;
use rillm::tokenizer::layout::{
    AddedHead, AddedPass, BYTES_AT, ByteLevelHeader, CharEntry, Kind, MAX_PROBES, MAX_RANKS, MAX_TOKENS, PairEntry,
    PrefixSpace, SPACE_MARK, SentencePieceHeader, TableHeader, TokenizerHeader, WordStart,
};

use super::normal_forms::NORMAL_FORMS;
use super::{AddedToken, Algorithm, ByteLevel, Merge, Problem, Vocabulary, byte_of, unsupported};
use crate::chat;
use crate::write::{MAX_TOKEN_TEXT, TokenizerSections};

impl Vocabulary {
    /// The sections of a `.rillm` file for this tokenizer.
    ///
    /// # Errors
    /// The errors of [`section`](Self::section).
    pub fn sections(&self) -> Result<TokenizerSections, Problem> {
        let tokenizer = self.section()?;
        Ok(TokenizerSections {
            chat: chat::section(self, &tokenizer),
            tokenizer,
            tokens: self.tokens.clone(),
            chat_template: self.chat_template.clone(),
        })
    }

    /// The section's bytes in [the file format].
    ///
    /// # Errors
    /// [`Problem`]: a byte without a token or with a merge, a text of more than 255 bytes.
    ///
    /// [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md
    pub fn section(&self) -> Result<Vec<u8>, Problem> {
        self.check()?;
        let (bytes, kind, tables) = match self.algorithm {
            Algorithm::Chars => self.chars_tables()?,
            Algorithm::Bytes(byte_level) => self.bytes_tables(byte_level)?,
            Algorithm::Pieces(word_piece) => {
                let (header, tables) = word_piece.tables(&self.pieces, self.unk)?;
                (Vec::new(), Kind::WordPiece(header), tables)
            }
        };
        let (added, raw_starts, normalized_starts) = self.added_tokens();
        let header = TokenizerHeader {
            vocab_size: self.tokens.len() as u32,
            bos: self.bos.filter(|_| self.add_bos),
            strip_space: self.strip_space,
            kind,
            added_count: self.added.len() as u32,
            added_len: added.len() as u32,
            raw_starts,
            normalized_starts,
        };
        let mut section = header.emit().to_vec();
        section.resize(BYTES_AT as usize, 0);
        section.extend(bytes.iter().flat_map(|id| id.to_le_bytes()));
        section.extend(tables);
        section.extend(added);
        debug_assert_eq!(section.len() as u64, header.byte_len());
        Ok(section)
    }

    /// The tokens of bytes, the header fields for merging characters, and the buckets.
    fn chars_tables(&self) -> Result<(Vec<u32>, Kind, Vec<u8>), Problem> {
        let bytes = self.byte_tokens()?;
        let chars = self.chars();
        // Characters are clustered; half-full buckets keep an entry near its place.
        let entries: Vec<_> = chars.iter().map(|c| (CharEntry::hash(c.code_point), c.emit())).collect();
        let (chars, mut tables) = fill(&entries, 1, 2);
        let (pairs, pair_buckets) = fill_pairs(&self.pairs());
        tables.extend(pair_buckets);
        let kind = Kind::SentencePiece(SentencePieceHeader {
            space: self.pieces.iter().position(|piece| piece.chars().eq([SPACE_MARK])).map(|id| id as u32),
            prefix: self.prefix,
            word_start: self.word_start(),
            escaped_marks: self.escaped_marks,
            chars,
            pairs,
        });
        Ok((bytes, kind, tables))
    }

    /// The tokens of bytes, the header fields for merging bytes, and the buckets.
    fn bytes_tables(&self, byte_level: ByteLevel) -> Result<(Vec<u32>, Kind, Vec<u8>), Problem> {
        let (pairs, mut tables) = fill_pairs(&self.pairs());
        let mut add = |(header, buckets): (TableHeader, Vec<u8>)| {
            tables.extend(buckets);
            header
        };
        let whole = if byte_level.ignore_merges { self.whole_words()? } else { Vec::new() };
        let whole = (!whole.is_empty()).then(|| add(fill_pairs(&whole)));
        let normal = byte_level.nfc.then(|| {
            let entries: Vec<_> = NORMAL_FORMS.iter().map(|entry| (entry.hash(), entry.emit())).collect();
            // Characters lie in clusters here, too.
            add(fill(&entries, 1, 2))
        });
        let kind = Kind::ByteLevel(ByteLevelHeader {
            pre_tokenizer: byte_level.pre_tokenizer,
            prefix_space: byte_level.prefix_space,
            pairs,
            whole,
            normal,
        });
        Ok((self.byte_table().to_vec(), kind, tables))
    }

    /// The merges of the file, in merge order.
    fn pairs(&self) -> Vec<PairEntry> {
        let mut merges = self.merges.clone();
        merges.sort_unstable_by_key(|merge| (merge.rank, merge.left, merge.right));
        let pair =
            |merge: Merge| PairEntry { left: merge.left, right: merge.right, rank: merge.rank, merged: merge.merged };
        merges.into_iter().map(pair).collect()
    }

    /// Refuses what the tables cannot express.
    fn check(&self) -> Result<(), Problem> {
        if self.tokens.len() > MAX_TOKENS as usize {
            return Err(unsupported("number of tokens", self.tokens.len(), "at most 1048576"));
        }
        if self.add_bos && self.bos.is_none() {
            return Err(unsupported("start-of-text token", "missing", "one, or add_bos_token false"));
        }
        if let Some(merge) = self.merges.iter().find(|merge| merge.rank >= MAX_RANKS) {
            return Err(unsupported("rank of a merge", merge.rank, "less than 16777215"));
        }
        let texts = self.tokens.iter().map(|token| token.text.len());
        let added = self.added.iter().map(|added| self.pattern(added).len());
        if let Some(len) = texts.chain(added).find(|&len| len > MAX_TOKEN_TEXT) {
            return Err(unsupported("length of a token's text", len, "at most 255 bytes"));
        }
        for merge in &self.merges {
            for id in [merge.left, merge.right] {
                let piece = &self.pieces[id as usize];
                if self.algorithm == Algorithm::Chars && byte_of(piece).is_some() {
                    return Err(unsupported("part of a merge", piece, "pieces that are no byte tokens"));
                }
            }
        }
        Ok(())
    }

    fn byte_tokens(&self) -> Result<Vec<u32>, Problem> {
        let ids: HashMap<&str, usize> =
            self.pieces.iter().enumerate().map(|(id, piece)| (piece.as_str(), id)).collect();
        (0..=255)
            .map(|byte: u8| {
                let piece = format!("<0x{byte:02X}>");
                ids.get(piece.as_str())
                    .map(|&id| id as u32)
                    .ok_or_else(|| unsupported(piece, "not in the vocabulary", "all 256 byte tokens"))
            })
            .collect()
    }

    /// The characters that have a token, and those that no merge crosses.
    fn chars(&self) -> Vec<CharEntry> {
        let (mut inside, mut before_end) = (HashSet::new(), HashSet::new());
        for merge in &self.merges {
            let piece = &self.pieces[merge.merged as usize];
            for c in piece.chars().skip(1) {
                inside.insert(c);
            }
            for c in piece.chars().rev().skip(1) {
                before_end.insert(c);
            }
        }
        let mut chars: Vec<_> = self
            .pieces
            .iter()
            .enumerate()
            .filter_map(|(id, piece)| {
                let mut chars = piece.chars();
                let c = chars.next()?;
                (chars.next().is_none() && c != SPACE_MARK).then(|| CharEntry {
                    code_point: c.into(),
                    opens: !inside.contains(&c),
                    closes: !before_end.contains(&c),
                    id: id as u32,
                })
            })
            .collect();
        chars.sort_unstable_by_key(|entry| entry.code_point);
        chars
    }

    fn word_start(&self) -> WordStart {
        if self.split_words {
            return WordStart::Space;
        }
        let has_inner_space = |piece: &str| piece.trim_start_matches(SPACE_MARK).contains(SPACE_MARK);
        let mut merged = self.merges.iter().map(|merge| &self.pieces[merge.merged as usize]);
        match merged.any(|piece| has_inner_space(piece)) {
            true => WordStart::Nowhere,
            false => WordStart::SpaceRun,
        }
    }

    /// The records of the added tokens, the longest first, and the first bytes of the texts of each pass.
    fn added_tokens(&self) -> (Vec<u8>, [u8; 32], [u8; 32]) {
        let mut patterns: Vec<_> = self.added.iter().map(|added| (self.pattern(added), added)).collect();
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        let (mut bytes, mut raw, mut normalized) = (Vec::new(), [0; 32], [0; 32]);
        for (pattern, added) in patterns {
            let (pass, starts) = match added.normalized {
                false => (AddedPass::Raw, &mut raw),
                true => (AddedPass::Normalized, &mut normalized),
            };
            let head = AddedHead { id: added.id, pass, mark: added.special, len: pattern.len() as u8 };
            bytes.extend(head.emit());
            bytes.extend(pattern.as_bytes());
            let visible = match added.normalized && self.escaped_marks {
                true => pattern.trim_start_matches(SPACE_MARK),
                false => &pattern,
            };
            let first = visible.bytes().next().unwrap_or(b' ');
            starts[usize::from(first / 8)] |= 1 << (first % 8);
        }
        (bytes, raw, normalized)
    }

    /// The text that an added token is matched by: its own, or its normalized form.
    pub(super) fn pattern(&self, added: &AddedToken) -> String {
        if let (Algorithm::Pieces(word_piece), true) = (self.algorithm, added.normalized) {
            return word_piece.normalizer.normalize(&added.content).unwrap_or_default();
        }
        if !added.normalized || !self.escaped_marks {
            return added.content.clone();
        }
        let prefix = match self.prefix {
            PrefixSpace::Prepend => SPACE_MARK.to_string(),
            _ => String::new(),
        };
        prefix + &added.content.replace(' ', &SPACE_MARK.to_string())
    }
}

/// Places pairs in buckets, three quarters full.
fn fill_pairs(pairs: &[PairEntry]) -> (TableHeader, Vec<u8>) {
    let entries: Vec<_> = pairs.iter().map(|pair| (PairEntry::hash(pair.left, pair.right), pair.emit())).collect();
    fill(&entries, 3, 4)
}

/// Places entries in buckets of one sector, `numerator / denominator` full. If a bucket is full, the entry goes into
/// the next one with room.
fn fill<const LEN: usize>(
    entries: &[(u32, [u8; LEN])],
    numerator: usize,
    denominator: usize,
) -> (TableHeader, Vec<u8>) {
    let per_bucket = SECTOR_LEN / LEN;
    let mut buckets = (entries.len() * denominator).div_ceil(per_bucket * numerator).max(1) as u32;
    loop {
        if let Some((probes, bytes)) = try_fill(entries, per_bucket, buckets) {
            return (TableHeader { buckets, probes }, bytes);
        }
        buckets *= 2;
    }
}

/// The most buckets that a lookup reads, and the buckets; `None` if that number is too large.
fn try_fill<const LEN: usize>(entries: &[(u32, [u8; LEN])], per_bucket: usize, buckets: u32) -> Option<(u32, Vec<u8>)> {
    let table = TableHeader { buckets, probes: 1 };
    let mut bytes = vec![0xff; buckets as usize * SECTOR_LEN];
    let mut lens = vec![0; buckets as usize];
    let mut probes = 1;
    for (hash, entry) in entries {
        let first = table.bucket(*hash);
        let probe =
            (0..buckets.min(MAX_PROBES)).find(|probe| lens[((first + probe) % buckets) as usize] < per_bucket)?;
        let bucket = ((first + probe) % buckets) as usize;
        let at = bucket * SECTOR_LEN + lens[bucket] * LEN;
        bytes[at..at + LEN].copy_from_slice(entry);
        lens[bucket] += 1;
        probes = probes.max(probe + 1);
    }
    Some((probes, bytes))
}
