//! A fault-injecting source.

use core::fmt;

use super::{Sector, WeightSource};

/// A source with one injected read error, for tests of error handling.
#[derive(Clone, Copy, Debug)]
pub struct Faulty<S> {
    inner: S,
    reads_to_failure: Option<u64>,
}

/// The error of a [`Faulty`] source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault<E> {
    /// The injected error.
    Planned,
    /// The wrapped source's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned => f.write_str("a planned fault"),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Fault<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its words are this error's words.
            Self::Inner(error) => error.source(),
            Self::Planned => None,
        }
    }
}

impl<S> Faulty<S> {
    /// Wraps `inner`: `reads` reads succeed, the next one fails, and later reads succeed again.
    pub const fn new(inner: S, reads: u64) -> Self {
        Self { inner, reads_to_failure: Some(reads) }
    }
}

impl<S: WeightSource> WeightSource for Faulty<S> {
    type Error = Fault<S::Error>;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        match self.reads_to_failure {
            Some(0) => {
                self.reads_to_failure = None;
                // A broken transfer leaves garbage.
                buf.fill(0xa5);
                Err(Fault::Planned)
            }
            left => {
                self.reads_to_failure = left.map(|left| left - 1);
                self.inner.read(first, buf).await.map_err(Fault::Inner)
            }
        }
    }
}
