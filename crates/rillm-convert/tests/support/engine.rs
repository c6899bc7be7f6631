//! The engine's tokenizer over a section in memory, and random numbers for strings.

use rillm::format::{Section, SectionKind};
use rillm::tokenizer::{Encoder, Scratch, Tokenizer};
use rillm::{Counted, Decoder, Error, SECTOR_LEN, Sector, SectorReader, WeightSource};
use rillm_convert::vocabulary::Vocabulary;
use serde_json::Value;

/// Where the section lies in the pseudo-file.
pub const FIRST: usize = 3;

/// A file that holds only a tokenizer section.
pub struct Memory(pub Vec<u8>);

impl WeightSource for Memory {
    type Error = &'static str;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        let at = first.0 as usize * SECTOR_LEN;
        let bytes = self.0.get(at..at + buf.len());
        buf.copy_from_slice(bytes.ok_or("past the end of the file")?);
        Ok(())
    }
}

pub const SCRATCH: Scratch = [0; size_of::<Scratch>() / 8];

/// A section in a pseudo-file, and the engine's tokenizer over it.
pub struct Engine {
    pub source: Counted<Memory>,
    pub tokenizer: Tokenizer,
    pub scratch: Scratch,
}

impl Engine {
    pub fn open(section: &[u8], vocab_size: u32) -> Result<Self, Error<&'static str>> {
        let mut file = vec![0xaa; FIRST * SECTOR_LEN];
        file.extend(section);
        file.resize(file.len().next_multiple_of(SECTOR_LEN), 0);
        let mut source = Counted::new(Memory(file));
        let section = Section {
            kind: SectionKind::Tokenizer,
            offset: (FIRST * SECTOR_LEN) as u64,
            len: section.len() as u64,
            crc32: 0,
        };
        let mut sector = [0; SECTOR_LEN];
        let mut reader = SectorReader::new(&mut source, &mut sector);
        let tokenizer = rillm::block_on(Tokenizer::open(&mut reader, section, vocab_size))?;
        Ok(Self { source, tokenizer, scratch: SCRATCH })
    }

    pub fn of(vocabulary: &Vocabulary) -> Self {
        let section = vocabulary.section().unwrap();
        Self::open(&section, vocabulary.tokens.len() as u32).unwrap()
    }

    pub fn encode(&mut self, text: &str) -> Result<Vec<u32>, Error<&'static str>> {
        let encoder = self.tokenizer.encoder(text, true, &mut self.scratch);
        Self::drain(encoder, &mut self.source, text)
    }

    /// The tokens of a text whose marks are text like any other.
    pub fn encode_plain(&mut self, text: &str) -> Result<Vec<u32>, Error<&'static str>> {
        let encoder = self.tokenizer.encoder(text, true, &mut self.scratch).plain();
        Self::drain(encoder, &mut self.source, text)
    }

    /// The tokens of what is said in a conversation, with a space before it or without.
    pub fn encode_content(&mut self, text: &str, space: bool) -> Result<Vec<u32>, Error<&'static str>> {
        let encoder = self.tokenizer.content_encoder(text, space, &mut self.scratch);
        Self::drain(encoder, &mut self.source, text)
    }

    fn drain(
        mut encoder: Encoder<'_>,
        source: &mut Counted<Memory>,
        text: &str,
    ) -> Result<Vec<u32>, Error<&'static str>> {
        let (mut ids, mut batch) = (Vec::new(), [0; 7]);
        loop {
            let len = rillm::block_on(encoder.fill(source, &mut batch))?;
            ids.extend(&batch[..len]);
            assert!(ids.len() <= 4 * text.len() + 8, "more tokens than bytes");
            if len < batch.len() {
                return Ok(ids);
            }
        }
    }
}

pub fn decode(vocabulary: &Vocabulary, mut decoder: Decoder, ids: &[u32]) -> String {
    let mut text = String::new();
    for &id in ids {
        let token = &vocabulary.tokens[id as usize];
        text.extend(decoder.push(token.kind, &token.text));
    }
    text + decoder.finish()
}

pub fn vocab_size(json: &Value) -> u32 {
    let ids = json["model"]["vocab"].as_object().unwrap().values();
    let added = json["added_tokens"].as_array().unwrap().iter().map(|token| &token["id"]);
    ids.chain(added).map(|id| id.as_u64().unwrap()).max().unwrap() as u32 + 1
}

/// xorshift64*
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
