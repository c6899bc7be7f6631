//! The 32-bit RISC-V board: QEMU's `sifive_u` with the firmware of `firmware/qemu-rv32`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use rillm_firmware_builder::{root, toolchain};

use super::{Setup, Storage};
use crate::emulator;

/// Name of the emulator.
pub const QEMU: &str = "qemu-system-riscv32";
const TARGET: &str = "riscv32imac-unknown-none-elf";
/// Address and length of the flash that is mapped for a model.
const FLASH: (u64, u64) = (0x2200_0000, 224 << 20);
/// Most bytes of PSRAM on the board.
const PSRAM: u64 = 4 << 20;

/// The cargo command that builds for the board.
pub fn compiler() -> Result<Command> {
    toolchain::cargo(TARGET)
}

/// Builds the firmware and returns the path of its ELF file.
pub fn build() -> Result<PathBuf> {
    let mut cargo = compiler()?;
    cargo.args(["--features", "faults"]);
    toolchain::build(cargo, &root().join("firmware/qemu-rv32"))
}

/// The command that boots the board, with its serial line on standard input and output.
pub fn qemu(firmware: &Path, model: &Path, card: &Path, setup: &Setup) -> Result<Command> {
    if setup.psram > PSRAM {
        bail!("this board has at most {PSRAM} bytes of PSRAM");
    }
    let model_len = fs::metadata(model)?.len();
    let mut dram = PSRAM;
    let mut words = setup.words();
    let mut qemu = Command::new(QEMU);
    words.push(format!("card={}", u8::from(setup.source != Storage::Flash)));
    if setup.source != Storage::Card {
        if model_len > FLASH.1 {
            bail!("a model of {model_len} bytes does not fit the {} bytes of flash", FLASH.1);
        }
        words.push(format!("flash={model_len}"));
        // QEMU loads no file larger than DRAM. The firmware uses only the part of DRAM that is its PSRAM.
        dram = dram.max(model_len.next_multiple_of(1 << 20));
        let file = emulator::option(model)?;
        qemu.args(["-device", &format!("loader,file={file},addr={:#x},force-raw=on", FLASH.0)]);
    }
    words.extend(setup.fault.as_ref().map(|fault| format!("fault={fault}")));
    words.push(format!("crc={}", u8::from(setup.crc)));

    qemu.args(["-M", "sifive_u,start-in-flash=true", "-bios", "none", "-m", &format!("{}M", dram >> 20)]);
    qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-chardev", "stdio,id=console,signal=off"]);
    qemu.args(["-serial", "chardev:console"]);
    // `-snapshot` discards writes to the card, so that two boards can boot from it at the same time.
    qemu.args(["-snapshot", "-drive", &format!("if=sd,format=raw,file={}", emulator::option(card)?)]);
    let words = words.join(" ").replace(',', ",,");
    qemu.args(["-semihosting-config", &format!("enable=on,target=native,arg=rillm,arg={words}")]);
    if setup.icount {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    if let Some(trace) = &setup.trace {
        qemu.args(["-trace", "sdcard_normal_command", "-trace", "sdcard_read_block", "-D"]).arg(trace);
    }
    qemu.arg("-kernel").arg(firmware);
    Ok(qemu)
}
