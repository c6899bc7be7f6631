//! `include/rillm.h` is the output of cbindgen for the sources.

use std::fs;
use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let bindings = cbindgen::generate(dir).expect("cbindgen reads the sources");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let (made, path) = (String::from_utf8(made).expect("UTF-8"), dir.join("include/rillm.h"));
    if std::env::var_os("RILLM_WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("the header can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "include/rillm.h is not what cbindgen makes; `RILLM_WRITE_HEADER=1 cargo test -p rillm-capi-tests header` makes it"
    );
}
