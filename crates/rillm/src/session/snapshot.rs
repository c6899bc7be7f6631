//! Saved sessions: the tokens, keys and values as bytes, for a file or flash. [The file format] specifies the layout.
//!
//! [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md

use core::fmt;

use crate::format::{Crc32, crc32, put, u32_at};
use crate::kv_cache::KvCache;

const MAGIC: [u8; 8] = *b"RILLS\x1a\r\n";
/// Incremented with every change of the layout or of what the engine computes.
const VERSION: u32 = 1;
const HEAD_LEN: usize = 28;
const AT_CRC: usize = 24;

/// Why a saved session was not restored. The target session is then empty and remains usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RestoreError<E> {
    /// The reader's error. A file that ends early is reported as one.
    Read(E),
    /// The data does not start with the magic bytes of a saved session.
    NotASession {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// An engine with a different layout or different arithmetic saved the session.
    Version {
        /// The version of the saved session.
        found: u32,
    },
    /// The session was saved with another model file.
    OtherModel,
    /// The saved session has more tokens than the context has positions.
    ContextTooSmall {
        /// Tokens of the saved session: the smallest context that can restore it.
        tokens: u32,
        /// The context of the target session, in tokens.
        context: usize,
    },
    /// The saved session is damaged: a checksum does not match.
    Checksum {
        /// The stored checksum.
        stored: u32,
        /// The checksum of the bytes as read.
        computed: u32,
    },
    /// The checksum matches, but a field is out of range.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The field's value.
        value: u32,
        /// The largest valid value.
        most: u32,
    },
}

impl<E: fmt::Display> fmt::Display for RestoreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read the saved session: {error}"),
            Self::NotASession { found } => {
                write!(f, "this is no saved session: it starts with {found:02x?} instead of {MAGIC:02x?}")
            }
            Self::Version { found } => write!(
                f,
                "the saved session has version {found} and this program reads version {VERSION}: save it anew with this \
                 program"
            ),
            Self::OtherModel => f.write_str(
                "the session was saved with another model file: run it with that one, or save it anew with this one",
            ),
            Self::ContextTooSmall { tokens, context } => write!(
                f,
                "the saved session has {tokens} tokens and there is room for {context}: plan a context of at least {tokens}"
            ),
            Self::Checksum { stored, computed } => write!(
                f,
                "the saved session is damaged: its checksum is {stored:08x}, that of its bytes {computed:08x}; save it anew"
            ),
            Self::OutOfRange { field, value, most } => {
                write!(f, "the saved session has {field} {value}, and {most} is the largest that can be; save it anew")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RestoreError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its words are in this error's words.
            Self::Read(error) => error.source(),
            _ => None,
        }
    }
}

/// The header of a saved session.
struct SnapshotHeader {
    /// The model's identity.
    model: u32,
    tokens: u32,
    /// Number of positions in the cache.
    positions: u32,
}

impl SnapshotHeader {
    fn emit(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        put(&mut bytes, 0, &MAGIC);
        for (at, value) in [(8, VERSION), (12, self.model), (16, self.tokens), (20, self.positions)] {
            put(&mut bytes, at, &value.to_le_bytes());
        }
        let checksum = crc32(&bytes[..AT_CRC]);
        put(&mut bytes, AT_CRC, &checksum.to_le_bytes());
        bytes
    }

    fn parse<E>(bytes: &[u8; HEAD_LEN]) -> Result<Self, RestoreError<E>> {
        if let Some(&found) = bytes.first_chunk().filter(|&found| *found != MAGIC) {
            return Err(RestoreError::NotASession { found });
        }
        let found = u32_at(bytes, 8);
        if found != VERSION {
            return Err(RestoreError::Version { found });
        }
        compare(u32_at(bytes, AT_CRC), crc32(&bytes[..AT_CRC]))?;
        let head = Self { model: u32_at(bytes, 12), tokens: u32_at(bytes, 16), positions: u32_at(bytes, 20) };
        in_range("positions", head.positions, head.tokens)?;
        Ok(head)
    }
}

fn compare<E>(stored: u32, computed: u32) -> Result<(), RestoreError<E>> {
    if stored == computed { Ok(()) } else { Err(RestoreError::Checksum { stored, computed }) }
}

fn in_range<E>(field: &'static str, value: u32, most: u32) -> Result<(), RestoreError<E>> {
    if value <= most { Ok(()) } else { Err(RestoreError::OutOfRange { field, value, most }) }
}

/// Writes `tokens` of the model with identity `model`, and the first `positions` of the cache.
pub(crate) fn save<E>(
    model: u32,
    tokens: &[u32],
    positions: usize,
    cache: &KvCache<'_>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut digest = Crc32::new();
    let mut put = |bytes: &[u8]| {
        digest.update(bytes);
        write(bytes)
    };
    // A context has at most 2^20 positions.
    put(&SnapshotHeader { model, tokens: tokens.len() as u32, positions: positions as u32 }.emit())?;
    for token in tokens {
        put(&token.to_le_bytes())?;
    }
    for range in cache.shape.first(positions) {
        put(&cache.bytes[range])?;
    }
    write(&digest.value().to_le_bytes())
}

/// Reads what [`save`] wrote. Returns the number of tokens in `history` and of positions in `cache`. After an error,
/// the contents of both are unspecified.
pub(crate) fn restore<E>(
    model: u32,
    vocab_size: u32,
    history: &mut [u32],
    cache: &mut KvCache<'_>,
    mut read: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(usize, usize), RestoreError<E>> {
    let mut digest = Crc32::new();
    let mut fill = |bytes: &mut [u8]| {
        read(bytes).map_err(RestoreError::Read)?;
        digest.update(bytes);
        Ok(())
    };
    let mut bytes = [0; HEAD_LEN];
    fill(&mut bytes)?;
    let head = SnapshotHeader::parse(&bytes)?;
    if head.model != model {
        return Err(RestoreError::OtherModel);
    }
    let context = history.len();
    let Some(tokens) = history.get_mut(..head.tokens as usize) else {
        return Err(RestoreError::ContextTooSmall { tokens: head.tokens, context });
    };
    fill(bytemuck::cast_slice_mut(tokens))?;
    for range in cache.shape.first(head.positions as usize) {
        fill(&mut cache.bytes[range])?;
    }
    let mut stored = [0; 4];
    read(&mut stored).map_err(RestoreError::Read)?;
    compare(u32::from_le_bytes(stored), digest.value())?;
    for token in &mut *tokens {
        *token = u32::from_le(*token);
        in_range("a token", *token, vocab_size - 1)?;
    }
    Ok((tokens.len(), head.positions as usize))
}
