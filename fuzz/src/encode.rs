//! A tokenizer without a model.

use rillm::format::{Section, SectionKind};
use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Bytes, Error, PastTheEnd, SECTOR_LEN, SectorReader, block_on};
use rillm_convert::vocabulary::Vocabulary;

/// A tokenizer section, and the engine's tokenizer for it.
pub struct Encoding {
    file: Vec<u8>,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
}

impl Encoding {
    /// The tokenizer that the converter makes of a vocabulary. The vocabulary must be one that it supports.
    pub fn of(vocabulary: Vocabulary) -> Self {
        let vocab_size = vocabulary.tokens.len() as u32;
        let mut file = vocabulary.section().expect("a vocabulary that can be laid out");
        let section = Section { kind: SectionKind::Tokenizer, offset: 0, len: file.len() as u64, crc32: 0 };
        file.resize(file.len().next_multiple_of(SECTOR_LEN), 0);
        let mut sector = [0; SECTOR_LEN];
        let mut source = Bytes::copied(&file);
        let mut reader = SectorReader::new(&mut source, &mut sector);
        let tokenizer = block_on(Tokenizer::open(&mut reader, section, vocab_size)).expect("what was just laid out");
        Self { file, tokenizer, vocabulary }
    }

    /// The tokens of a text, fetched `batch` at a time.
    ///
    /// # Panics
    /// A token is outside the vocabulary, or there are more tokens than the text can have.
    pub fn encode(&self, text: &str, batch: usize) -> Result<Vec<u32>, Error<PastTheEnd>> {
        let mut scratch: Scratch = [0; size_of::<Scratch>() / 8];
        let mut source = Bytes::copied(&self.file);
        let mut encoder = self.tokenizer.encoder(text, true, &mut scratch);
        let (mut tokens, mut some) = (Vec::new(), vec![0; batch]);
        loop {
            let len = block_on(encoder.fill(&mut source, &mut some))?;
            tokens.extend(&some[..len]);
            // A character has at most four bytes, NFC makes at most three characters of one, and there are marks at
            // both ends.
            assert!(tokens.len() <= 12 * text.len() + 16, "{} tokens of {} bytes", tokens.len(), text.len());
            assert!(tokens.iter().all(|&token| (token as usize) < self.vocabulary.tokens.len()));
            if len < batch {
                return Ok(tokens);
            }
        }
    }
    /// The text of tokens, marks included.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut decoder = self.tokenizer.decoder().show_control_tokens();
        let mut text = String::new();
        for &token in tokens {
            let token = &self.vocabulary.tokens[token as usize];
            text.extend(decoder.push(token.kind, &token.text));
        }
        text + decoder.finish()
    }
}
