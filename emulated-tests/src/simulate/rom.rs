//! Replaces routines of the ESP32's ROM, which the simulator lacks, by those of the compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rillm_firmware_builder::root;
use serde_json::Value;

/// The crate with the linker scripts of the routines' addresses.
const SCRIPTS: &str = "esp-rom-sys";
/// The linker script of the compiler's runtime library, and one with some other routines.
const LIBRARY: &str = "esp32.rom.libgcc.ld";
const OTHERS: &str = "additional.ld";
/// Routines of the other script that the compiler has, too.
const OURS: [&str; 4] = ["memcmp", "memcpy", "memmove", "memset"];

/// Writes copies of the crate's linker scripts without the routines that the firmware in `dir` can take from its
/// compiler. Returns their directory, which the linker must search first.
///
/// # Errors
/// cargo does not find the crate, or its scripts have changed.
pub fn shadowed(dir: &Path) -> Result<PathBuf> {
    let scripts = package(dir)?.join("ld/esp32/rom");
    let read = |name: &str| {
        let path = scripts.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    read(LIBRARY)?;
    let others = without(&read(OTHERS)?)
        .with_context(|| format!("{} has another form than {SCRIPTS} 0.1 has", scripts.join(OTHERS).display()))?;
    let shadow = root().join("target/emulate/esp32");
    fs::create_dir_all(shadow.join("rom")).with_context(|| format!("cannot make {}", shadow.display()))?;
    for (name, script) in [(LIBRARY, ""), (OTHERS, &others)] {
        let path = shadow.join("rom").join(name);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(shadow)
}

/// Directory of the crate with which the firmware in `dir` is built.
fn package(dir: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--all-features"]).current_dir(dir);
    let output = cargo.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed in {}: {}", dir.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` writes no JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == SCRIPTS)
        .find_map(|package| package["manifest_path"].as_str())
        .with_context(|| format!("the firmware in {} does not use {SCRIPTS}", dir.display()))?;
    Path::new(manifest).parent().map(Path::to_owned).context("a manifest lies in a directory")
}

/// The script without the lines of our routines. None if it lacks one of them.
fn without(script: &str) -> Option<String> {
    let is_ours = |line: &&str| OURS.iter().any(|name| line.split('=').next().is_some_and(|left| left.trim() == *name));
    (script.lines().filter(is_ours).count() == OURS.len())
        .then(|| script.lines().filter(|line| !is_ours(line)).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_routines_are_left_out() {
        let script = "memcmp = 0x4000c260;\nmemcpy = 1;\nmemmove = 2;\nmemset = 3;\nPROVIDE ( abs = 4 );\n";
        assert_eq!(without(script).as_deref(), Some("PROVIDE ( abs = 4 );\n"));
        assert_eq!(without("memcpy = 1;\n"), None);
    }
}
