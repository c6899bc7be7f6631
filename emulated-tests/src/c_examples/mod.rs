//! `cargo xtask c-examples`: compiles the examples of the C interface for 32-bit RISC-V, runs them in QEMU, and compares
//! what they print with this computer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use console::style;
use rillm_firmware_builder::{root, toolchain};

use crate::emulator::Emulated;
use crate::{bundled_model, command, interrupt};

const TARGET: &str = "riscv32imac-unknown-none-elf";
/// A compiler with a C library that reads files of the computer through semihosting.
const COMPILER: &str = "riscv64-unknown-elf-gcc";
const LIBRARY: [&str; 3] = ["--specs=picolibc.specs", "--crt0=semihost", "--oslib=semihost"];
const WHAT_TO_INSTALL: &str = "`apt install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf`";
const OPTIONS: [&str; 8] =
    ["-march=rv32imac", "-mabi=ilp32", "-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// Where code and data lie on QEMU's machine `virt`: address and length. The examples have 128 KiB for the model.
const CODE: (u32, u32) = (0x8000_0000, 1 << 20);
const DATA: (u32, u32) = (0x8010_0000, 320 << 10);
/// Passes the arguments to an example, whose `main` is `example` here.
const START: &str = include_str!("start.c");
const PROMPT: &str = "The little fox";
const TOKENS: u32 = 12;
const CHOOSE_PROMPT: &str = "Every night, he looked at the";
const CHOICES: [&str; 2] = [" sun", " moon"];
const MODEL: &str = "model.rillm";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the task.
///
/// # Errors
/// A compiler or QEMU is missing, an example does not compile, or it prints something else than this computer.
pub fn run() -> Result<ExitCode> {
    interrupt::watch()?;
    let compiler = Command::new(COMPILER).args(LIBRARY).arg("--version").output();
    if !compiler.is_ok_and(|output| output.status.success()) {
        bail!("there is no C compiler for RISC-V with picolibc; install Debian's with {WHAT_TO_INSTALL}");
    }
    let archive = toolchain::build_c_library(toolchain::cargo(TARGET)?)?;
    let dir = root().join("target/c-examples");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::copy(bundled_model(), dir.join(MODEL)).context("cannot copy the model")?;

    let generate = compile("generate", &archive, &dir)?;
    let said = say(&generate, &dir, &[MODEL, PROMPT, &TOKENS.to_string()])?;
    let text = command::text(PROMPT, &["--max-tokens", &TOKENS.to_string()])?;
    let text = text.trim_end_matches('\n');
    let expected = format!("{text}\n{TOKENS} tokens after a prompt of ");
    ensure!(said.starts_with(&expected), "the example says\n{said}\nand this computer\n{expected}");
    println!("{}", style("generate.c writes this computer's text").green().bold());

    let choose = compile("choose", &archive, &dir)?;
    let said = say(&choose, &dir, &[&[MODEL, CHOOSE_PROMPT], &CHOICES[..]].concat())?;
    let choice = command::choose(CHOOSE_PROMPT, &CHOICES)?;
    let mut expected = String::new();
    for option in choice["options"].as_array().context("no options")? {
        let logarithm = option["log_probability"].as_f64().context("no logarithm")?;
        expected += &format!("{logarithm:.6} {}\n", option["text"].as_str().unwrap_or_default());
    }
    expected += &format!("{}\n", choice["choice"].as_str().context("no choice")?);
    ensure!(said == expected, "the example says\n{said}\nand this computer\n{expected}");
    println!("{}", style("choose.c chooses what this computer chooses").green().bold());
    Ok(ExitCode::SUCCESS)
}

/// Compiles an example for QEMU's machine and returns the path of the program.
fn compile(name: &str, archive: &Path, dir: &Path) -> Result<PathBuf> {
    let capi = root().join("crates/rillm-capi");
    let (object, program) = (dir.join(name).with_extension("o"), dir.join(name).with_extension("elf"));
    let start = dir.join("start.c");
    fs::write(&start, START).with_context(|| format!("cannot write {}", start.display()))?;
    let mut cc = compiler();
    cc.args(["-Dmain=example", "-c", "-I"]).arg(capi.join("include"));
    cc.arg(capi.join("examples").join(name).with_extension("c")).arg("-o").arg(&object);
    ensure!(cc.status()?.success(), "{name}.c does not compile for RISC-V");
    let mut cc = compiler();
    for (symbol, value) in [("__flash", CODE.0), ("__flash_size", CODE.1), ("__ram", DATA.0), ("__ram_size", DATA.1)] {
        cc.arg(format!("-Wl,--defsym={symbol}={value:#x}"));
    }
    cc.arg(start).arg(object).arg(archive).arg("-o").arg(&program);
    ensure!(cc.status()?.success(), "{name}.c does not link for RISC-V");
    Ok(program)
}

fn compiler() -> Command {
    let mut cc = Command::new(COMPILER);
    cc.args(LIBRARY).args(OPTIONS);
    cc
}

/// Runs a program in QEMU, with the files of `dir`, and returns what it prints.
fn say(program: &Path, dir: &Path, arguments: &[&str]) -> Result<String> {
    let name = program.file_stem().unwrap_or_default().to_string_lossy();
    // QEMU writes a comma in an option twice.
    let line = [&[&*name], arguments].concat().join("|").replace(',', ",,");
    let mut qemu = Command::new("qemu-system-riscv32");
    qemu.args(["-M", "virt", "-m", "8M", "-bios", "none", "-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-chardev", "stdio,id=console,signal=off", "-semihosting-config"]);
    qemu.arg(format!("enable=on,target=native,chardev=console,arg={line}"));
    qemu.arg("-kernel").arg(program).current_dir(dir);
    let mut said = Vec::new();
    Emulated::start(qemu, TIMEOUT)?.hang_up(|bytes| said.extend(bytes))?;
    Ok(String::from_utf8_lossy(&said).replace('\r', ""))
}
