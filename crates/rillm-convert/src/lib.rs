//! Reading checkpoints, writing `.rillm` files.
