//! `rillm flash-image`: another model in the image of a board's flash.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use console::style;
use rillm_convert::write::{NewFile, what_else};
use rillm_flash_image::FlashImage;
use rillm_generate::number::Grouped;

use crate::model_file::from_path;
use crate::sections::tensor_table;
use crate::source::{Access, CardPace};
use crate::verify::verify;
use crate::{files, say};

/// Put a model into the image of a board's flash, in place of the image's model
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  # Whether the board has memory for it, and how fast it is
  rillm plan --board esp32-c3 --model my.rillm --source flash
  rillm flash-image my.rillm --image rillm-0.1.0-esp32-c3.bin -o board.bin

`espflash write-bin 0x0 board.bin` writes it to the board. A release has an image for each \
board; `cargo xtask esp image --all` makes them. The rest of the image stays as it is. Models that are too long for the flash go on a card.")]
pub struct Args {
    /// The .rillm file
    #[arg(value_name = "MODEL", value_parser = files::input())]
    model: PathBuf,
    /// The board's image, from address 0 of its flash on
    #[arg(long, value_name = "FILE", value_parser = files::input())]
    image: PathBuf,
    /// The image to write. An existing file is replaced only when the new image is complete
    #[arg(long, short, value_name = "FILE", value_parser = files::output())]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let Args { model: model_path, image: image_path, out } = args;
    if let Some(what) = what_else(out) {
        bail!("{} is {what}; name the image to make, as in -o board.bin", out.display());
    }
    if [model_path, image_path].into_iter().any(|input| files::same(input, out)) || files::starts_as_model(out) {
        bail!("{} would be lost; name another image to make, as in -o board.bin", out.display());
    }
    let (model, mut source) = from_path(model_path, Access::File, CardPace::UNUSED)?;
    let tensors = tensor_table(model.header(), &mut source)?;
    verify(model.header(), &tensors, &mut source).with_context(|| format!("in {}", model_path.display()))?;
    files::check_input(image_path)?;
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (model, image) = (read(model_path)?, read(image_path)?);
    let image = FlashImage::parse(&image).with_context(|| format!("in {}", image_path.display()))?;
    let made = image.with_model(&model).with_context(|| format!("in {}", model_path.display()))?;
    let mut file = NewFile::new(out)?;
    file.file().write_all(&made).with_context(|| format!("cannot write {}", out.display()))?;
    file.keep()?;

    let mut output = say::out();
    let (wrote, path) = (style("wrote").green().bold(), out.display());
    let [len, model, most] = [made.len(), model.len(), image.longest_model()].map(|len| Grouped(len as u64));
    writeln!(output, "{wrote} {path} ({len} bytes), the flash of a board with an {}", image.chip())?;
    writeln!(output, "the model has {model} bytes; this board's flash has room for {most}")?;
    writeln!(output, "onto the board: espflash write-bin 0x0 {path}")?;
    Ok(())
}
