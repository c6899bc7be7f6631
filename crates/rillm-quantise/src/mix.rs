//! Which tensors have how many bits.

use rillm::format::{Quantisation, TensorKind};

/// The width of a matrix's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// int4.
    Four,
    /// int8.
    Eight,
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
