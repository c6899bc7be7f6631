//! What several tests need.

pub mod engine;
pub mod gguf;
pub mod tensors;
pub mod texts;

use std::path::PathBuf;

/// The folder beside the checkout that has larger models, if it is there.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("RILLM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared")), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no folder {} (or $RILLM_SHARED)", folder.display());
    None
}
