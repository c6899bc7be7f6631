//! What the `chat` section starts with: how the texts between what is said are cut up.

use super::bytes::{put, u32_at};
use super::{FormatError, in_range};

/// Bytes of a `chat` section before its tokens.
pub const CHAT_HEADER_LEN: usize = 32;

const KIND_TURNS: u32 = 1;
const AT_KIND: usize = 0;
const AT_FLAGS: usize = 4;
const AT_END: usize = 8;
const AT_LENS: usize = 12;
const FLAG_TRIM_USER: u32 = 1;
const FLAG_TRIM_SYSTEM: u32 = 1 << 1;
const FLAG_SYSTEM: u32 = 1 << 2;
/// The first flag of what follows the parts; the others are in their order.
const SPACE_SHIFT: u32 = 3;
const KNOWN_FLAGS: u32 = (1 << 7) - 1;
/// Those that stand with a system text only.
const SYSTEM_FLAGS: u32 = FLAG_TRIM_SYSTEM | FLAG_SYSTEM | 1 << 4 | 1 << 5;
/// Tokens of a text.
const MAX_LEN: u32 = 1 << 16;

/// A text between what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatPart {
    /// Before the first user text, where no system text is given. It may hold the template's own system text.
    Begin,
    /// Before a given system text.
    BeginSystem,
    /// Between a given system text and the first user text.
    AfterSystem,
    /// Between an answer's end-of-turn token and the next user text.
    Next,
    /// Between a user text and its answer.
    Ask,
}

impl ChatPart {
    /// All parts, in the order in which the section holds them.
    pub const ALL: [Self; 5] = [Self::Begin, Self::BeginSystem, Self::AfterSystem, Self::Next, Self::Ask];
}

/// The first bytes of a `chat` section. The tokens of the parts follow, 4 bytes each, in the order of
/// [`ChatPart::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatHeader {
    /// User texts lose the ASCII white space that they start and end with.
    pub trim_user: bool,
    /// System texts do.
    pub trim_system: bool,
    /// There is a place for a system text, the system prompt.
    pub system: bool,
    /// The token that ends an answer: the end-of-turn token.
    pub end: u32,
    /// Tokens of each part, in the order of [`ChatPart::ALL`]: 0 to 65,536.
    pub lens: [u32; 5],
    /// Whether a space stands before what is said after each part, and is encoded with it. None after [`ChatPart::Ask`].
    pub spaces: [bool; 5],
}

impl ChatHeader {
    /// Checks and reads the first bytes of a section. `vocab_size` is the file's.
    ///
    /// # Errors
    /// [`FormatError`] names the first field that is not as the format has it.
    pub fn parse(bytes: &[u8; CHAT_HEADER_LEN], vocab_size: u32) -> Result<Self, FormatError> {
        let (kind, flags) = (u32_at(bytes, AT_KIND), u32_at(bytes, AT_FLAGS));
        if kind != KIND_TURNS {
            return Err(FormatError::Unknown { field: "kind of the chat section", value: kind });
        }
        let system = flags & FLAG_SYSTEM != 0;
        // Texts about a system text are there with it, and nothing is said after the last part but by the model.
        let known = if system { KNOWN_FLAGS } else { KNOWN_FLAGS & !SYSTEM_FLAGS };
        if flags & !known != 0 {
            return Err(FormatError::Unknown { field: "flags of the chat section", value: flags });
        }
        let mut lens = [0; 5];
        for (part, len) in lens.iter_mut().enumerate() {
            let max = if system || !(1..=2).contains(&part) { MAX_LEN } else { 0 };
            *len = in_range(
                "tokens of a text of the chat section",
                u32_at(bytes, AT_LENS + 4 * part).into(),
                0,
                max.into(),
            )? as u32;
        }
        Ok(Self {
            trim_user: flags & FLAG_TRIM_USER != 0,
            trim_system: flags & FLAG_TRIM_SYSTEM != 0,
            system,
            end: in_range("end-of-turn token", u32_at(bytes, AT_END).into(), 0, u64::from(vocab_size) - 1)? as u32,
            lens,
            spaces: core::array::from_fn(|part| flags & 1 << (SPACE_SHIFT + part as u32) != 0),
        })
    }

    /// The bytes that [`parse`](Self::parse) reads back.
    pub fn emit(&self) -> [u8; CHAT_HEADER_LEN] {
        let flags =
            [(self.trim_user, FLAG_TRIM_USER), (self.trim_system, FLAG_TRIM_SYSTEM), (self.system, FLAG_SYSTEM)];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        let spaces =
            self.spaces.iter().enumerate().map(|(part, &space)| u32::from(space) << (SPACE_SHIFT + part as u32));
        let mut bytes = [0; CHAT_HEADER_LEN];
        put(&mut bytes, AT_KIND, &KIND_TURNS.to_le_bytes());
        put(&mut bytes, AT_FLAGS, &flags.chain(spaces).fold(0, |all, flag| all | flag).to_le_bytes());
        put(&mut bytes, AT_END, &self.end.to_le_bytes());
        for (part, len) in self.lens.iter().enumerate() {
            put(&mut bytes, AT_LENS + 4 * part, &len.to_le_bytes());
        }
        bytes
    }

    /// Bytes of the section.
    pub fn byte_len(&self) -> u64 {
        CHAT_HEADER_LEN as u64 + 4 * self.lens.iter().map(|&len| u64::from(len)).sum::<u64>()
    }

    /// Where a part's tokens start, in bytes from the section's first one, and how many there are.
    pub fn place(&self, part: ChatPart) -> (u64, usize) {
        let before = self.lens[..part as usize].iter().map(|&len| u64::from(len)).sum::<u64>();
        (CHAT_HEADER_LEN as u64 + 4 * before, self.lens[part as usize] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ChatHeader {
        ChatHeader {
            trim_user: true,
            trim_system: false,
            system: true,
            end: 9,
            lens: [3, 0, 65_536, 1, 2],
            spaces: [true, false, true, false, false],
        }
    }

    #[test]
    fn parse_reads_what_emit_writes() {
        let plain =
            ChatHeader { system: false, lens: [3, 0, 0, 1, 2], spaces: [true, false, false, true, false], ..header() };
        for header in [header(), plain] {
            assert_eq!(ChatHeader::parse(&header.emit(), 10), Ok(header));
        }
        assert_eq!(header().byte_len(), 32 + 4 * 65_542);
        assert_eq!(header().place(ChatPart::Next), (32 + 4 * 65_539, 1));
    }

    #[test]
    fn every_other_flag_and_number_is_refused() {
        let refused = |header: &ChatHeader, at: usize, value: u32, vocab_size: u32| {
            let mut bytes = header.emit();
            put(&mut bytes, at, &value.to_le_bytes());
            ChatHeader::parse(&bytes, vocab_size).is_err()
        };
        let plain = ChatHeader { system: false, lens: [3, 0, 0, 1, 2], spaces: [false; 5], ..header() };
        for bit in 7..32 {
            assert!(refused(&header(), AT_FLAGS, 1 << bit, 10) && refused(&plain, AT_FLAGS, 1 << bit, 10));
        }
        for bit in [1, 4, 5] {
            assert!(refused(&plain, AT_FLAGS, 1 << bit, 10), "bit {bit}");
        }
        assert!(refused(&header(), AT_KIND, 2, 10) && refused(&header(), AT_END, 10, 10));
        assert!(refused(&header(), AT_LENS, MAX_LEN + 1, 10) && refused(&plain, AT_LENS + 4, 1, 10));
    }
}
