//! The error type of sessions.

use core::fmt;

use crate::format::FormatError;
use crate::plan::PlanError;

/// Why an operation of a session failed. The session stays usable: repeat the call or reset the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<E> {
    /// The source's own error.
    Source(E),
    /// The file is invalid or damaged.
    Format(FormatError),
    /// The memory is too small for a plan. Only functions that make a plan return this error.
    Plan(PlanError),
    /// The context has no room for the tokens.
    ContextFull {
        /// Tokens that the context would need. For a text, counting stops at one more than the model's context length.
        tokens: usize,
        /// The plan's context, in tokens.
        context: usize,
    },
    /// The token is not in the vocabulary.
    NoSuchToken {
        /// The token's number.
        id: u32,
        /// Number of tokens in the vocabulary.
        vocab_size: u32,
    },
    /// The session holds no tokens, so there is nothing to continue.
    Empty,
    /// The sampling parameters need more candidates than the plan has.
    TopK {
        /// The requested top-k.
        top_k: u32,
        /// The plan's candidates.
        candidates: u32,
    },
}

impl<E> From<FormatError> for Error<E> {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl<E> From<PlanError> for Error<E> {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "cannot read the model: {error}"),
            Self::Format(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::ContextFull { tokens, context } => {
                write!(
                    f,
                    "the context of {context} has no room for {tokens} tokens; shorten the prompt or plan a larger context"
                )
            }
            Self::NoSuchToken { id, vocab_size } => {
                write!(f, "there is no token {id}: the vocabulary has {vocab_size}")
            }
            Self::Empty => f.write_str("there is nothing to continue: give a prompt first"),
            Self::TopK { top_k, candidates } => {
                write!(f, "top_k is {top_k} and the plan has room for {candidates} candidates; plan for more")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            _ => None,
        }
    }
}
