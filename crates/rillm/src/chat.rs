//! A conversation in turns: what the chat template writes between what is said, and which turns still fit.
//!
//! The file has the template's texts as tokens, so that nothing of it is interpreted here. What was computed of earlier turns
//! stays in the session: an answer costs the tokens that are new. When the context is full, the oldest turns are forgotten,
//! each as a whole.
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

/// Why a chat does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChatError<E> {
    /// The file has no `chat` section.
    NoTemplate,
    /// The template has no place for a system text, the system prompt.
    NoSystem,
    /// A text does not fit the context, even with nothing before it but the system text.
    TooLong {
        /// Tokens that there would be, the first one of an answer included; of a text with more than the model was made for,
        /// some of them.
        tokens: usize,
        /// Tokens that the plan has room for.
        context: usize,
    },
    /// Numbers that are not those of a chat in this session.
    NotAChat,
    /// The session's.
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

impl<E: core::error::Error + 'static> core::error::Error for ChatError<E> {}

/// A chat in a session, which the same one is given to every call. About 200 bytes.
#[derive(Clone, Debug)]
pub struct Chat {
    form: ChatHeader,
    /// The section's first byte in the file.
    offset: u64,
    /// Tokens before the first turn.
    prologue: u32,
    /// A space stands before the first user text.
    space: bool,
    /// Where the user's text starts, of each turn.
    starts: [u32; Chat::MAX_TURNS],
    len: usize,
    /// Turns that the first place stands for.
    oldest: u32,
}

impl Chat {
    /// Turns whose places are known. Of more, the oldest ones are forgotten together.
    pub const MAX_TURNS: usize = 32;
    /// The most numbers that [`Chat::numbers`] gives.
    pub const MAX_NUMBERS: usize = 3 + Self::MAX_TURNS;

    /// Starts a chat in `session`, whose tokens go, with a system text or, without one, as the template does.
    ///
    /// # Errors
    /// [`ChatError::NoTemplate`], [`ChatError::NoSystem`], [`ChatError::TooLong`], and what reading brings; the session is
    /// empty then.
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
                // Without the answer's first token.
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

    /// Appends a user's text, up to where the answer begins, and returns how many of the oldest turns had to be forgotten for
    /// it. Where some had to be, a quarter of the context is made free for the answer, if there are turns enough.
    ///
    /// Marks in the text stay text. An answer that stands before it, cut off or not, gets its end mark.
    ///
    /// # Errors
    /// [`ChatError::TooLong`], and what reading brings. The conversation is then as it was before, but that after a failed
    /// read some turns may be forgotten. If the future is dropped, start with another [`Chat`].
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
        // After the prologue it may have a space more, or less.
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

    /// Sees to it that the session has room for another token of an answer, where forgetting turns before the present one
    /// gives some: as many of the oldest as make a quarter of the context free. Returns how many were forgotten.
    pub fn make_room<S: WeightSource>(&mut self, session: &mut Session<'_, S>) -> u32 {
        if session.tokens().len() < session.plan().context { 0 } else { self.forget(session, 1, 1) }
    }

    /// Whether a token ends an answer: the template's mark, its end-of-turn token, or a token that ends a text.
    pub fn ends<S: WeightSource>(&self, session: &Session<'_, S>, id: u32) -> bool {
        id == self.form.end || session.model().header().is_eos(id)
    }

    /// Forgets all turns. What was computed of the system text stays.
    pub fn reset<S: WeightSource>(&mut self, session: &mut Session<'_, S>) {
        session.truncate(self.prologue as usize);
        (self.len, self.oldest) = (0, 1);
    }

    /// Turns that are not forgotten, the present one included.
    pub fn turns(&self) -> u32 {
        if self.len == 0 { 0 } else { self.oldest + self.len as u32 - 1 }
    }

    /// Tokens of the system text and of what the template has before the first turn.
    pub fn prologue(&self) -> usize {
        self.prologue as usize
    }

    /// What is to be kept with a saved session for [`Chat::resume`]: where the turns start. At most [`MAX_NUMBERS`](Self::MAX_NUMBERS).
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        [self.prologue, self.space.into(), self.oldest].into_iter().chain(self.starts[..self.len].iter().copied())
    }

    /// Goes on with the chat of a restored session, whose [`numbers`](Self::numbers) were kept. Only the template is this
    /// chat's.
    ///
    /// # Errors
    /// [`ChatError::NotAChat`]; this chat is then as it was, and the session is to be reset.
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

    /// Appends a turn, all of it or nothing.
    async fn push_turn<S: WeightSource>(
        &mut self,
        session: &mut Session<'_, S>,
        text: &str,
    ) -> Result<(), Error<S::Error>> {
        let len = session.tokens().len();
        // The token that ended the answer, whichever it was: the template's stands in its place.
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

    /// Where the text starts.
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
        // Room for an answer.
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

    /// Forgets as many of the oldest turns, but the last `kept`, as make room for `tokens` and a quarter of the context.
    /// Returns how many.
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

/// `text`, without the ASCII white space around it where that is to go.
fn trimmed(text: &str, trim: bool) -> &str {
    if trim { text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']) } else { text }
}
