//! What can go wrong while a session runs.

use core::fmt;

use crate::format::FormatError;
use crate::plan::PlanError;

/// Why an operation of a session failed. Whatever it is, the session stays usable: the same call may be repeated, or
/// the session reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<E> {
    /// The source's own error.
    Source(E),
    /// The file is not what it should be.
    Format(FormatError),
    /// There is no plan for the memory. No session says so, but the function that makes one.
    Plan(PlanError),
    /// There is no room for more tokens.
    ContextFull {
        /// Tokens that there would be. Of a text they are counted up to one more than the model was made for, and no
        /// further: then it has so many or more.
        tokens: usize,
        /// Tokens that the plan has room for.
        context: usize,
    },
    /// A token that the vocabulary does not have.
    NoSuchToken {
        /// The token.
        id: u32,
        /// Tokens of the vocabulary.
        vocab_size: u32,
    },
    /// There is nothing to continue: the session holds no tokens.
    Empty,
    /// More candidates were asked for than the plan has room for.
    TopK {
        /// What was asked for.
        top_k: u32,
        /// The plan's room.
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
