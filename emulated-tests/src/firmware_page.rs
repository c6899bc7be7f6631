//! `cargo xtask firmware-page`: builds the firmware of `docs/firmware.md` from the text of the page and boots it with
//! the page's command.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use console::style;
use rillm_firmware_builder::{root, toolchain};

use crate::emulator::Emulated;
use crate::{bundled_model, command, interrupt};

const PAGE: &str = "docs/firmware.md";
const TARGET: &str = "riscv32imac-unknown-none-elf";
/// The files of the firmware. The page has each one after a comment with its name.
const FILES: [&str; 5] = ["Cargo.toml", "build.rs", "memory.x", "src/main.rs", "src/board.rs"];
/// The file from which the page's firmware reads the model.
const MODEL: &str = "model.rillm";
/// Start of the page's command that boots the firmware.
const BOOT: &str = "qemu-system-riscv32 ";
const PROMPT: &str = "Once upon a time";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Writes the files of the page to a package, builds it, boots it and compares its text with that of this computer.
///
/// # Errors
/// The page lacks a file, a compiler or QEMU is missing, the firmware does not build, or its text differs.
pub fn run() -> Result<ExitCode> {
    interrupt::watch()?;
    let page = root().join(PAGE);
    let page = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let dir = root().join("target/firmware-page");
    write(&page, &dir)?;

    let mut cargo = toolchain::cargo(TARGET)?;
    // The page's command expects the default target directory.
    cargo.env_remove("CARGO_TARGET_DIR");
    toolchain::build(cargo, &dir)?;
    let boot = boot(&page).with_context(|| format!("{PAGE} has no line that begins with `{BOOT}`"))?;
    let mut words = boot.iter();
    let mut qemu = Command::new(words.next().context("the line is empty")?);
    qemu.args(words).current_dir(&dir);
    let mut said = Vec::new();
    Emulated::start(qemu, TIMEOUT)?.hang_up(|bytes| said.extend(bytes))?;

    let said = String::from_utf8_lossy(&said).replace('\r', "");
    let expected = command::text(PROMPT)?;
    ensure!(said == expected, "the board says\n{said}\nand this computer\n{expected}");
    println!("{}", style(format!("the firmware of {PAGE} writes this computer's text")).green().bold());
    Ok(ExitCode::SUCCESS)
}

/// Writes the page's files and the bundled model to `dir`.
fn write(page: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("src")).with_context(|| format!("cannot make {}", dir.display()))?;
    for name in FILES {
        let mut text = block(page, name).with_context(|| format!("{PAGE} has no {name}"))?.to_owned();
        if name == "Cargo.toml" {
            text += &here();
        }
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::copy(bundled_model(), dir.join(MODEL)).context("cannot copy the model")?;
    Ok(())
}

/// Additions to the page's manifest: this checkout in place of the published crate, and a workspace of its own.
fn here() -> String {
    format!("\n[patch.crates-io]\nrillm = {{ path = {:?} }}\n\n[workspace]\n", root().join("crates/rillm"))
}

/// The code block after the comment `<!-- name -->`.
fn block<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n```"))?;
    let (_, code) = rest.split_once('\n')?;
    code.find("```\n").map(|end| &code[..end])
}

/// The words of the command that boots the firmware. A backslash continues its line.
fn boot(page: &str) -> Option<Vec<String>> {
    let page = page.replace("\\\n", " ");
    let line = page.lines().find(|line| line.starts_with(BOOT))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_all_files_and_a_line_that_boots() {
        let page = fs::read_to_string(root().join(PAGE)).expect("the page");
        for name in FILES {
            assert!(block(&page, name).is_some_and(|code| !code.is_empty()), "{name}");
        }
        let boot = boot(&page).expect("a line");
        assert!(boot.iter().any(|word| word.contains(MODEL)) && boot.contains(&"-kernel".to_owned()), "{boot:?}");
    }

    #[test]
    fn a_block_is_what_lies_between_its_fences() {
        let page = "text\n\n<!-- a.rs -->\n```rust\nfn a() {}\n```\n\n<!-- b.x -->\n```\nb\n```\n";
        assert_eq!(
            (block(page, "a.rs"), block(page, "b.x"), block(page, "c")),
            (Some("fn a() {}\n"), Some("b\n"), None)
        );
        let command = boot("$\nqemu-system-riscv32 -M x \\\n  -kernel y\nend\n").expect("a line");
        assert_eq!(command, ["qemu-system-riscv32", "-M", "x", "-kernel", "y"]);
    }
}
