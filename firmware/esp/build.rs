//! Selects the model that is built into flash.

use std::env;
use std::path::PathBuf;

/// Environment variable with the path of a model that replaces the bundled one.
const MODEL: &str = "RILLM_MODEL";
const BUNDLED: &str = "../../models/rill-tales-1m/model.rillm";

fn main() {
    let dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let named = env::var_os(MODEL).filter(|path| !path.is_empty()).map(PathBuf::from);
    // A relative path is relative to the directory where cargo was started, usually the package.
    let path = named.unwrap_or_else(|| dir.join(BUNDLED));
    let Ok(path) = path.canonicalize() else {
        panic!("there is no model at {}; {MODEL} names a .rillm file, or nothing for the bundled one", path.display())
    };
    println!("cargo::rerun-if-env-changed={MODEL}");
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rustc-env=RILLM_MODEL_FILE={}", path.display());
}
