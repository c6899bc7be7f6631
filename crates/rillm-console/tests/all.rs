//! Tests of the console from outside, through a simulated terminal. One test binary: each file is a module, selected by
//! `cargo test --test all MODULE`.

mod chat;
mod console;
mod models;
mod support;
