//! The files on the command line: which kinds of file a command accepts, and which files it must not overwrite.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::builder::{PathBufValueParser, TypedValueParser};
use rillm_convert::write::what_else;

/// File name extensions of checkpoints.
const CHECKPOINT: [&str; 7] = ["json", "safetensors", "gguf", "bin", "model", "jinja", "txt"];

/// Parses the path of an input file. Pipes are rejected: models and cards need random access.
pub fn input() -> impl TypedValueParser<Value = PathBuf> {
    named(
        "standard input cannot be used here, because the file is read at random positions; save it to a file and name that",
    )
}

/// Parses the path of an output file. Pipes are rejected: the complete file is renamed to its place at the end.
pub fn output() -> impl TypedValueParser<Value = PathBuf> {
    named("standard output cannot be used here, because the file is replaced as a whole; name the file to write")
}

fn named(refusal: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| if is_dash(&path) { Err(refusal) } else { Ok(path) })
}

/// Whether a path is `-`, standard input or output.
pub fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Rejects a path that exists and is not a file, and the name of a model on Hugging Face in place of its files.
pub fn check_input(path: &Path) -> Result<()> {
    if let Some(what) = what_else(path) {
        bail!("{} is {what}, and a file is needed; save what it has in a file", path.display());
    }
    if let Some(hint) = download(path) {
        bail!("there is no file or directory {}; {hint}", path.display());
    }
    Ok(())
}

/// The command that downloads the model, if `path` does not exist and has the form `owner/name` of Hugging Face.
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

/// Whether `path` looks like a checkpoint or like a file of one.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_dir() || ends_in(path, &CHECKPOINT)
}

/// The checkpoint that `file` belongs to: the file itself, or its directory.
pub fn checkpoint_of(file: &Path) -> &Path {
    if ends_in(file, &["gguf", "bin"]) { file } else { directory(file) }
}

/// Whether `path` has the extension of a model file.
pub fn is_model(path: &Path) -> bool {
    ends_in(path, &["rillm"])
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| endings.contains(&&*ending))
}

/// Whether a file starts with the signature of a model.
pub fn starts_as_model(path: &Path) -> bool {
    let mut start = [0; 5];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"RILLM"
}

/// Whether two paths lead to the same file or directory, links resolved.
pub fn same(a: &Path, b: &Path) -> bool {
    let can_be_opened = |path: &Path| path.is_file() || path.is_dir();
    can_be_opened(a) && can_be_opened(b) && same_file::is_same_file(a, b).unwrap_or(false)
}

/// Rejects an output that is a file of the checkpoint or of the tokenizer, or that a loader would take for one.
///
/// Which files of a directory a loader reads depends on their contents. So in a checkpoint's directory every file
/// counts except models. Beside a checkpoint of one file, only files with a checkpoint's extension count.
pub fn check_output(out: &Path, checkpoint: &Path, tokenizer: &Path) -> Result<()> {
    check_ending(out, checkpoint, tokenizer, "rillm")
}

/// Rejects a plot that would replace an input of the evaluation or a file of the checkpoint, or be taken for one.
pub fn check_plot<'a>(out: &Path, checkpoint: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    for input in inputs {
        ensure!(
            !(out.is_file() && same(out, input)),
            "{} is read here, and would be lost; name another file to make",
            out.display()
        );
    }
    check_ending(out, checkpoint, checkpoint, "svg")
}

fn check_ending(out: &Path, checkpoint: &Path, tokenizer: &Path, ending: &str) -> Result<()> {
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
            "{} would be taken for a file of the checkpoint in {}; give it a name that ends in .{ending}",
            out.display(),
            place.display()
        );
    }
    Ok(())
}

/// The directory of a file.
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
