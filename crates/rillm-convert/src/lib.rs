//! Reading checkpoints, writing `.rillm` files.

pub mod vocabulary;
