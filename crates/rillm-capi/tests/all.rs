//! Tests of the C interface from outside. One test binary: each file is a module, selected by `cargo test
//! -p rillm-capi-tests MODULE`.

mod api;
mod documents;
mod example;
mod header;
mod support;
