//! Reading the sections of a model file.

use anyhow::Result;
use rillm::format::{CHAT_HEADER_LEN, ChatHeader, FormatError, Header, SectionKind, TENSOR_ENTRY_LEN, TensorEntry};
use rillm::tokenizer::layout::{HEADER_LEN as TOKENIZER_HEADER_LEN, TokenizerHeader};
use rillm::{SECTOR_LEN, Sector, WeightSource, block_on};

/// Reads the table of tensors.
pub fn tensor_table<S>(header: &Header, source: &mut S) -> Result<Vec<TensorEntry>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let section = header.section(SectionKind::Tensors)?;
    let bytes = read(source, section.offset, section.len as usize)?;
    let entries = bytes.as_chunks::<TENSOR_ENTRY_LEN>().0;
    Ok(entries.iter().map(TensorEntry::parse).collect::<Result<_, FormatError>>()?)
}

/// Reads the header of the chat template. Returns none if the file has no template that rillm supports.
pub fn chat_form<S>(header: &Header, source: &mut S) -> Result<Option<ChatHeader>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let Ok(section) = header.section(SectionKind::Chat) else { return Ok(None) };
    let bytes = read(source, section.offset, CHAT_HEADER_LEN)?;
    let bytes = bytes.first_chunk().expect("so many were read");
    Ok(Some(ChatHeader::parse(bytes, header.vocab_size)?))
}

/// Reads the header of the tokenizer.
pub fn tokenizer<S>(header: &Header, source: &mut S) -> Result<TokenizerHeader>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let bytes = read(source, header.section(SectionKind::Tokenizer)?.offset, TOKENIZER_HEADER_LEN)?;
    Ok(TokenizerHeader::parse(bytes.first_chunk().expect("so many were read"))?)
}

/// Reads `len` bytes at `offset` of the file.
pub fn read<S>(source: &mut S, offset: u64, len: usize) -> Result<Vec<u8>>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let (first, at) = Sector::of(offset);
    let mut bytes = vec![0; (at + len).next_multiple_of(SECTOR_LEN)];
    block_on(source.read(first, &mut bytes))?;
    Ok(bytes[at..at + len].to_vec())
}
