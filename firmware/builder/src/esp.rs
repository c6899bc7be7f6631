//! The firmware of ESP32 boards, `firmware/esp`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{root, toolchain, xtensa_toolchain};

/// The flags for rustc that the firmware's `.cargo/config.toml` has, as far as a compiler that is not espup's takes them.
const FLAGS: &str = "-C link-arg=-Tlinkall.x";

/// Its package's directory.
pub fn dir() -> PathBuf {
    root().join("firmware/esp")
}

/// The cargo command that builds it for `target`. `more` are flags for rustc beside the package's own; Xtensa targets take them.
///
/// # Errors
/// There is no compiler for the target.
pub fn cargo(target: &str, more: &[String]) -> Result<Command> {
    if target.starts_with("xtensa") { xtensa_toolchain::cargo(target, FLAGS, more) } else { toolchain::cargo(target) }
}
