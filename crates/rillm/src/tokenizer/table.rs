//! Lookups in the tables of the section.

use super::Tokenizer;
use super::layout::{BYTES_AT, CharEntry, Entry, PairEntry, SPACE_MARK, TABLES_AT, TableHeader, token};
use crate::counted::SectorReader;
use crate::error::Error;
use crate::format::u32_at;
use crate::source::{SECTOR_LEN, WeightSource};

/// The longest entry.
const ENTRY_LEN: usize = PairEntry::LEN;

impl Tokenizer {
    /// The entry of a character with a token of its own.
    pub(super) async fn char<S: WeightSource>(
        &self,
        reader: &mut SectorReader<'_, S>,
        c: char,
    ) -> Result<Option<CharEntry>, Error<S::Error>> {
        let code_point = u32::from(c);
        if c == SPACE_MARK {
            return Ok(self.header.space.map(|id| CharEntry { code_point, opens: false, closes: false, id }));
        }
        let (table, hash) = (self.header.chars, CharEntry::hash(code_point));
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
        left: u32,
        right: u32,
    ) -> Result<Option<PairEntry>, Error<S::Error>> {
        let (at, table) = (self.header.pairs_at(), self.header.pairs);
        let hash = PairEntry::hash(left, right);
        let found =
            self.find(reader, at, table, hash, |entry: &PairEntry| entry.left == left && entry.right == right).await?;
        if let Some(entry) = found {
            token("token of a merge", entry.merged, self.header.vocab_size)?;
        }
        Ok(found)
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

    /// The entry that `is_it`, in the table that starts at byte `at` of the section.
    async fn find<S: WeightSource, T: Entry>(
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
