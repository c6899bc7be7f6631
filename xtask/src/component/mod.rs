//! `cargo xtask component`: the C library as a component of ESP-IDF, and as a library of PlatformIO and Arduino.

mod archive;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use console::style;
use rillm_firmware_builder::{root, toolchain, xtensa_toolchain};

use crate::esp::target;

/// The chips, as ESP-IDF names them.
const CHIPS: [&str; 5] = ["esp32", "esp32s3", "esp32c3", "esp32c6", "esp32p4"];

/// The header of the library.
const HEADER: &str = "crates/rillm-capi/include/rillm.h";

/// The options.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask component esp-idf --out ../my-project/components/rillm
  # For one chip only
  cargo xtask component platformio --chip esp32c3

The archives are built here, and their symbols are checked. ESP-IDF and the Arduino core are not needed, and not run: nothing of what is written
was built with them.")]
pub struct Args {
    /// What to write
    kind: Kind,
    /// The directory to write to [default: target/component/esp-idf/rillm or target/component/platformio/rillm]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A chip to build for, several times for several; without it, each one that a compiler is installed for
    #[arg(long = "chip", value_name = "CHIP", value_parser = CHIPS)]
    chips: Vec<String>,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A component of ESP-IDF, with an example
    EspIdf,
    /// A library of PlatformIO and of the Arduino IDE, with an example
    Platformio,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::EspIdf => "esp-idf",
            Self::Platformio => "platformio",
        }
    }

    /// The files, with `@VERSION@` and `@CHIPS@` where these belong.
    fn templates(self) -> PathBuf {
        root().join("xtask/component").join(self.name())
    }

    /// The file that a directory of this kind has.
    fn manifest(self) -> &'static str {
        match self {
            Self::EspIdf => "idf_component.yml",
            Self::Platformio => "library.json",
        }
    }

    /// Where the header lies.
    fn header(self) -> &'static str {
        match self {
            Self::EspIdf => "include/rillm.h",
            Self::Platformio => "src/rillm.h",
        }
    }

    /// Where the archive of a chip lies.
    fn archive(self, chip: &str) -> String {
        match self {
            Self::EspIdf => format!("lib/{chip}/librillm.a"),
            Self::Platformio => format!("src/{chip}/librillm.a"),
        }
    }
}

/// Writes the component.
///
/// # Errors
/// The directory has other files, no compiler is installed, the library does not build, or a symbol of it is missing.
pub fn run(args: &Args) -> Result<ExitCode> {
    let kind = args.kind;
    let out = args.out.clone().unwrap_or_else(|| root().join("target/component").join(kind.name()).join("rillm"));
    check_place(&out, kind)?;
    let archives = archives(&args.chips)?;
    let chips: Vec<&str> = archives.iter().map(|(chip, _)| *chip).collect();
    copy_filled(&kind.templates(), &out, &chips)?;
    write(&out.join(kind.header()), read(&root().join(HEADER))?)?;
    for license in ["LICENSE-MIT", "LICENSE-APACHE"] {
        write(&out.join(license), read(&root().join(license))?)?;
    }
    for (chip, archive) in archives {
        let archive = fs::read(&archive).with_context(|| format!("cannot read {}", archive.display()))?;
        write(&out.join(kind.archive(chip)), archive)?;
    }
    println!("{}", style(format!("{} for {}", out.display(), chips.join(", "))).green().bold());
    let tool = if kind == Kind::EspIdf { "ESP-IDF" } else { "PlatformIO and the Arduino IDE" };
    println!("The archives are built and have all symbols. {tool} did not build the example here.");
    Ok(ExitCode::SUCCESS)
}

/// Checks that the directory is not that of something else.
fn check_place(out: &Path, kind: Kind) -> Result<()> {
    let is_used = out.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !is_used || out.join(kind.manifest()).is_file(),
        "{} has files and no {}, so that it is no rillm component; name another --out",
        out.display(),
        kind.manifest()
    );
    Ok(())
}

/// Builds the library for each of these chips, or for each chip that a compiler is installed for, and checks its symbols.
fn archives(chips: &[String]) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut archives = Vec::new();
    for chip in CHIPS {
        let is_named = chips.iter().any(|name| name == chip);
        if !chips.is_empty() && !is_named {
            continue;
        }
        let target = target(chip);
        let is_xtensa = target.starts_with("xtensa");
        let cargo = if is_xtensa { xtensa_toolchain::cargo(target, "", &[]) } else { toolchain::cargo(target) };
        let mut cargo = match cargo {
            Err(error) if !is_named => {
                eprintln!("{} {chip}: {error:#}", style("skipped").yellow().for_stderr());
                continue;
            }
            cargo => cargo?,
        };
        if is_xtensa {
            cargo.args(["-Zbuild-std=core", "--features", "mac16"]);
        }
        let archive = toolchain::build_c_library(cargo).with_context(|| chip.to_owned())?;
        archive::check(&archive).with_context(|| format!("{chip}: {}", archive.display()))?;
        archives.push((chip, archive));
    }
    if archives.is_empty() {
        bail!(
            "there is no compiler for any chip; `rustup target add riscv32imc-unknown-none-elf` installs that of the ESP32-C3"
        );
    }
    Ok(archives)
}

/// Copies the files of a directory of templates.
fn copy_filled(from: &Path, to: &Path, chips: &[&str]) -> Result<()> {
    for entry in from.read_dir().with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_filled(&from, &to, chips)?;
        } else {
            write(&to, filled(&read(&from)?, chips))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text with the version of this workspace, and the chips.
fn filled(text: &str, chips: &[&str]) -> String {
    text.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@CHIPS@", &chips.join(", "))
}

fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}
