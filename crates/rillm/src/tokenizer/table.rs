//! Lookups in the tables of the tokenizer section.

use super::Tokenizer;
use super::bpe::Merges;
use super::layout::{
    BYTES_AT, CharEntry, Entry, NONE_BYTE, PairEntry, SPACE_MARK, SentencePieceHeader, TABLES_AT, TableHeader, token,
};
use crate::error::Error;
use crate::format::u32_at;
use crate::source::SectorReader;
use crate::source::{SECTOR_LEN, WeightSource};

/// Length of the longest entry in bytes.
const ENTRY_LEN: usize = PairEntry::LEN;

impl Tokenizer {
    /// The entry of a character with its own token.
    pub(super) async fn char<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        header: &SentencePieceHeader,
        c: char,
    ) -> Result<Option<CharEntry>, Error<S::Error>> {
        let code_point = u32::from(c);
        if c == SPACE_MARK {
            return Ok(header.space.map(|id| CharEntry { code_point, opens: false, closes: false, id }));
        }
        let (table, hash) = (header.chars, CharEntry::hash(code_point));
        let found =
            self.find(reader, TABLES_AT, table, hash, |entry: &CharEntry| entry.code_point == code_point).await?;
        if let Some(entry) = found {
            token("token of a character", entry.id, self.header.vocab_size)?;
        }
        Ok(found)
    }

    /// The merge of two tokens.
    pub(super) async fn pair<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        merges: Merges,
        left: u32,
        right: u32,
    ) -> Result<Option<PairEntry>, Error<S::Error>> {
        let found = self.entry_of_pair(reader, merges, left, right).await?;
        if let Some(entry) = found {
            token("token of a merge", entry.merged, self.header.vocab_size)?;
        }
        Ok(found)
    }

    /// The entry of two numbers in a table of merges or of whole words.
    pub(super) async fn entry_of_pair<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        Merges { at, table }: Merges,
        left: u32,
        right: u32,
    ) -> Result<Option<PairEntry>, Error<S::Error>> {
        let is_it = |entry: &PairEntry| entry.left == left && entry.right == right;
        self.find(reader, at, table, PairEntry::hash(left, right), is_it).await
    }

    /// A step in the tree of whole words: the node after `node` and a token, and the token of the word that ends there.
    pub(super) async fn whole_word<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        tree: Merges,
        node: u32,
        id: u32,
    ) -> Result<Option<(u32, Option<u32>)>, Error<S::Error>> {
        let Some(entry) = self.entry_of_pair(reader, tree, node, id).await? else {
            return Ok(None);
        };
        let word = match entry.rank.checked_sub(1) {
            Some(id) => Some(token("token of a whole word", id, self.header.vocab_size)?),
            None => None,
        };
        Ok(Some((entry.merged, word)))
    }

    /// The tokens of all bytes.
    pub(super) async fn byte_tokens<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        tokens: &mut [u32; 256],
    ) -> Result<(), Error<S::Error>> {
        reader.read(self.offset + BYTES_AT, bytemuck::bytes_of_mut(tokens)).await.map_err(Error::Source)?;
        for id in tokens {
            *id = u32::from_le(*id);
            if *id != NONE_BYTE {
                token("token of a byte", *id, self.header.vocab_size)?;
            }
        }
        Ok(())
    }

    /// The token of a byte.
    pub(super) async fn byte<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        byte: u8,
    ) -> Result<u32, Error<S::Error>> {
        let mut bytes = [0; 4];
        let at = self.offset + BYTES_AT + 4 * u64::from(byte);
        reader.read(at, &mut bytes).await.map_err(Error::Source)?;
        Ok(token("token of a byte", u32_at(&bytes, 0), self.header.vocab_size)?)
    }

    /// The entry that satisfies `is_it`, in the table at byte `at` of the section.
    pub(super) async fn find<S: WeightSource, T: Entry>(
        &self,
        reader: &mut SectorReader<'_, S>,
        at: u64,
        table: TableHeader,
        hash: u32,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Error<S::Error>> {
        let first = table.bucket(hash);
        for probe in 0..table.probes {
            let bucket = (first + probe) % table.buckets;
            let start = self.offset + at + u64::from(bucket) * SECTOR_LEN as u64;
            for slot in 0..T::PER_BUCKET {
                let mut bytes = [0; ENTRY_LEN];
                reader.read(start + (slot * T::LEN) as u64, &mut bytes[..T::LEN]).await.map_err(Error::Source)?;
                match T::parse(&bytes) {
                    None => return Ok(None),
                    Some(entry) if is_it(&entry) => return Ok(Some(entry)),
                    Some(_) => {}
                }
            }
        }
        Ok(None)
    }
}
