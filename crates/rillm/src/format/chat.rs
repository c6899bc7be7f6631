//! The header of the `chat` section: the template's texts, which stand between the messages.

use super::bytes::{put, u32_at};
use super::{FormatError, in_range};

/// Bytes of the header of a `chat` section.
pub const CHAT_HEADER_LEN: usize = 32;

const KIND_TURNS: u32 = 1;
const AT_KIND: usize = 0;
const AT_FLAGS: usize = 4;
const AT_END: usize = 8;
const AT_LENS: usize = 12;
const FLAG_TRIM_USER: u32 = 1;
const FLAG_TRIM_SYSTEM: u32 = 1 << 1;
const FLAG_SYSTEM: u32 = 1 << 2;
/// The bit of the first part's space flag; the other parts' flags follow in order.
const SPACE_SHIFT: u32 = 3;
const KNOWN_FLAGS: u32 = (1 << 7) - 1;
/// Flags that are valid only in a template with a system prompt.
const SYSTEM_FLAGS: u32 = FLAG_TRIM_SYSTEM | FLAG_SYSTEM | 1 << 4 | 1 << 5;
/// Maximum number of tokens of a part.
const MAX_LEN: u32 = 1 << 16;

/// A text of the template, between the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatPart {
    /// Before the first user text, if no system prompt is given. This part may contain the template's own system prompt.
    Begin,
    /// Before a given system prompt.
    BeginSystem,
    /// Between a given system prompt and the first user text.
    AfterSystem,
    /// Between an answer's end-of-turn token and the next user text.
    Next,
    /// Between a user text and its answer.
    Ask,
}

impl ChatPart {
    /// All parts, in file order.
    pub const ALL: [Self; 5] = [Self::Begin, Self::BeginSystem, Self::AfterSystem, Self::Next, Self::Ask];
}

/// The header of a `chat` section. The tokens of the parts follow, 4 bytes each, in the order of [`ChatPart::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatHeader {
    /// Whether leading and trailing ASCII white space of user texts is removed.
    pub trim_user: bool,
    /// Whether leading and trailing ASCII white space of system prompts is removed.
    pub trim_system: bool,
    /// Whether the template supports a system prompt, the system prompt.
    pub system: bool,
    /// The end-of-turn token, which ends an answer.
    pub end: u32,
    /// Number of tokens of each part, in the order of [`ChatPart::ALL`]: 0 to 65,536.
    pub lens: [u32; 5],
    /// Whether a space stands before the message after each part and is encoded with it. Always false for
    /// [`ChatPart::Ask`].
    pub spaces: [bool; 5],
}

impl ChatHeader {
    /// Checks and reads the header. `vocab_size` is the file's.
    ///
    /// # Errors
    /// A [`FormatError`] that names the first invalid field.
    pub fn parse(bytes: &[u8; CHAT_HEADER_LEN], vocab_size: u32) -> Result<Self, FormatError> {
        let (kind, flags) = (u32_at(bytes, AT_KIND), u32_at(bytes, AT_FLAGS));
        if kind != KIND_TURNS {
            return Err(FormatError::Unknown { field: "kind of the chat section", value: kind });
        }
        let system = flags & FLAG_SYSTEM != 0;
        // Flags about a system prompt require one. After the last part, only the model speaks.
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

    /// The inverse of [`parse`](Self::parse).
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

    /// Length of the section in bytes.
    pub fn byte_len(&self) -> u64 {
        CHAT_HEADER_LEN as u64 + 4 * self.lens.iter().map(|&len| u64::from(len)).sum::<u64>()
    }

    /// The offset of a part's tokens in the section, in bytes, and their number.
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
