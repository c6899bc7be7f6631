//! The C interface, tested from outside. One test binary: every file is a module, which `cargo test --test all MODULE` selects.

mod api;
mod documents;
mod example;
mod header;
mod support;
