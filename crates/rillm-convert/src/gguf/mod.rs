//! The structure of a GGUF file, versions 2 and 3, as in ggml's `docs/gguf.md`: values by key, and the location of the
//! tensors.
//!
//! Every length is checked against the bytes that the file has before it is used. Values point into the file; only the
//! names' positions and the tensors' shapes are copied, [`MAX_ENTRIES`] of each at most.

mod cursor;
mod error;
mod tokens;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::checkpoint::{Dtype, WeightFile};
use cursor::Cursor;
pub use error::GgufError;
pub(crate) use tokens::{TOKEN_TYPES, TOKENS, TokenType, Tokens};
pub(crate) use value::Value;

/// The most keys, and the most tensors, of a file: the largest models have a few thousand.
pub const MAX_ENTRIES: u64 = 1 << 16;

const MAGIC: [u8; 4] = *b"GGUF";
/// The most dimensions of a tensor in ggml.
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
/// Bytes of a file to begin with where files are read: the keys of most models, their tokenizers included.
const START: usize = 8 << 20;

/// ggml's ids of the supported types, and the names of the others.
const TYPES: [(u32, Result<Dtype, &str>); 34] = [
    (0, Ok(Dtype::F32)),
    (1, Ok(Dtype::F16)),
    (2, Ok(Dtype::Q4_0)),
    (3, Ok(Dtype::Q4_1)),
    (6, Ok(Dtype::Q5_0)),
    (7, Ok(Dtype::Q5_1)),
    (8, Ok(Dtype::Q8_0)),
    (9, Err("Q8_1")),
    (10, Err("Q2_K")),
    (11, Err("Q3_K")),
    (12, Ok(Dtype::Q4K)),
    (13, Ok(Dtype::Q5K)),
    (14, Ok(Dtype::Q6K)),
    (15, Err("Q8_K")),
    (16, Err("IQ2_XXS")),
    (17, Err("IQ2_XS")),
    (18, Err("IQ3_XXS")),
    (19, Err("IQ1_S")),
    (20, Err("IQ4_NL")),
    (21, Err("IQ3_S")),
    (22, Err("IQ2_S")),
    (23, Err("IQ4_XS")),
    (24, Err("I8")),
    (25, Err("I16")),
    (26, Err("I32")),
    (27, Err("I64")),
    (28, Ok(Dtype::F64)),
    (29, Err("IQ1_M")),
    (30, Ok(Dtype::Bf16)),
    (34, Err("TQ1_0")),
    (35, Err("TQ2_0")),
    (39, Err("MXFP4")),
    (40, Err("NVFP4")),
    (41, Err("Q1_0")),
];

/// A file's keys and tensors, which borrow the file's bytes.
#[derive(Debug)]
pub struct Gguf<'a> {
    values: BTreeMap<&'a str, Value<'a>>,
    tensors: BTreeMap<&'a str, Tensor>,
}

/// A tensor's entry in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its dimensions, columns last: the reverse of the file's order.
    pub shape: Vec<usize>,
    /// Its offset in the file, which contains all of its bytes.
    pub offset: usize,
}

/// Whether a file starts with GGUF's magic number.
///
/// # Errors
/// The operating system's error.
pub fn is_gguf(path: &Path) -> Result<bool, io::Error> {
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

impl<'a> Gguf<'a> {
    /// Reads the keys and the list of tensors of a whole file.
    ///
    /// # Errors
    /// [`GgufError`], which says what is damaged or unsupported.
    pub fn parse(file: &'a [u8]) -> Result<Self, GgufError> {
        Self::parse_start(file, file.len() as u64)
    }

    /// Enough of the start of a file for [`parse_start`](Self::parse_start): all of a file that is mapped.
    pub(crate) fn start(file: &WeightFile) -> io::Result<Cow<'_, [u8]>> {
        let mut len = START;
        loop {
            let start = file.start(len)?;
            let is_cut = matches!(Gguf::parse_start(&start, file.len() as u64), Err(GgufError::Cut { .. }));
            if !is_cut || start.len() == file.len() {
                return Ok(start);
            }
            len = len.saturating_mul(2);
        }
    }

    /// Reads the keys and the list of tensors of a file of `file_len` bytes, whose start has both.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub(crate) fn parse_start(start: &'a [u8], file_len: u64) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(start);
        let short = |short: cursor::Short| short.within("the header");
        let magic = cursor.array().map_err(short)?;
        if magic != MAGIC {
            return Err(GgufError::Magic { found: magic });
        }
        let version = cursor.u32().map_err(short)?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version { found: version });
        }
        let tensors = count("tensors", cursor.u64().map_err(short)?)?;
        let keys = count("keys", cursor.u64().map_err(short)?)?;

        let mut gguf = Self { values: BTreeMap::new(), tensors: BTreeMap::new() };
        for number in 0..keys {
            let key = name(&mut cursor, &format!("key {number}"))?;
            let value = Value::read(&mut cursor, key)?;
            if gguf.values.insert(key, value).is_some() {
                return Err(GgufError::Twice { what: "key", name: error::excerpt(key) });
            }
        }
        let alignment = gguf.alignment()?;
        // Offsets count from the first aligned byte after the list, and tensors follow each other, each padded.
        let mut expected = 0;
        for number in 0..tensors {
            let name = name(&mut cursor, &format!("tensor {number}"))?;
            let (tensor, len) = read_tensor(&mut cursor, name)?;
            if tensor.offset as u64 != expected {
                return Err(GgufError::Offset { name: error::excerpt(name), found: tensor.offset as u64, expected });
            }
            expected = u64::checked_next_multiple_of(expected.saturating_add(len), alignment).unwrap_or(u64::MAX);
            if gguf.tensors.insert(name, tensor).is_some() {
                return Err(GgufError::Twice { what: "tensor", name: error::excerpt(name) });
            }
        }
        let data = (cursor.at() as u64).next_multiple_of(alignment);
        gguf.place(data, file_len)?;
        Ok(gguf)
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<&'a str, Tensor> {
        &self.tensors
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let key = "general.alignment";
        let alignment = self.u32(key)?.map_or(DEFAULT_ALIGNMENT, u64::from);
        if alignment.is_power_of_two() { Ok(alignment) } else { Err(self.error(key, "a power of two")) }
    }

    /// Converts the tensors' offsets to offsets in the file, and checks that the file contains all tensors.
    fn place(&mut self, data: u64, file_len: u64) -> Result<(), GgufError> {
        for (name, tensor) in &mut self.tensors {
            let offset = data.saturating_add(tensor.offset as u64);
            let end = tensor.byte_len().and_then(|len| offset.checked_add(len));
            if end.is_none_or(|end| end > file_len) {
                return Err(GgufError::Outside { name: error::excerpt(name), offset, end, file_len });
            }
            tensor.offset = offset as usize;
        }
        Ok(())
    }
}

impl Tensor {
    fn byte_len(&self) -> Option<u64> {
        let (numbers, bytes) = self.dtype.block();
        let count = self.shape.iter().try_fold(1u64, |count, &len| count.checked_mul(len as u64))?;
        (count / numbers as u64).checked_mul(bytes as u64)
    }
}

fn count(what: &'static str, found: u64) -> Result<u64, GgufError> {
    if found > MAX_ENTRIES {
        return Err(GgufError::Count { what, found });
    }
    Ok(found)
}

fn name<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<&'a str, GgufError> {
    let bytes = cursor.string().map_err(|short| short.within(&format!("the name of {what}")))?;
    std::str::from_utf8(bytes).map_err(|_| GgufError::Name { what: what.to_owned() })
}

/// A tensor with its offset in the data section, and its length in bytes.
fn read_tensor(cursor: &mut Cursor, name: &str) -> Result<(Tensor, u64), GgufError> {
    let what = || format!("the description of tensor {}", error::excerpt(name));
    let malformed = |field, found: u64, expected| GgufError::Tensor {
        name: error::excerpt(name),
        field,
        found: found.to_string(),
        expected,
    };
    let dimensions = cursor.u32().map_err(|short| short.within(&what()))?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(malformed("number of dimensions", dimensions.into(), "1 to 4".to_owned()));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let len = cursor.u64().map_err(|short| short.within(&what()))?;
        let fits = usize::try_from(len).ok().filter(|_| (1..=1 << 40).contains(&len));
        shape.push(fits.ok_or_else(|| malformed("dimension", len, "1 to 2^40".to_owned()))?);
    }
    shape.reverse();
    let id = cursor.u32().map_err(|short| short.within(&what()))?;
    let dtype = match TYPES.iter().find(|(known, _)| *known == id) {
        Some(&(_, Ok(dtype))) => dtype,
        Some(&(_, Err(unread))) => {
            return Err(GgufError::Type { name: error::excerpt(name), found: unread.to_owned() });
        }
        None => return Err(GgufError::Type { name: error::excerpt(name), found: format!("numbers of type {id}") }),
    };
    let (numbers, _) = dtype.block();
    let cols = shape.last().copied().unwrap_or(1);
    if !cols.is_multiple_of(numbers) {
        return Err(malformed("row length", cols as u64, format!("a multiple of {numbers}, the block of {dtype}")));
    }
    let offset = cursor.u64().map_err(|short| short.within(&what()))?;
    let too_large = |what| malformed(what, offset, "a place in this file".to_owned());
    let offset = usize::try_from(offset).map_err(|_| too_large("offset"))?;
    let tensor = Tensor { dtype, shape, offset };
    let len = tensor.byte_len().ok_or_else(|| too_large("length from offset"))?;
    Ok((tensor, len))
}

/// The names of the supported types, for messages.
fn types_read() -> String {
    let read = TYPES.iter().filter_map(|(_, dtype)| dtype.ok());
    read.map(|dtype| dtype.to_string()).collect::<Vec<_>>().join(", ")
}
