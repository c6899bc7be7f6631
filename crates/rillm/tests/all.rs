//! The engine, tested from outside. One test binary: every file is a module, which `cargo test --test all MODULE` selects.

mod accuracy;
mod budgets;
mod chat;
mod faults;
mod same_bits;
mod session;
mod snapshot;
mod spread;
mod support;
mod waiting;
