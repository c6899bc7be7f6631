//! `cargo xtask firmware-page`: builds the firmware of `docs/firmware.md`, and that of `docs/choose.md`, from the text of
//! the pages and boots them with the page's command.

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
/// The page with a firmware that chooses. Its other files are those of [`PAGE`].
const CHOOSE_PAGE: &str = "docs/choose.md";
const CHOOSE_FILES: [&str; 2] = ["src/main.rs", "src/pins.rs"];
/// What is typed to that firmware, what it chooses from, and what it says to each choice.
const LINES: [&str; 2] = ["Every night, he looked at the", "He closed his eyes because of the bright"];
const CHOICES: [&str; 2] = [" moon", " sun"];
const SAID: [&str; 2] = ["lamp on", "lamp off"];
/// What it writes to the pins' register of values then, which QEMU traces in a file.
const OUTPUT_VAL: &str = "offset 0xc ";
const TRACE: &str = "pins.log";
const PINS: [&str; 2] = ["value 0x20", "value 0x0"];
const TIMEOUT: Duration = Duration::from_secs(120);

/// Writes the files of each page to a package, builds it, boots it and compares what it says with this computer.
///
/// # Errors
/// A page lacks a file, a compiler or QEMU is missing, the firmware does not build, or it says something else.
pub fn run() -> Result<ExitCode> {
    interrupt::watch()?;
    let dir = root().join("target/firmware-page");
    let page = read(PAGE)?;
    write(PAGE, &FILES, &dir)?;
    fs::copy(bundled_model(), dir.join(MODEL)).context("cannot copy the model")?;
    let boot = boot(&page).with_context(|| format!("{PAGE} has no line that begins with `{BOOT}`"))?;
    let said = say(&boot, &dir, &[])?;
    let expected = command::text(PROMPT, &[])?;
    ensure!(said == expected, "the board says\n{said}\nand this computer\n{expected}");
    println!("{}", style(format!("the firmware of {PAGE} writes this computer's text")).green().bold());

    write(CHOOSE_PAGE, &CHOOSE_FILES, &dir)?;
    let trace = ["-trace", "sifive_gpio_write", "-D", TRACE].map(str::to_owned);
    let said = say(&[boot, trace.to_vec()].concat(), &dir, &LINES)?;
    let mut expected = String::new();
    let mut pins = Vec::new();
    for line in LINES {
        let choice = command::choose(line, &CHOICES)?;
        for option in choice["options"].as_array().into_iter().flatten() {
            let logarithm = option["log_probability"].as_f64().unwrap_or_default();
            expected += &format!("{logarithm:.6}{}, ", option["text"].as_str().unwrap_or_default());
        }
        let index = choice["index"].as_u64().context("no index")? as usize;
        expected += &format!("{}\n", SAID[index]);
        pins.push(PINS[index]);
    }
    // The end of the last line of the firmware.
    expected += "\n";
    ensure!(said == expected, "the board says\n{said}\nand this computer\n{expected}");
    let trace = fs::read_to_string(dir.join(TRACE)).context("QEMU has written no trace")?;
    let written: Vec<&str> = trace.lines().filter(|line| line.contains(OUTPUT_VAL)).collect();
    let is_so = written.len() == pins.len() && written.iter().zip(&pins).all(|(line, pin)| line.ends_with(pin));
    ensure!(is_so, "the pins should get {pins:?}, and get\n{trace}");
    println!("{}", style(format!("the firmware of {CHOOSE_PAGE} chooses what this computer chooses")).green().bold());
    Ok(ExitCode::SUCCESS)
}

fn read(page: &str) -> Result<String> {
    let path = root().join(page);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Builds the package in `dir`, boots it, types lines and returns what the board says.
fn say(boot: &[String], dir: &Path, lines: &[&str]) -> Result<String> {
    let mut cargo = toolchain::cargo(TARGET)?;
    // The page's command expects the default target directory.
    cargo.env_remove("CARGO_TARGET_DIR");
    toolchain::build(cargo, dir)?;
    let (program, words) = boot.split_first().context("the line is empty")?;
    let mut qemu = Command::new(program);
    qemu.args(words).current_dir(dir);
    let mut board = Emulated::start(qemu, TIMEOUT)?;
    for line in lines {
        board.send(line)?;
    }
    let mut said = Vec::new();
    board.hang_up(|bytes| said.extend(bytes))?;
    Ok(String::from_utf8_lossy(&said).replace('\r', ""))
}

/// Writes the files of a page to `dir`.
fn write(page: &str, files: &[&str], dir: &Path) -> Result<()> {
    let text = read(page)?;
    fs::create_dir_all(dir.join("src")).with_context(|| format!("cannot make {}", dir.display()))?;
    for &name in files {
        let mut text = block(&text, name).with_context(|| format!("{page} has no {name}"))?.to_owned();
        if name == "Cargo.toml" {
            text += &here();
        }
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
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
    fn the_pages_have_all_files_and_a_line_that_boots() {
        let page = read(PAGE).expect("the page");
        let choose = read(CHOOSE_PAGE).expect("the page");
        let files = FILES.map(|name| (&page, name)).into_iter().chain(CHOOSE_FILES.map(|name| (&choose, name)));
        for (page, name) in files {
            assert!(block(page, name).is_some_and(|code| !code.is_empty()), "{name}");
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
