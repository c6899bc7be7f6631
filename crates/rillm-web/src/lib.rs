//! The engine of rillm for the page in `web/`: a thin layer between the crates and JavaScript.
//!
//! - [`settings`] is what a user chooses on the page, read as the `rillm` command reads its options.
//! - [`board`] plans a model's memory on a board, as `rillm plan --board` does, and adds what a drawing needs.
//! - `page` has the types of JavaScript. It exists in WebAssembly only.
//!
//! The page gets objects as JSON. Everything here runs in a Worker: a call that computes takes as long as it takes.
#![forbid(unsafe_code)]

pub mod board;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod page;
pub mod settings;
