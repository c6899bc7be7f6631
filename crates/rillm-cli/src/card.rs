//! `rillm card`: make an image of a card, or check a card.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use console::style;
use indicatif::BinaryBytes;
use rillm_card_image::{Content, Layout, write};
use rillm_convert::write::{NewFile, what_else};
use serde_json::json;

use crate::card_check::{self, Checked};
use crate::model_file::{BUNDLED, bundled, from_path};
use crate::sections::tensor_table;
use crate::source::{Access, CardPace};
use crate::verify::verify;
use crate::{files, interrupt, number, progress, say};

/// Make an image of an SD card with models on it, or check a card
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  rillm card -o card.img
  rillm card tiny-llm.rillm -o card.img --size 128M
  # Check a card as a device reads it, then a mounted one
  rillm card --check /dev/sdX
  rillm card --check /media/me/RILLM

Raspberry Pi Imager (\"Use custom\"), balenaEtcher or dd write an image to a card; \
everything on the card is lost. To a card with a FAT32 file system, copy the \
.rillm file instead.")]
pub struct Args {
    /// The .rillm files; a device opens the first one by itself. Without one: the bundled model
    #[arg(value_name = "MODEL", value_parser = files::input())]
    models: Vec<PathBuf>,
    /// The image to write. An existing file is replaced only when the new image is complete
    #[arg(long, short, value_name = "FILE", required_unless_present = "check", value_parser = files::output())]
    out: Option<PathBuf>,
    /// Size of the image, 37M to 1024G, and at most the capacity of the card. Without it: the smallest power of two
    /// from 64M on that holds the models. QEMU requires a power of two
    #[arg(long, value_name = "BYTES", value_parser = number::image_bytes)]
    size: Option<usize>,
    /// Volume label, up to 11 of A to Z, 0 to 9, - and _
    #[arg(long, value_name = "NAME", default_value = "RILLM", value_parser = label)]
    label: String,
    /// Check a card instead: its device, its image, or the directory where it is mounted
    #[arg(long, value_name = "PATH", value_parser = files::input(), conflicts_with_all = ["models", "out", "size", "label"])]
    check: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

fn label(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=11).contains(&text.len()) && text.chars().all(known) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err("it must be 1 to 11 of A to Z, 0 to 9, - and _".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    match (&args.check, &args.out) {
        (Some(path), _) => check(args, path).map(|()| ExitCode::SUCCESS),
        (None, Some(out)) => make(args, out),
        (None, None) => bail!("name the image to make with -o, as in -o card.img"),
    }
}

/// Writes the image.
fn make(args: &Args, out: &Path) -> Result<ExitCode> {
    if out.is_dir() {
        let image = out.join("card.img");
        bail!("{} is a directory; name the image to make, as in {}", out.display(), image.display());
    }
    if let Some(what) = what_else(out) {
        bail!("{} is {what}; make an image, as in -o card.img, and write that there", out.display());
    }
    if args.models.iter().any(|model| files::same(model, out)) {
        bail!("{} is one of the models; name another image, as in -o card.img", out.display());
    }
    if files::starts_as_model(out) {
        bail!("{} is a model, which would be lost; name another image, as in -o card.img", out.display());
    }
    let mut contents = contents(&args.models)?;
    let layout = Layout::new(args.size.map(|size| size as u64), &contents)?;
    // Ctrl-C stops after the current block of bytes, so that the incomplete image is removed.
    interrupt::watch()?;
    let mut image = NewFile::new(out)?;
    let bar = progress::bytes(contents.iter().map(|content| u64::from(content.len)).sum());
    let written = write(image.file(), &layout, &mut contents, &args.label, |name, bytes| {
        bar.set_message(name.to_owned());
        bar.inc(bytes);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(bar);
    let cannot_write = || format!("cannot write {}", out.display());
    if written.with_context(cannot_write)?.is_break() {
        say::note("interrupted; nothing was written");
        return Ok(ExitCode::from(interrupt::exit_code()));
    }
    // Reads the image back as a device does.
    let (files, _) = card_check::card(image.file())?;
    let expected = contents.iter().map(|content| (&content.name, Some(1), None));
    let found = files.iter().map(|file| (&file.name, file.fragments, file.problem.as_ref()));
    ensure!(found.eq(expected), "the image is not as it should be, and was not kept: {}", json!(files));
    image.keep()?;

    let mut output = say::out();
    if args.json {
        let value = json!({
            "image": out, "image_bytes": layout.size, "label": args.label, "cluster_bytes": layout.cluster_len,
            "files": files,
        });
        writeln!(output, "{value}")?;
    } else {
        card_check::print(&files, &mut output)?;
        let (path, size) = (out.display(), BinaryBytes(layout.size));
        writeln!(output, "{} {path} ({size}), a card's image", style("wrote").green().bold())?;
        writeln!(
            output,
            "onto a card: Raspberry Pi Imager or balenaEtcher, or sudo dd if={path} of=/dev/sdX bs=4M conv=fsync"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files to put on the card. Each one is a complete model.
fn contents(models: &[PathBuf]) -> Result<Vec<Content>> {
    if models.is_empty() {
        let (model, mut source) = bundled(Access::File, CardPace::UNUSED)?;
        let tensors = tensor_table(model.header(), &mut source)?;
        verify(model.header(), &tensors, &mut source).context("in the bundled model")?;
        let len = BUNDLED.len() as u32;
        return Ok(vec![Content { name: "rill-tales-1m.rillm".to_owned(), len, bytes: Box::new(BUNDLED) }]);
    }
    let mut contents: Vec<Content> = Vec::new();
    for path in models {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !card_check::is_model(name) {
            let path = path.display();
            bail!("{path} must have a name that ends in .rillm, by which a device finds it; rename it");
        }
        if contents.iter().any(|content| content.name.to_uppercase() == name.to_uppercase()) {
            bail!("two of the models are called {name}; rename one");
        }
        let (model, mut source) = from_path(path, Access::File, CardPace::UNUSED)?;
        let tensors = tensor_table(model.header(), &mut source)?;
        verify(model.header(), &tensors, &mut source).with_context(|| format!("in {}", path.display()))?;
        let len = u32::try_from(source.len()).ok();
        let len = len.with_context(|| {
            let size = BinaryBytes(source.len());
            format!("{} has {size} and a file on FAT32 has less than 4 GiB; no card holds it", path.display())
        })?;
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        // The length at the time of planning, even if the file has grown since.
        contents.push(Content { name: name.to_owned(), len, bytes: Box::new(file.take(len.into())) });
    }
    Ok(contents)
}

/// Checks a card.
fn check(args: &Args, path: &Path) -> Result<()> {
    let is_directory = path.is_dir();
    let checked = if is_directory {
        card_check::directory(path).map(|files| (files, None))
    } else {
        let card = open_card(path).and_then(|file| card_check::card(&file));
        card.map(|(files, searched)| (files, Some(searched)))
    };
    let (files, searched) = checked.with_context(|| format!("in {}", path.display()))?;
    let mut output = say::out();
    if args.json {
        let searched = searched.map(|searched| searched.to_string());
        writeln!(output, "{}", json!({ "checked": path, "searched": searched, "files": files }))?;
    } else {
        card_check::print(&files, &mut output)?;
        if let Some(searched) = searched {
            writeln!(output, "{}", style(format!("looked at: {searched}")).dim())?;
        }
        if is_directory {
            let hint = "on a mounted card the number of fragments is unknown; the device itself tells: rillm card --check /dev/sdX";
            writeln!(output, "{}", style(hint).dim())?;
        }
    }
    drop(output);
    let problems: Vec<_> = files.iter().filter_map(Checked::complaint).collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// Opens a block device or an image.
fn open_card(path: &Path) -> Result<File> {
    // Checked before opening: opening a pipe waits for a writer.
    if let Some(what @ ("a pipe" | "a socket")) = what_else(path) {
        bail!("it is {what} and no card; name a device, an image or a directory");
    }
    File::open(path).map_err(|error| {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let hint = if denied { "a device is its owner's to read: try sudo" } else { "is the card in the reader?" };
        anyhow::Error::new(error).context(format!("cannot open it ({hint})"))
    })
}
