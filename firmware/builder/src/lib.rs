//! Builds rillm's firmware: finds a compiler for an instruction set, runs it, and reads the sections of the program.

pub mod elf;
pub mod esp;
pub mod toolchain;
pub mod xtensa_toolchain;

use std::path::PathBuf;

/// The repository's root directory.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).map_or(manifest.clone(), PathBuf::from)
}
