//! The board with the ESP32's instruction set: QEMU's Xtensa simulator with the firmware of `firmware/qemu-xtensa`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use rillm_firmware_builder::{root, toolchain, xtensa_toolchain};

use super::{Setup, Storage};
use crate::emulator;

/// Name of the emulator.
pub const QEMU: &str = "qemu-system-xtensa";
/// Start address of PSRAM, where memory without PSRAM ends, and the most bytes of PSRAM.
const PSRAM: (u64, u64) = (8 << 20, 4 << 20);

/// Features that the ESP32 has and QEMU's core lacks: float unit, upper half of a product, boolean registers. The same
/// as in the firmware's `.cargo/config.toml`. xtensa-lx-rt expects `target-feature` as a separate word.
const LACKING: &str = "-C target-feature=-fp,-mul32high,-bool";

/// The cargo command with the compiler for the board.
pub fn compiler() -> Result<Command> {
    xtensa_toolchain::cargo(xtensa_toolchain::ESP32, LACKING, &[])
}

/// Builds the firmware and returns the path of its ELF file.
pub fn build() -> Result<PathBuf> {
    toolchain::build(compiler()?, &root().join("firmware/qemu-xtensa"))
}

/// The command that boots the board, with its console on standard input and output. The model is a file on this
/// computer.
pub fn qemu(firmware: &Path, model: &Path, setup: &Setup) -> Result<Command> {
    let (start, most) = PSRAM;
    if setup.psram > most {
        bail!("this board has at most {most} bytes of PSRAM");
    }
    if setup.source != Storage::Card || setup.fault.is_some() || setup.crc || setup.trace.is_some() {
        bail!("this board has no card but a file in its place: leave --source, --fault, --crc and --trace out");
    }
    let model = format!("model={}", emulator::option(model)?);
    let words = ["rillm".to_owned(), model].into_iter().chain(setup.words());
    let words: String = words.map(|word| format!(",arg={word}")).collect();

    let mut qemu = Command::new(QEMU);
    let memory = (start + setup.psram).next_multiple_of(1 << 20) >> 20;
    // One translation block for every instruction: the kernel uses registers of which QEMU keeps two copies.
    qemu.args(["-M", "sim", "-cpu", "dc233c", "-singlestep", "-m", &format!("{memory}M")]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", &format!("enable=on,target=native{words}")]);
    if setup.icount {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.arg("-kernel").arg(firmware);
    Ok(qemu)
}
