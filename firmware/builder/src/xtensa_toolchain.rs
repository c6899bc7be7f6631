//! Finding a compiler for the ESP32's instruction set, which neither rustup nor Debian has.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::root;

/// Where a prepared compiler lies: a directory with `rustc/bin/rustc` and `patched/`.
const PREPARED: &str = "RILLM_XTENSA_TOOLCHAIN";

/// rustc's name of an ESP32.
pub const ESP32: &str = "xtensa-esp32-none-elf";

/// The cargo command that builds for `target`, an ESP32 or one of its kin: that of espup's toolchain `esp`, else that of a compiler
/// prepared from Debian's. `flags` are those that the firmware's `.cargo/config.toml` has for rustc: the prepared compiler,
/// which needs others besides, is told them here. `more` are those that it does not have.
///
/// # Errors
/// There is neither; the error says what to install.
pub fn cargo(target: &str, flags: &str, more: &[String]) -> Result<Command> {
    if espup_was_here() {
        // Not `cargo +esp`: this program may run under a cargo that is not rustup's.
        let mut cargo = Command::new("rustup");
        cargo.args(["run", "esp", "cargo", "build", "--release", "--target", target]);
        cargo.env_remove("RUSTC");
        if !more.is_empty() {
            cargo.args(["--config", &format!("target.'cfg(target_arch = \"xtensa\")'.rustflags={more:?}")]);
        }
        return Ok(cargo);
    }
    let Some(dir) = prepared()? else {
        bail!(
            "there is no compiler for the ESP32's instruction set; install Espressif's with `cargo install espup --locked`, \
             `espup install` and `. ~/export-esp.sh`"
        )
    };
    let rustc = dir.join("rustc/bin/rustc");
    if !rustc.is_file() {
        bail!("{} is no prepared compiler: it has no rustc/bin/rustc (${PREPARED})", dir.display());
    }
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.args(["build", "--release", "--target", target]);
    // Its linker is an older chip's, and needs changes in two crates; it does not know the names of an ESP32's options,
    // which it would say for every crate.
    let crates = [dir.join("patched/xtensa-lx"), dir.join("patched/xtensa-lx-rt")];
    cargo.args(["--config", &format!("paths={crates:?}")]);
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    cargo.env(linker, "xtensa-lx106-elf-ld");
    // It knows no other processor than the ESP32's, whose instructions the others have, too.
    let cpu = if target == ESP32 { "" } else { "-C target-cpu=esp32" };
    cargo.env("RUSTFLAGS", format!("-Awarnings -C linker-flavor=ld {cpu} {flags} {}", more.join(" ")));
    Ok(cargo)
}

fn espup_was_here() -> bool {
    let output = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output();
    let is_esp = |line: &str| line.split_whitespace().next() == Some("esp");
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(is_esp))
}

/// The directory that the environment names, or one made by the shared data's script, once.
fn prepared() -> Result<Option<PathBuf>> {
    if let Some(dir) = env::var_os(PREPARED) {
        return Ok(Some(dir.into()));
    }
    let shared = env::var_os("RILLM_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let script = shared.join("toolchain/prepare.sh");
    if !script.is_file() {
        return Ok(None);
    }
    let dir = root().join("target/xtensa-toolchain");
    if !dir.join("env.sh").is_file() {
        prepare(&script, &dir)?;
    }
    Ok(Some(dir))
}

/// Has `script` lay a compiler out in `dir`. `env.sh` is the last thing that it writes.
fn prepare(script: &Path, dir: &Path) -> Result<()> {
    let mut bash = Command::new("bash");
    // Standard output is the model's.
    bash.arg(script).arg(dir).stdout(Stdio::null());
    let status = bash.status().context("cannot start bash")?;
    if !status.success() {
        bail!("{} could not prepare a compiler in {}", script.display(), dir.display());
    }
    Ok(())
}
