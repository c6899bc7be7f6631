//! The command, tested as a user calls it. One test binary: every file is a module, which `cargo test --test all MODULE` selects.

mod card;
mod chat;
mod convert;
mod errors;
mod eval;
mod inspect;
mod outputs;
mod plan;
mod prompt_cache;
mod run;
mod stop;
mod support;
#[cfg(unix)]
mod terminal;
mod tokenize;
mod usage;
