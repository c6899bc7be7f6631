//! Conversations in turns, by the model's chat template.
//!
//! The file stores the template's texts as tokens, so the engine does not interpret a template. Earlier turns stay
//! computed in the session: an answer costs only the new tokens. When the context is full, the oldest turns are
//! removed, each as a whole.
//!
//! ```
//! use rillm::{Chat, ChatError, Sampling, Session, WeightSource};
//!
//! async fn talk<S: WeightSource>(session: &mut Session<'_, S>, question: &str) -> Result<(), ChatError<S::Error>> {
//!     let mut chat = Chat::new(session, Some("Be brief.")).await?;
//!     chat.ask(session, question).await?;
//!     loop {
//!         chat.make_room(session);
//!         let id = session.next(&Sampling::GREEDY).await?.id;
//!         if chat.ends(session, id) {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```

use core::fmt;

use crate::error::Error;
use crate::format::{CHAT_HEADER_LEN, ChatHeader, ChatPart, FormatError, SectionKind};
use crate::session::Session;
use crate::session::TextKind;
use crate::source::WeightSource;

/// Why a chat operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChatError<E> {
    /// The file has no `chat` section: the model has no chat template, or an unsupported one.
    NoTemplate,
    /// The template does not support a system prompt.
    NoSystem,
    /// The text does not fit the context, even directly after the system prompt.
    TooLong {
        /// Tokens that the context would need, with the first token of an answer. For a text longer than the model's
        /// context length, this is a lower bound.
        tokens: usize,
        /// The plan's context, in tokens.
        context: usize,
    },
    /// The numbers do not describe a chat in this session.
    NotAChat,
    /// The session's error.
    Session(Error<E>),
}

impl<E> From<Error<E>> for ChatError<E> {
    fn from(error: Error<E>) -> Self {
        Self::Session(error)
    }
}

impl<E: fmt::Display> fmt::Display for ChatError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTemplate => f.write_str(
                "this model does not chat: it has no chat template, or one that cannot be followed; convert a model made for \
                 chats (its name often ends in -Instruct or -Chat)",
            ),
            Self::NoSystem => f.write_str("this model's chat template has no place for a system prompt; leave it out"),
            Self::TooLong { tokens, context } => write!(
                f,
                "the context of {context} has no room for the {tokens} tokens or more that the text makes; shorten it or plan a \
                 larger context"
            ),
            Self::NotAChat => f.write_str("the saved session is not one of a chat; start without it"),
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ChatError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its words are this error's words.
            Self::Session(error) => error.source(),
            _ => None,
        }
    }
}

/// A chat in a session. Every call must get the same session. About 200 bytes.
#[derive(Clone, Debug)]
pub struct Chat {
    form: ChatHeader,
    /// The offset of the section in the file, in bytes.
    offset: u64,
    /// Number of tokens before the first turn.
    prologue: u32,
    /// Whether a space stands before the first user text.
    space: bool,
    /// The position at which each turn's user text starts.
    starts: [u32; Chat::MAX_TURNS],
    len: usize,
    /// Number of turns that the first element of `starts` stands for.
    oldest: u32,
}

impl Chat {
    /// Maximum number of turns with a known position. With more turns, the oldest ones are merged and removed together.
    pub const MAX_TURNS: usize = 32;
    /// Maximum length of [`Chat::numbers`].
    pub const MAX_NUMBERS: usize = 3 + Self::MAX_TURNS;

    /// Starts a chat in `session` and removes the session's tokens. Without `system`, the chat starts as the template
    /// starts without a system prompt.
    ///
    /// # Errors
    /// [`ChatError::NoTemplate`], [`ChatError::NoSystem`], [`ChatError::TooLong`], or the session's error. The session
    /// is then empty.
    pub async fn new<S: WeightSource>(
        session: &mut Session<'_, S>,
        system: Option<&str>,
    ) -> Result<Self, ChatError<S::Error>> {
        session.reset();
        let header = session.model().header();
        let section = header.section(SectionKind::Chat).map_err(|_| ChatError::NoTemplate)?;
        let vocab_size = header.vocab_size;
        let mut bytes = [0; CHAT_HEADER_LEN];
        session.read(section.offset, &mut bytes).await?;
        let form = ChatHeader::parse(&bytes, vocab_size).map_err(Error::Format)?;
        if form.byte_len() != section.len {
            let (value, expected) = (section.len, form.byte_len());
            let field = "length of the chat section";
            return Err(Error::Format(FormatError::Inconsistent { field, value, expected }).into());
        }
        let space = form.spaces[if system.is_some() { ChatPart::AfterSystem } else { ChatPart::Begin } as usize];
        let offset = section.offset;
        let mut chat = Self { form, offset, prologue: 0, space, starts: [0; Self::MAX_TURNS], len: 0, oldest: 1 };
        if let Err(error) = chat.begin(session, system).await {
            session.reset();
            return Err(match error {
                // This count has no first token of an answer.
                ChatError::Session(Error::ContextFull { tokens, context }) => ChatError::TooLong { tokens, context },
                error => error,
            });
        }
        chat.prologue = session.tokens().len() as u32;
        Ok(chat)
    }

    async fn begin<S: WeightSource>(
        &self,
        session: &mut Session<'_, S>,
        system: Option<&str>,
    ) -> Result<(), ChatError<S::Error>> {
        let Some(system) = system else {
            return Ok(self.push(session, ChatPart::Begin).await?);
        };
        if !self.form.system {
            return Err(ChatError::NoSystem);
        }
        self.push(session, ChatPart::BeginSystem).await?;
        let space = self.form.spaces[ChatPart::BeginSystem as usize];
        session.push_text_as(trimmed(system, self.form.trim_system), TextKind::Content { space }).await?;
        Ok(self.push(session, ChatPart::AfterSystem).await?)
    }

    /// Appends a user text and the template's text up to the answer. Returns the number of oldest turns removed to make
    /// room. If turns must be removed, a quarter of the context becomes free for the answer, as far as there are turns
    /// to remove.
    ///
    /// Marks in the text are text. If the preceding answer was cut off, its end mark is added.
    ///
    /// # Errors
    /// [`ChatError::TooLong`], or the session's error. The conversation is then unchanged, except that a failed read
    /// may leave some turns removed. If the future is dropped, start a new [`Chat`].
    pub async fn ask<S: WeightSource>(
        &mut self,
        session: &mut Session<'_, S>,
        text: &str,
    ) -> Result<u32, ChatError<S::Error>> {
        let text = trimmed(text, self.form.trim_user);
        let error = match self.push_turn(session, text).await {
            Ok(()) => return Ok(0),
            Err(error) => error,
        };
        let Error::ContextFull { context, .. } = error else { return Err(error.into()) };
        let session = &mut *session;
        let said = session.count_text(text, TextKind::Content { space: self.next_space() }).await?;
        // After the prologue, the text may have one space more or less.
        let first = session.count_text(text, TextKind::Content { space: self.space }).await?;
        let ask = self.part_len(ChatPart::Ask) + 1;
        let (said, alone) = (said + ask, self.prologue as usize + first + ask);
        if alone > context {
            return Err(ChatError::TooLong { tokens: alone, context });
        }
        let forgotten = self.forget(session, 1 + self.part_len(ChatPart::Next) + said, 0);
        self.push_turn(session, text).await?;
        Ok(forgotten)
    }

    /// Makes room for the next token of an answer when the context is full. Removes as many of the oldest turns as free
    /// a quarter of the context, but never the current turn. Returns the number of removed turns.
    pub fn make_room<S: WeightSource>(&mut self, session: &mut Session<'_, S>) -> u32 {
        if session.tokens().len() < session.plan().context { 0 } else { self.forget(session, 1, 1) }
    }

    /// Whether token `id` ends an answer: it is the template's end-of-turn token or an end-of-text token.
    pub fn ends<S: WeightSource>(&self, session: &Session<'_, S>, id: u32) -> bool {
        id == self.form.end || session.model().header().is_eos(id)
    }

    /// Removes all turns. The system prompt stays computed.
    pub fn reset<S: WeightSource>(&mut self, session: &mut Session<'_, S>) {
        session.truncate(self.prologue as usize);
        (self.len, self.oldest) = (0, 1);
    }

    /// Number of turns in the session, the current one included.
    pub fn turns(&self) -> u32 {
        if self.len == 0 { 0 } else { self.oldest + self.len as u32 - 1 }
    }

    /// Number of tokens before the first turn: the system prompt and the template's text around it.
    pub fn prologue(&self) -> usize {
        self.prologue as usize
    }

    /// The positions of the turns as numbers, to be stored with a saved session for [`Chat::resume`]. At most
    /// [`MAX_NUMBERS`](Self::MAX_NUMBERS).
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        [self.prologue, self.space.into(), self.oldest].into_iter().chain(self.starts[..self.len].iter().copied())
    }

    /// Continues the chat of a restored session from its stored [`numbers`](Self::numbers). Of this chat, only the
    /// template remains.
    ///
    /// # Errors
    /// [`ChatError::NotAChat`]. This chat is then unchanged; reset the session.
    pub fn resume<S: WeightSource>(
        &mut self,
        session: &Session<'_, S>,
        numbers: &[u32],
    ) -> Result<(), ChatError<S::Error>> {
        let [prologue, space, oldest, starts @ ..] = numbers else { return Err(ChatError::NotAChat) };
        let in_order = starts.is_sorted_by(|a, b| a < b) && starts.first().is_none_or(|first| first == prologue);
        let end = *starts.last().unwrap_or(prologue) as usize;
        let tokens = session.tokens().len();
        if !in_order
            || starts.len() > Self::MAX_TURNS
            || end > tokens
            || *space > 1
            || *oldest == 0
            || *oldest as usize > tokens
        {
            return Err(ChatError::NotAChat);
        }
        (self.prologue, self.space, self.oldest, self.len) = (*prologue, *space == 1, *oldest, starts.len());
        self.starts[..starts.len()].copy_from_slice(starts);
        Ok(())
    }

    /// Appends a complete turn or nothing.
    async fn push_turn<S: WeightSource>(
        &mut self,
        session: &mut Session<'_, S>,
        text: &str,
    ) -> Result<(), Error<S::Error>> {
        let len = session.tokens().len();
        // The token that ended the answer is replaced by the template's end-of-turn token.
        let last = session.tokens().last().copied().filter(|&id| self.len > 0 && self.ends(session, id));
        session.truncate(len - usize::from(last.is_some()));
        match self.try_push_turn(session, text).await {
            Ok(start) => {
                self.add(start as u32);
                Ok(())
            }
            Err(error) => {
                session.truncate(len - usize::from(last.is_some()));
                session.push(last.as_slice())?;
                Err(error)
            }
        }
    }

    /// Appends a turn, which may fail halfway. Returns the position at which the user text starts.
    async fn try_push_turn<S: WeightSource>(
        &self,
        session: &mut Session<'_, S>,
        text: &str,
    ) -> Result<usize, Error<S::Error>> {
        if self.len > 0 {
            session.push(&[self.form.end])?;
            self.push(session, ChatPart::Next).await?;
        }
        let start = session.tokens().len();
        session.push_text_as(text, TextKind::Content { space: self.next_space() }).await?;
        self.push(session, ChatPart::Ask).await?;
        // Leave room for an answer.
        let (tokens, context) = (session.tokens().len() + 1, session.plan().context);
        if tokens > context { Err(Error::ContextFull { tokens, context }) } else { Ok(start) }
    }

    async fn push<S: WeightSource>(&self, session: &mut Session<'_, S>, part: ChatPart) -> Result<(), Error<S::Error>> {
        let (at, len) = self.form.place(part);
        session.push_stored(self.offset + at, len).await
    }

    fn part_len(&self, part: ChatPart) -> usize {
        self.form.place(part).1
    }

    /// Whether a space stands before the next user text.
    fn next_space(&self) -> bool {
        if self.len > 0 { self.form.spaces[ChatPart::Next as usize] } else { self.space }
    }

    fn add(&mut self, start: u32) {
        if self.len == Self::MAX_TURNS {
            self.starts.copy_within(2.., 1);
            self.len -= 1;
            self.oldest += 1;
        }
        self.starts[self.len] = start;
        self.len += 1;
    }

    /// Removes as many of the oldest turns as free `tokens` and a quarter of the context, except the last `kept` turns.
    /// Returns the number of removed turns.
    fn forget<S: WeightSource>(&mut self, session: &mut Session<'_, S>, tokens: usize, kept: usize) -> u32 {
        let (len, context) = (session.tokens().len(), session.plan().context);
        let wanted = len + tokens + context / 4;
        let start = |turn: usize| self.starts[..self.len].get(turn).map_or(len, |&start| start as usize);
        let most = self.len.saturating_sub(kept);
        let gain = |turns: usize| start(turns) - self.prologue as usize;
        let turns = (0..=most).find(|&turns| wanted - gain(turns) <= context).unwrap_or(most);
        let gone = gain(turns);
        if turns == 0 {
            return 0;
        }
        session.remove(self.prologue as usize..self.prologue as usize + gone);
        self.starts.copy_within(turns..self.len, 0);
        self.len -= turns;
        for start in &mut self.starts[..self.len] {
            *start -= gone as u32;
        }
        core::mem::replace(&mut self.oldest, 1) + turns as u32 - 1
    }
}

/// `text`; with `trim`, without leading and trailing ASCII white space.
fn trimmed(text: &str, trim: bool) -> &str {
    if trim { text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']) } else { text }
}
