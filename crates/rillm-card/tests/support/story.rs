//! A card in a slot, from its insertion to the end of a file.

use rillm_card::{Blocks, CardFile, CardInfo, Error, Slot, probe};

use super::registers::{Registers, micros};
use super::{BLOCK, FAT16, block_on, content, read_all};

const SEED: u32 = 9;

thread_local! {
    /// The file's bytes.
    static FILE: Vec<u8> = content(60 * BLOCK, SEED);
    /// The blocks of the card.
    pub static IMAGE: Vec<u8> = FAT16.with_model(&file_bytes(60 * BLOCK), 2);
}

/// The first bytes of the file, 60 blocks at most.
pub fn file_bytes(len: usize) -> Vec<u8> {
    FILE.with(|file| file[..len].to_vec())
}

/// A card that counts its addresses by blocks.
pub fn registers() -> Registers {
    Registers::new(IMAGE.with(Clone::clone), true)
}

/// A card that counts its addresses by bytes.
pub fn standard_capacity() -> Registers {
    Registers::new(IMAGE.with(Clone::clone), false)
}

type Opened<'c, S> = (CardInfo<<S as Blocks>::Error>, CardFile<&'c mut S>);

/// What `/model` does: the card is initialised, and its file opened.
pub fn open<S: Slot>(card: &mut S) -> Result<Opened<'_, S>, Error<S::Error>> {
    let info = block_on(probe(card, micros))?;
    Ok((info, block_on(CardFile::open(card, None))?))
}

/// Opens the file, reads `len` bytes of it in reads of these numbers of blocks, and compares them.
pub fn story<S: Slot>(card: &mut S, len: usize, reads: &[usize]) -> Result<(), Error<S::Error>> {
    let (_, mut opened) = open(card)?;
    let bytes = read_all(&mut opened, len, reads)?;
    assert!(bytes == file_bytes(len), "wrong bytes");
    Ok(())
}
