//! Which tensors have how many bits.

use std::fmt;

use rillm::format::{Quantisation, TensorKind};

/// The width of a matrix's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// int4.
    Four,
    /// int8.
    Eight,
}

/// `int4` or `int8`.
impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Four => "int4",
            Self::Eight => "int8",
        })
    }
}

/// The widths of a model's matrices, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The embedding table, of which a token reads a row.
    pub embedding: Bits,
    /// The projections of the layers.
    pub layers: Bits,
    /// The head, also where it repeats the embedding table.
    pub head: Bits,
}

impl Mix {
    /// The same width for all matrices.
    pub const fn all(bits: Bits) -> Self {
        Self { embedding: bits, layers: bits, head: bits }
    }

    /// All mixes, int8 first.
    pub fn every() -> impl Iterator<Item = Self> {
        let bits = |mix: u32, class: u32| if mix & class == 0 { Bits::Eight } else { Bits::Four };
        (0..8).map(move |mix| Self { embedding: bits(mix, 1), layers: bits(mix, 2), head: bits(mix, 4) })
    }

    /// The classes that have four bits: the embedding table, the layers, the head.
    pub fn int4_classes(self) -> [bool; 3] {
        [self.embedding, self.layers, self.head].map(|bits| bits == Bits::Four)
    }

    /// Whether any matrix has four bits.
    pub fn has_int4(self) -> bool {
        self != Self::all(Bits::Eight)
    }

    /// The storage of a tensor: norms and biases have 32 bits, matrices those of their class, in groups of `group` values.
    pub fn quantisation(self, kind: TensorKind, group: u32) -> Quantisation {
        let bits = match kind {
            TensorKind::Embedding => self.embedding,
            TensorKind::Head => self.head,
            kind if kind.is_vector() => return Quantisation::Fixed32,
            _ => self.layers,
        };
        match bits {
            Bits::Four => Quantisation::Int4 { group },
            Bits::Eight => Quantisation::Int8 { group },
        }
    }
}
