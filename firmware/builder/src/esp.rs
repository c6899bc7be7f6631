//! The firmware of ESP32 boards, `firmware/esp`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{root, toolchain, xtensa_toolchain};

/// Directory of the package.
pub fn dir() -> PathBuf {
    root().join("firmware/esp")
}

/// The cargo command that builds the firmware for `target`. `more` are rustc flags besides those of the package; only
/// Xtensa targets use them.
///
/// # Errors
/// There is no compiler for the target.
pub fn cargo(target: &str, more: &[String]) -> Result<Command> {
    if target.starts_with("xtensa") { xtensa_toolchain::cargo(target, "", more) } else { toolchain::cargo(target) }
}
