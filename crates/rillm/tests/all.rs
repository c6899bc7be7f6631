//! Integration tests of the engine, in one test binary. Every file is a module; `cargo test -p rillm-tests MODULE`
//! selects one.

mod accuracy;
mod budgets;
mod chat;
mod choose;
mod faults;
mod rescoring;
mod same_bits;
mod session;
mod snapshot;
mod spread;
mod support;
mod waiting;
