//! From a Llama checkpoint to a `.rillm` file, and the float32 reference that judges the result.
//!
//! The modules in the order in which data passes through them:
//!
//! 1. [`checkpoint`] opens a Hugging Face directory, a GGUF or llama2.c file or a directory of the ESP32 project
//!    StreamedInference and hands out rows of float32.
//! 2. [`vocabulary`] reads the checkpoint's tokenizer and makes the file's sections of it.
//! 3. [`chat`] turns the checkpoint's chat template into tokens that a device puts between what is said.
//! 4. [`rope`] turns the rotary embedding's parameters into the angles that the file holds.
//! 5. [`quantise`] turns a row into the bytes of `docs/format.md`, and back.
//! 6. [`mod@write`] lays the rows out in the order in which a token uses them.
//!
//! Beside the path: [`gguf`] takes GGUF files apart, [`mod@reference`] runs a model in float32 as the Llama paper has it, [`evaluate`] compares two models'
//! predictions, [`random`] makes small models for tests.

pub mod chat;
pub mod checkpoint;
pub mod evaluate;
pub mod gguf;
mod json;
pub mod quantise;
pub mod random;
pub mod reference;
pub mod rope;
pub mod vocabulary;
pub mod write;
