//! The code in the documents is the code that is built.

use std::fs;
use std::path::Path;

#[test]
fn the_documents_have_the_files_word_for_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (document, language, path) in [
        ("docs/c-api.md", "c", "crates/rillm-capi/examples/generate.c"),
        ("docs/firmware.md", "rust", "firmware/qemu-rv32/examples/minimal/main.rs"),
    ] {
        let block = format!("<!-- {path} -->\n```{language}\n{}```\n", read(path));
        assert!(read(document).contains(&block), "{document} has another {path}; copy it there");
    }
}
