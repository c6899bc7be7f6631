//! Finds a compiler for a board's instruction set, and builds the firmware with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::root;

/// Minor version of the oldest Debian compiler that builds the firmware. The workspace's `rust-version` must not be
/// newer.
const DEBIAN_MINOR: u32 = 95;

/// The cargo command that builds for `target`: rustup's if the target is installed, otherwise Debian's compiler, which
/// builds `core` itself.
///
/// # Errors
/// Both are missing. The error says what to install.
pub fn cargo(target: &str) -> Result<Command> {
    if rustup_has(target) {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--target", target]);
        return Ok(cargo);
    }
    if debian_has_core() {
        let mut cargo = Command::new("/usr/bin/cargo");
        cargo.args(["build", "--release", "--target", target, "-Zbuild-std=core"]);
        cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
        // Keeps Debian's cargo from finding rustup's tools.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([PathBuf::from("/usr/bin")].into_iter().chain(env::split_paths(&path)))?;
        cargo.env("PATH", path);
        // Debian's rustc does not include the linker that the target names.
        let linker = debian_linker().context("there is no linker; install Debian's with `apt install lld-22`")?;
        cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_")), linker);
        return Ok(cargo);
    }
    bail!(
        "there is no compiler for {target}; install one with `rustup target add {target}`, or Debian's with `apt install \
         rustc-web cargo-web rust-web-src lld-22`"
    )
}

/// Builds the firmware in `dir` with `cargo` (a `cargo build` for its target) and returns the path of the program.
///
/// # Errors
/// The build fails. cargo's messages go to standard error.
pub fn build(cargo: Command, dir: &Path) -> Result<PathBuf> {
    let executable = |message: serde_json::Value| message["executable"].as_str().map(PathBuf::from);
    let messages = messages(cargo, dir).with_context(|| format!("the firmware in {} does not build", dir.display()))?;
    let found = messages.into_iter().rev().find_map(executable);
    found.with_context(|| format!("the build of {} made no program", dir.display()))
}

/// Builds the C library with `cargo` (a `cargo build` for its target) and returns the path of the archive.
///
/// # Errors
/// The build fails. cargo's messages go to standard error.
pub fn build_c_library(mut cargo: Command) -> Result<PathBuf> {
    // Apart from the workspace's own builds, whose compiler may be another one.
    let dir = root().join("target/no-std");
    cargo.args(["--package", "rillm-capi"]).env("CARGO_TARGET_DIR", dir);
    let messages = messages(cargo, &root()).context("the C library does not build")?;
    let archive = |message: serde_json::Value| {
        let names = message["filenames"].as_array()?.iter().filter_map(|name| name.as_str());
        names.map(PathBuf::from).find(|name| name.ends_with("librillm_capi.a"))
    };
    messages.into_iter().rev().find_map(archive).context("the build of rillm-capi made no archive")
}

/// Runs a `cargo build` in `dir` and returns its messages.
fn messages(mut cargo: Command, dir: &Path) -> Result<Vec<serde_json::Value>> {
    let output = cargo
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", cargo.get_program().display()))?;
    if !output.status.success() {
        bail!("cargo has failed");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn rustup_has(target: &str) -> bool {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).stderr(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == target))
}

/// Whether Debian's rustc is new enough and has the source of `core`.
fn debian_has_core() -> bool {
    let print = |argument: &[&str]| {
        let output = Command::new("/usr/bin/rustc").args(argument).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // For example "rustc 1.96.0 (ac68faa20 2026-05-25)".
    let minor = |version: String| version.strip_prefix("rustc 1.")?.split('.').next()?.parse::<u32>().ok();
    print(&["--version"]).and_then(minor).is_some_and(|minor| minor >= DEBIAN_MINOR)
        && print(&["--print", "sysroot"])
            .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists())
}

/// The newest installed version of LLVM's linker, for example `ld.lld-22`.
fn debian_linker() -> Option<PathBuf> {
    let version = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("ld.lld-")?.parse::<u32>().ok();
    let programs = Path::new("/usr/bin").read_dir().ok()?.flatten().map(|entry| entry.path());
    programs.filter(|path| version(path).is_some()).max_by_key(version)
}
