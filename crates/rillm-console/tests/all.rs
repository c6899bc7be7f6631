//! The console, tested as a terminal. One test binary: every file is a module, which `cargo test --test all MODULE` selects.

mod console;
mod support;
