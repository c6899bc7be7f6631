//! `cargo xtask web`: the page of `web/`, as a folder that any server of files can serve.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use console::style;
use rillm_firmware_builder::root;

/// What the page consists of: WebAssembly of `crates/rillm-web`, TypeScript, and the bundled model.
const ENGINE: &str = "wasm32-unknown-unknown";
const CONVERTER: &str = "wasm32-wasip1";

/// Build the page that runs models, converts checkpoints and flashes boards
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask web
  cargo xtask web --serve
  # In Debian's Chromium
  cargo xtask web --test

The page is made in target/web. It needs Node.js 18 or later with npm, and two targets of rustup, wasm32-unknown-unknown and
wasm32-wasip1. What `cargo xtask esp image --all` has made before becomes part of the page.")]
pub struct Args {
    /// Serve the page on this computer until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Test the page in a browser: Chromium, or the program that the environment variable CHROMIUM names
    #[arg(long, conflicts_with = "serve")]
    test: bool,
}

/// Runs the task.
///
/// # Errors
/// A tool is missing or fails.
pub fn run(args: &Args) -> Result<ExitCode> {
    look()?;
    let parts = root().join("target/web-parts");
    fs::create_dir_all(&parts).with_context(|| format!("cannot make {}", parts.display()))?;
    engine(&parts)?;
    converter(&parts)?;
    let model = root().join("models/rill-tales-1m/model.rillm");
    fs::copy(&model, parts.join("rill-tales-1m.rillm")).with_context(|| format!("cannot copy {}", model.display()))?;
    install()?;
    finish(&mut npm(&["run", "--silent", "build"]), "the page does not build")?;
    images()?;
    if args.test {
        let mut cargo = cargo(&["build", "--release", "--package", "rillm-cli"]);
        finish(&mut cargo, "the command does not build")?;
        let command = target_dir().join("release").join(format!("rillm{}", env::consts::EXE_SUFFIX));
        finish(npm(&["test", "--silent"]).env("RILLM", command), "a test of the page fails")?;
    } else if args.serve {
        finish(&mut npm(&["run", "--silent", "serve"]), "the server ends with an error")?;
    } else {
        eprintln!("{}", style("`cargo xtask web --serve` shows it").dim().for_stderr());
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that what builds the page is installed.
fn look() -> Result<()> {
    let output = |program, arguments: &[&str]| Command::new(program).args(arguments).stderr(Stdio::null()).output();
    let node = output("node", &["--version"]).ok().filter(|output| output.status.success());
    let version = node.map(|node| String::from_utf8_lossy(&node.stdout).trim().to_owned());
    let major = version.as_ref().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|major| major < 18) {
        let found = version.map_or("Node.js is not installed".to_owned(), |version| format!("Node.js is {version}"));
        bail!(
            "{found}, and the page needs 18 or later; install nodejs and npm (`apt install nodejs npm`, or nodejs.org)"
        );
    }
    if output(NPM, &["--version"]).is_err() {
        bail!("npm is not installed; `apt install npm` does that, or nodejs.org's package");
    }
    // Without rustup, cargo itself says what is missing.
    if let Ok(targets) = output("rustup", &["target", "list", "--installed"]) {
        let targets = String::from_utf8_lossy(&targets.stdout).into_owned();
        let missing: Vec<_> =
            [ENGINE, CONVERTER].into_iter().filter(|target| !targets.lines().any(|line| line == *target)).collect();
        if !missing.is_empty() {
            bail!("a target of the compiler is missing; `rustup target add {}` installs it", missing.join(" "));
        }
    }
    Ok(())
}

/// Windows finds no scripts by their names.
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

fn npm(arguments: &[&str]) -> Command {
    let mut npm = Command::new(NPM);
    npm.args(arguments).current_dir(root().join("web"));
    // Tests run in the system's Chromium.
    npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    npm
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// Runs a command to its end.
fn finish(command: &mut Command, failure: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { bail!("{failure}") }
}

/// Compiles the engine, with vector instructions, and makes JavaScript for it.
fn engine(parts: &Path) -> Result<()> {
    let mut cargo = build(ENGINE, &["--lib"]);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C target-feature=+simd128");
    finish(&mut cargo, "the engine does not build for the page")?;
    let bindgen = root().join("web/bindgen/Cargo.toml");
    let mut bindgen_cargo = self::cargo(&["run", "--quiet", "--locked", "--manifest-path"]);
    // Its own folder: flags and profile are not the workspace's.
    bindgen_cargo.arg(bindgen).arg("--target-dir").arg(root().join("target/web-bindgen")).arg("--");
    bindgen_cargo.arg(output(ENGINE, "rillm_web.wasm")).arg(parts.join("engine"));
    finish(&mut bindgen_cargo, "wasm-bindgen makes no JavaScript for the engine")
}

/// Compiles the converter.
fn converter(parts: &Path) -> Result<()> {
    let mut cargo = build(CONVERTER, &["--bin", "rillm-web-convert"]);
    cargo.env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", "-C target-feature=+simd128");
    finish(&mut cargo, "the converter does not build for the page")?;
    let wasm = output(CONVERTER, "rillm-web-convert.wasm");
    let bytes = fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let bytes = without_names(&bytes).with_context(|| format!("{} is damaged", wasm.display()))?;
    fs::write(parts.join("convert.wasm"), bytes).context("cannot write the converter")
}

/// A WebAssembly module without its custom sections, which hold the names of functions and are a fifth of it.
fn without_names(module: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    let (mut out, mut rest) = (module.get(..HEADER)?.to_vec(), module.get(HEADER..)?);
    while let Some(&id) = rest.first() {
        // The length of a section is in LEB128.
        let digits = rest[1..].iter().position(|byte| byte & 0x80 == 0)? + 1;
        let len = rest[1..=digits].iter().rev().fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
        let (section, after) = rest.split_at_checked(1 + digits + len)?;
        if id != CUSTOM {
            out.extend(section);
        }
        rest = after;
    }
    Some(out)
}

fn build(target: &str, what: &[&str]) -> Command {
    let mut cargo = cargo(&["build", "--release", "--package", "rillm-web", "--target", target]);
    cargo.args(what);
    cargo
}

fn output(target: &str, file: &str) -> PathBuf {
    target_dir().join(target).join("release").join(file)
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Installs the packages of `web/package-lock.json`, unless they are there.
fn install() -> Result<()> {
    let (lock, installed) = (root().join("web/package-lock.json"), root().join("web/node_modules/.package-lock.json"));
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if time(&installed).is_some_and(|installed| time(&lock).is_some_and(|lock| lock <= installed)) {
        return Ok(());
    }
    finish(
        &mut npm(&["ci", "--no-audit", "--no-fund", "--silent"]),
        "npm does not install the packages of web/package-lock.json",
    )
}

/// Copies the boards' images into the page, if there are any.
fn images() -> Result<()> {
    let (from, to) = (root().join("target/esp/images"), root().join("target/web/images"));
    if !from.join("manifest.json").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("cannot copy {}", entry.path().display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_sections_are_left_out() {
        let header = *b"\0asm\x01\0\0\0";
        let (types, name) = ([1, 4, 1, 0x60, 0, 0], [0, 0x83, 0x00, 1, b'n', 0]);
        let module = [&header[..], &name, &types, &name].concat();
        assert_eq!(without_names(&module), Some([&header[..], &types].concat()));
        assert_eq!(without_names(&header), Some(header.to_vec()));
        assert_eq!(without_names(&module[..module.len() - 1]), None);
        assert_eq!(without_names(b"\0asm"), None);
    }
}
