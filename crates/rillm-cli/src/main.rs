//! The `rillm` command.
fn main() {}
