//! The code in the documents equals the code that is built.

use std::fs;
use std::path::Path;

#[test]
fn the_documents_have_the_examples_word_for_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (document, path) in [
        ("docs/c-api.md", "crates/rillm-capi/examples/generate.c"),
        ("docs/choose.md", "crates/rillm-capi/examples/choose.c"),
    ] {
        let block = format!("<!-- {path} -->\n```c\n{}```\n", read(path));
        assert!(read(document).contains(&block), "{document} has another {path}; copy it there");
    }
}
