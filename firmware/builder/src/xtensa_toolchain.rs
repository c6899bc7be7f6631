//! Finds a compiler for the ESP32's instruction set, which neither rustup nor Debian provides.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::root;

/// Environment variable with the directory of a prepared compiler, which contains `rustc/bin/rustc` and `patched/`.
const PREPARED: &str = "RILLM_XTENSA_TOOLCHAIN";

/// The target of an ESP32, as rustc names it.
pub const ESP32: &str = "xtensa-esp32-none-elf";

/// The cargo command that builds for `target`, an ESP32 or a related chip: espup's toolchain `esp`, otherwise a
/// compiler prepared from Debian's. `flags` are the rustc flags of the firmware's `.cargo/config.toml`: the prepared
/// compiler needs additional ones, which replace those, so they are repeated. `more` are flags that are not in that
/// file.
///
/// # Errors
/// Both are missing. The error says what to install.
pub fn cargo(target: &str, flags: &str, more: &[String]) -> Result<Command> {
    if espup_was_here() {
        // Not `cargo +esp`, since this program may run under a cargo that is not rustup's.
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
    // The prepared compiler's linker is made for an older chip and needs changes in two crates. The compiler does not
    // know the names of the ESP32's options, and would warn about them for every crate.
    let crates = [dir.join("patched/xtensa-lx"), dir.join("patched/xtensa-lx-rt")];
    cargo.args(["--config", &format!("paths={crates:?}")]);
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    cargo.env(linker, "xtensa-lx106-elf-ld");
    // The prepared compiler knows only the ESP32, whose instructions the other chips have as well.
    let cpu = if target == ESP32 { "" } else { "-C target-cpu=esp32" };
    cargo.env("RUSTFLAGS", format!("-Awarnings -C linker-flavor=ld {cpu} {flags} {}", more.join(" ")));
    Ok(cargo)
}

fn espup_was_here() -> bool {
    let output = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output();
    let is_esp = |line: &str| line.split_whitespace().next() == Some("esp");
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(is_esp))
}

/// The directory from the environment variable, or one that the script of the shared data makes once.
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

/// Runs `script` to prepare a compiler in `dir`. `env.sh` is the last file that it writes.
fn prepare(script: &Path, dir: &Path) -> Result<()> {
    let mut bash = Command::new("bash");
    // Standard output is reserved for the text of the model.
    bash.arg(script).arg(dir).stdout(Stdio::null());
    let status = bash.status().context("cannot start bash")?;
    if !status.success() {
        bail!("{} could not prepare a compiler in {}", script.display(), dir.display());
    }
    Ok(())
}
