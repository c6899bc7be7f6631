//! The converter, tested from outside. One test binary: every file is a module, which `cargo test -p rillm-convert-tests
//! MODULE` selects.

mod beside;
mod byte_level;
mod chat;
mod checkpoint;
mod esp32;
mod gguf;
mod goldens;
mod llama_cpp;
mod odd;
mod support;
mod tokenizer;
mod wordpiece;
mod write;
