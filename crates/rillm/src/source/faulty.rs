//! A source that fails on purpose.

use core::fmt;

use super::{Sector, WeightSource};

/// A source whose reads fail when they are told to, to see how a program takes it.
#[derive(Clone, Copy, Debug)]
pub struct Faulty<S> {
    inner: S,
    reads_to_failure: Option<u64>,
}

/// What a [`Faulty`] source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault<E> {
    /// It was told to fail here.
    Planned,
    /// The source below failed of itself.
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

impl<E: fmt::Debug + fmt::Display> core::error::Error for Fault<E> {}

impl<S> Faulty<S> {
    /// Lets `reads` reads through, fails the one after them, and works again from then on.
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
                // What a broken transfer leaves behind.
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
