//! The result of a call, as a number and in words.

use core::ffi::{CStr, c_char, c_int};
use core::fmt;

use rillm::{ChatError, ChooseError, Error, PlanError, RestoreError};
use rillm_generate::StopError;

use crate::cores::RILLM_PARTS_MAX;
use crate::engine::RILLM_OPTIONS_MAX;
use crate::source::SourceError;

/// The result of a call. The numbers do not change between versions.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    RillmOk = 0,
    /// An invalid argument: NULL where a value is required, a number out of range, or text that is not UTF-8.
    RillmErrorArgument = 1,
    /// The handle is not open: it never was, or it was closed.
    RillmErrorClosed = 2,
    /// The handle is in use: the call came from one of the callbacks.
    RillmErrorBusy = 3,
    /// The read function failed, or the model's memory ends too early.
    RillmErrorRead = 4,
    /// The data is not a model that this version can run, or it is damaged.
    RillmErrorModel = 5,
    /// The memory is too small.
    RillmErrorMemory = 6,
    /// The text, or the prompt and the options, have more tokens than the context has room for.
    RillmErrorPromptTooLong = 7,
    /// The write function failed.
    RillmErrorWrite = 8,
    /// The data is not a saved text of this model and version, or it is damaged, or the context is too small for it.
    RillmErrorSaved = 9,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::RillmOk,
        Self::RillmErrorArgument,
        Self::RillmErrorClosed,
        Self::RillmErrorBusy,
        Self::RillmErrorRead,
        Self::RillmErrorModel,
        Self::RillmErrorMemory,
        Self::RillmErrorPromptTooLong,
        Self::RillmErrorWrite,
        Self::RillmErrorSaved,
    ];

    /// What to do about a status, for any number.
    pub fn words(status: i32) -> &'static CStr {
        match Self::ALL.into_iter().find(|known| *known as i32 == status) {
            Some(Self::RillmOk) => c"everything went well",
            Some(Self::RillmErrorArgument) => {
                c"an argument is NULL, out of its range or no UTF-8: pass a rillm_message_t to learn which"
            }
            Some(Self::RillmErrorClosed) => {
                c"the handle is not open: call rillm_init first, and nothing after rillm_deinit"
            }
            Some(Self::RillmErrorBusy) => {
                c"the handle is in use: do not call rillm from the callbacks, use one thread at a time"
            }
            Some(Self::RillmErrorRead) => {
                c"the model could not be read: check the card and the read function, then call again"
            }
            Some(Self::RillmErrorModel) => {
                c"the model file is damaged or not a .rillm file: make it with `rillm convert`, copy it again"
            }
            Some(Self::RillmErrorMemory) => c"the memory is too small: rillm_plan says how much is needed",
            Some(Self::RillmErrorPromptTooLong) => {
                c"the text is too long: shorten it, or give memory for a longer context"
            }
            Some(Self::RillmErrorWrite) => {
                c"the saved text could not be written: check the write function, then save again"
            }
            Some(Self::RillmErrorSaved) => {
                c"the saved text cannot be restored: save it with the same model file, and a context that is not longer"
            }
            None => c"no status of this version of rillm",
        }
    }
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An argument that must not be NULL.
    Null(&'static str),
    /// An invalid setup, and what to do.
    Setup(&'static str),
    /// The number of parts for the other cores is out of range.
    Parts(usize),
    /// A region of memory that no allocation can have.
    Region(&'static str, usize),
    /// Two regions of memory that overlap.
    Overlap(&'static str, &'static str),
    /// A setting, and its value, which is not a number of at least 0.
    Number(&'static str, &'static str),
    /// A text, and the byte from which on it is not UTF-8.
    NotUtf8(&'static str, usize),
    /// More options than there is room for.
    Options(usize),
    /// Stop strings that are not accepted.
    Stop(StopError),
    /// The options cannot be chosen from.
    Choose(ChooseError<SourceError>),
    /// The handle is not open.
    Closed,
    /// The handle is in use.
    Busy,
    /// The memory is too small.
    Memory(PlanError),
    /// The model does not chat, or not with a system prompt.
    Chat(ChatError<SourceError>),
    /// The write function failed, and its result.
    Write(c_int),
    /// A saved text cannot be restored. Of a failed read, the result of the read function.
    Restore(RestoreError<c_int>),
    /// An error of the engine.
    Engine(Error<SourceError>),
}

impl From<Error<SourceError>> for Failure {
    fn from(error: Error<SourceError>) -> Self {
        Self::Engine(error)
    }
}

impl From<StopError> for Failure {
    fn from(error: StopError) -> Self {
        Self::Stop(error)
    }
}

impl From<ChatError<SourceError>> for Failure {
    fn from(error: ChatError<SourceError>) -> Self {
        match error {
            ChatError::Session(error) => Self::Engine(error),
            ChatError::TooLong { tokens, context } => Self::Engine(Error::ContextFull { tokens, context }),
            error => Self::Chat(error),
        }
    }
}

impl From<ChooseError<SourceError>> for Failure {
    fn from(error: ChooseError<SourceError>) -> Self {
        match error {
            ChooseError::Session(error @ (Error::Source(_) | Error::Format(_))) => Self::Engine(error),
            error => Self::Choose(error),
        }
    }
}

impl Failure {
    /// The status of this failure.
    pub fn status(&self) -> Status {
        match self {
            Self::Null(_) | Self::Setup(_) | Self::Parts(_) | Self::Region(..) | Self::Overlap(..) => {
                Status::RillmErrorArgument
            }
            Self::Number(..) | Self::NotUtf8(..) | Self::Options(_) | Self::Stop(_) => Status::RillmErrorArgument,
            Self::Choose(ChooseError::Session(Error::ContextFull { .. })) => Status::RillmErrorPromptTooLong,
            Self::Choose(_) | Self::Chat(_) => Status::RillmErrorArgument,
            Self::Write(_) => Status::RillmErrorWrite,
            Self::Restore(RestoreError::Read(_)) => Status::RillmErrorRead,
            Self::Restore(_) => Status::RillmErrorSaved,
            Self::Closed => Status::RillmErrorClosed,
            Self::Busy => Status::RillmErrorBusy,
            Self::Memory(_) | Self::Engine(Error::Plan(_)) => Status::RillmErrorMemory,
            Self::Engine(Error::Source(_)) => Status::RillmErrorRead,
            Self::Engine(Error::Format(_) | Error::NoSuchToken { .. }) => Status::RillmErrorModel,
            Self::Engine(Error::ContextFull { .. }) => Status::RillmErrorPromptTooLong,
            Self::Engine(_) => Status::RillmErrorArgument,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(what) => write!(f, "{what} is NULL and must not be"),
            Self::Setup(what) => f.write_str(what),
            Self::Parts(parts) => write!(
                f,
                "setup.parts is {parts}, and setup.share takes 2 to {RILLM_PARTS_MAX} parts; give one for each core"
            ),
            Self::Region(what, len) => {
                write!(
                    f,
                    "{what} of {len} bytes reaches past the end of all addresses; check its pointer and its length"
                )
            }
            Self::Overlap(one, other) => write!(f, "{one} and {other} overlap; give each its own bytes"),
            Self::Number(field, found) => write!(f, "config.{field} is {found}; it must be a number of at least 0"),
            Self::NotUtf8(what, at) => write!(f, "{what} is not UTF-8 at byte {at}; encode it as UTF-8"),
            Self::Options(count) => write!(f, "count is {count}; it must be at most {RILLM_OPTIONS_MAX}"),
            Self::Stop(error) => write!(f, "config.stop: {error}"),
            Self::Choose(error) => error.fmt(f),
            Self::Chat(error) => error.fmt(f),
            Self::Write(code) => write!(f, "the write function returned {code} instead of 0; save the text again"),
            Self::Restore(RestoreError::Read(code)) => write!(
                f,
                "the read function returned {code} instead of 0 for a saved text, which may end too early; the current text is \
                 empty now"
            ),
            Self::Restore(error) => error.fmt(f),
            Self::Closed => {
                f.write_str("the handle is not open; use one that rillm_init gave and rillm_deinit did not end")
            }
            Self::Busy => {
                f.write_str("the handle is in use; return from the callback first, its value can end the text")
            }
            Self::Memory(error) => write!(f, "setup.memory_len: {error}"),
            Self::Engine(Error::TopK { top_k, candidates }) => {
                write!(f, "config.top_k is {top_k}; it must be at most {candidates}, or 0 for all tokens")
            }
            Self::Engine(error) => error.fmt(f),
        }
    }
}

/// Why a call failed, in one line of English: what was found, what was expected, and what to do. Empty after success.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Message {
    /// The line, zero-terminated. A line that is too long is cut at a character boundary.
    pub text: [c_char; 256],
}

/// Bytes of a message, terminating zero included.
const MESSAGE_LEN: usize = size_of::<Message>();

impl Message {
    /// The message for the result of a call.
    pub fn of(result: Result<(), Failure>) -> Self {
        let mut line = Line { text: [0; MESSAGE_LEN], len: 0 };
        if let Err(failure) = result {
            // A line that is too long is cut, so the error is ignored.
            let _ = fmt::write(&mut line, format_args!("{failure}"));
        }
        Self { text: line.text }
    }
}

struct Line {
    text: [c_char; MESSAGE_LEN],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MESSAGE_LEN - 1 - self.len;
        let fitting = text.floor_char_boundary(room);
        for (place, byte) in self.text[self.len..].iter_mut().zip(text[..fitting].bytes()) {
            *place = byte as c_char;
        }
        self.len += fitting;
        if fitting < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use rillm::{Bytes, MemoryLen, Model, Plan, PlanOptions, block_on};
    use std::string::String;

    use super::*;

    static MODEL: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));

    fn text(failure: Failure) -> String {
        let message = Message::of(Err(failure));
        // SAFETY: the text is zero-terminated.
        unsafe { CStr::from_ptr(message.text.as_ptr()) }.to_str().expect("UTF-8").into()
    }

    #[test]
    fn the_longest_messages_fit() {
        let (first, len) = (u32::MAX, usize::MAX);
        let read = SourceError::Read { code: i32::MIN, first, len };
        let most = usize::MAX;
        let model = block_on(Model::open(&mut Bytes::lent(MODEL))).expect("the bundled model");
        let planned = Plan::new(&model, &Bytes::lent(MODEL), MemoryLen::default(), &PlanOptions::default());
        let mut plan = planned.expect_err("no memory");
        for number in [&mut plan.needed, &mut plan.context, &mut plan.fitting_context, &mut plan.smallest] {
            *number = most;
        }
        for failure in
            [Failure::Engine(Error::Source(read)), Failure::Memory(plan), Failure::NotUtf8("the prompt", most)]
        {
            assert_eq!(text(failure), std::format!("{failure}"));
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_between_characters() {
        const LONG: &str = "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé\
            ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé";
        assert!(LONG.len() > MESSAGE_LEN);
        assert_eq!(text(Failure::Setup(LONG)), "é".repeat((MESSAGE_LEN - 1) / 2));
        assert!(Message::of(Ok(())).text.iter().all(|&c| c == 0));
    }

    #[test]
    fn every_status_has_words_of_its_own() {
        let words = Status::ALL.map(|status| Status::words(status as i32));
        for (at, one) in words.iter().enumerate() {
            assert!(!words[..at].contains(one) && *one != Status::words(-1), "{one:?}");
        }
        assert_eq!(Status::words(i32::MAX), Status::words(-1));
    }
}
