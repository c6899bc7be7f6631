//! Tests of the command from outside, as a user runs it. One test binary: each file is a module, selected by `cargo
//! test --test all MODULE`.

mod bench;
mod card;
mod chat;
mod choose;
mod convert;
mod errors;
mod eval;
mod flash_image;
mod inspect;
#[cfg(target_os = "linux")]
mod monitor;
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
