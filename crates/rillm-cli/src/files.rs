//! The files that are named on the command line: which of them a command takes, and what else it finds in their places.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::builder::{PathBufValueParser, TypedValueParser};
use rillm_convert::write::what_else;

/// Endings of the files that checkpoints consist of.
const CHECKPOINT: [&str; 7] = ["json", "safetensors", "gguf", "bin", "model", "jinja", "txt"];

/// A file to read. It is none that comes through a pipe: models and cards are read at any place.
pub fn input() -> impl TypedValueParser<Value = PathBuf> {
    named("standard input is not read here, as the file is read at any place; save it and name the file")
}

/// A file to make. It is none that goes through a pipe: it takes its place as a whole, once it is complete.
pub fn output() -> impl TypedValueParser<Value = PathBuf> {
    named("standard output is not written here, as the file is complete or untouched; name the file to make")
}

fn named(refusal: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| if is_dash(&path) { Err(refusal) } else { Ok(path) })
}

/// Whether a path stands for standard input or output.
pub fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses what is there and is no file, and a model's name in place of its files.
pub fn check_input(path: &Path) -> Result<()> {
    if let Some(what) = what_else(path) {
        bail!("{} is {what}, and a file is needed; save what it has in a file", path.display());
    }
    if let Some(hint) = download(path) {
        bail!("there is no file or directory {}; {hint}", path.display());
    }
    Ok(())
}

/// How a model is fetched that is named as on Hugging Face, `owner/name`, and is not here.
pub fn download(path: &Path) -> Option<String> {
    let id = path.to_str()?;
    let (owner, name) = id.split_once('/')?;
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_file = ends_in(path, &CHECKPOINT) || ends_in(path, &["rillm"]);
    if is_file || !is_name(owner) || !is_name(name) || path.exists() || Path::new(owner).exists() {
        return None;
    }
    Some(format!(
        "a model of that name on Hugging Face is fetched with `hf download {id} --local-dir {name}`, and made a model file \
         with `rillm convert {name} {}.rillm`",
        name.to_lowercase()
    ))
}

/// Whether a path is likely to be that of a checkpoint, or of files of one.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_dir() || ends_in(path, &CHECKPOINT)
}

/// The checkpoint that a file belongs to: itself, or the directory that it is in.
pub fn checkpoint_of(file: &Path) -> &Path {
    if ends_in(file, &["gguf", "bin"]) { file } else { directory(file) }
}

/// Whether a path is that of a model file, by its ending.
pub fn is_model(path: &Path) -> bool {
    ends_in(path, &["rillm"])
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| endings.contains(&&*ending))
}

/// Whether a file starts as a model does.
pub fn starts_as_model(path: &Path) -> bool {
    let mut start = [0; 5];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"RILLM"
}

/// Whether two paths lead to one file or directory, whatever it is called: through links, and by other names.
pub fn same(a: &Path, b: &Path) -> bool {
    let can_be_opened = |path: &Path| path.is_file() || path.is_dir();
    can_be_opened(a) && can_be_opened(b) && same_file::is_same_file(a, b).unwrap_or(false)
}

/// Refuses an output that is a file of the checkpoint, or of the tokenizer, or that would be taken for one.
///
/// Which files of a directory are read depends on what is in them. So all those of a checkpoint's directory count but
/// models; beside a checkpoint that is one file, those that are called as files of checkpoints are.
pub fn check_output(out: &Path, checkpoint: &Path, tokenizer: &Path) -> Result<()> {
    ensure!(
        !(out.is_file() && same(out, checkpoint)),
        "{} is the checkpoint itself, which would be lost; name another file to make",
        out.display()
    );
    for source in [checkpoint, tokenizer] {
        let is_dir = source.is_dir();
        let place = if is_dir { source } else { directory(source) };
        let mut files = fs::read_dir(place).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let is_read =
            |file: &Path| ends_in(file, &CHECKPOINT) || same(file, source) || is_dir && !starts_as_model(file);
        if let Some(file) = files.find(|file| out.is_file() && same(out, file) && is_read(file)) {
            let name = if file == out { "a file".to_owned() } else { file.display().to_string() };
            bail!("{} is {name} of the checkpoint, which would be lost; name another file to make", out.display());
        }
        ensure!(
            out.exists() || !ends_in(out, &CHECKPOINT) || !same(directory(out), place),
            "{} would be taken for a file of the checkpoint in {}; give it a name that ends in .rillm",
            out.display(),
            place.display()
        );
    }
    Ok(())
}

/// The directory that a file is in.
fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_hugging_face() {
        for id in ["arnir0/Tiny-LLM", "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen2.5-0.5B"] {
            let hint = download(Path::new(id)).expect(id);
            assert!(hint.contains(&format!("`hf download {id} --local-dir ")), "{hint}");
        }
        for other in ["Tiny-LLM", "/a/b", "./a", "../a", "a/b/c", "a/model.rillm", "a/b.GGUF", "src/nowhere", "a/", "/"]
        {
            assert_eq!(download(Path::new(other)), None, "{other}");
        }
    }
}
