//! What a model's sections say of it, and whether it is whole: every checksum compared.

use anyhow::{Result, bail};
use rillm::format::{CHAT_HEADER_LEN, ChatHeader, FormatError, Header, SectionKind, TENSOR_ENTRY_LEN, TensorEntry};
use rillm::tokenizer::layout::{HEADER_LEN as TOKENIZER_HEADER_LEN, TokenizerHeader};
use rillm::{SECTOR_LEN, Sector, WeightSource};

use crate::block_on::block_on;
use crate::number::tensor_name;
use crate::progress;

/// The table of a file's tensors.
pub fn tensor_table<S>(header: &Header, source: &mut S) -> Result<Vec<TensorEntry>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let section = header.section(SectionKind::Tensors)?;
    let bytes = read(source, section.offset, section.len as usize)?;
    let entries = bytes.as_chunks::<TENSOR_ENTRY_LEN>().0;
    Ok(entries.iter().map(TensorEntry::parse).collect::<Result<_, FormatError>>()?)
}

/// How a file's chat template cuts texts up; none if it has no template that can be followed.
pub fn chat_form<S>(header: &Header, source: &mut S) -> Result<Option<ChatHeader>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let Ok(section) = header.section(SectionKind::Chat) else { return Ok(None) };
    let bytes = read(source, section.offset, CHAT_HEADER_LEN)?;
    let bytes = bytes.first_chunk().expect("so many were read");
    Ok(Some(ChatHeader::parse(bytes, header.vocab_size)?))
}

/// How a file makes tokens of texts.
pub fn tokenizer<S>(header: &Header, source: &mut S) -> Result<TokenizerHeader>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let bytes = read(source, header.section(SectionKind::Tokenizer)?.offset, TOKENIZER_HEADER_LEN)?;
    Ok(TokenizerHeader::parse(bytes.first_chunk().expect("so many were read"))?)
}

/// Compares the checksum of every section and of every tensor.
pub fn verify<S>(header: &Header, tensors: &[TensorEntry], source: &mut S) -> Result<()>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let sections = header.sections().map(|s| (format!("section {}", s.kind), s.offset, s.len, s.crc32));
    let tensors = tensors.iter().map(|t| (tensor_name(t.tensor.kind, t.tensor.layer), t.offset, t.len, t.crc32));
    let parts: Vec<_> = sections.chain(tensors).collect();
    let bar = progress::bytes(parts.iter().map(|part| part.2).sum());
    let mut damaged = Vec::new();
    for (name, offset, len, crc32) in parts {
        bar.set_message(name.clone());
        let mut hasher = crc32fast::Hasher::new();
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(1 << 20);
            hasher.update(&read(source, offset + at, piece as usize)?);
            at += piece;
            bar.inc(piece);
        }
        let computed = hasher.finalize();
        if computed != crc32 {
            damaged.push(format!("{name} (checksum {computed:08x}, should be {crc32:08x})"));
        }
    }
    if !damaged.is_empty() {
        bail!("damaged: {}; copy the file again or convert it again", damaged.join(", "));
    }
    Ok(())
}

fn read<S>(source: &mut S, offset: u64, len: usize) -> Result<Vec<u8>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let (first, at) = Sector::of(offset);
    let mut bytes = vec![0; (at + len).next_multiple_of(SECTOR_LEN)];
    block_on(source.read(first, &mut bytes))?;
    Ok(bytes[at..at + len].to_vec())
}
