//! The converter's stack for WASI, where `rillm-convert` has no thread with a large one for chat templates. A browser's own limit is reached
//! first: it ends the converter with an error.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("wasi") {
        println!("cargo::rustc-link-arg-bins=-zstack-size=67108864");
    }
}
