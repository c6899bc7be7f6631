//! Choosing and opening a model.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rillm::{Model, WeightSource, block_on};

use crate::files;
use crate::number;
use crate::source::{Access, CardPace, ModelSource};

/// The model that is part of the program: `models/rill-tales-1m/model.rillm` of the repository.
pub static BUNDLED: &[u8] = include_bytes!("../model.rillm");

// Git for Windows makes a text file of a symbolic link, unless it is told otherwise.
const _: () = assert!(
    BUNDLED.len() > 4096,
    "model.rillm is no symbolic link: set git config core.symlinks true, check out again"
);

/// Heading of rarely used options; clap lists them last.
const READING: &str = "Reading the model";

/// The options that select a model and how to read it.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// A .rillm file; the bundled model if absent
    #[arg(long, short, value_name = "FILE", value_parser = files::input())]
    pub model: Option<PathBuf>,
    /// How the weights are read; without it `mmap`, or `file` with --chunk
    #[arg(long, value_enum, help_heading = READING)]
    pub source: Option<Access>,
    /// Bytes a second of the throttled source (M is 1,048,576). About 9M for an ESP32's SDMMC host in 4-bit mode, 1.6M
    /// for a card over SPI
    #[arg(long, value_name = "BYTES", default_value = "9M", help_heading = READING, value_parser = number::bytes)]
    pub card_rate: usize,
    /// Latency of each read of the throttled source, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 600, help_heading = READING, value_parser = clap::value_parser!(u64).range(..=10_000_000))]
    pub card_latency: u64,
}

impl ModelArgs {
    /// Opens the model, by `--source` or else by `default`.
    pub fn open(&self, default: Access) -> Result<(Model, ModelSource)> {
        let card = CardPace { bytes_per_second: self.card_rate, latency: Duration::from_micros(self.card_latency) };
        let access = self.source.unwrap_or(default);
        match &self.model {
            None => bundled(access, card),
            Some(path) => from_path(path, access, card),
        }
    }
}

/// Opens the bundled model.
pub fn bundled(access: Access, card: CardPace) -> Result<(Model, ModelSource)> {
    let source = ModelSource::embedded(BUNDLED, access, card);
    let len = source.len();
    open(source, len).context("in the bundled model")
}

/// Opens the file at `path`.
pub fn from_path(path: &Path, access: Access, card: CardPace) -> Result<(Model, ModelSource)> {
    if path.is_dir() {
        let path = path.display();
        bail!("{path} is a directory; make a model file of it with `rillm convert {path} model.rillm`");
    }
    files::check_input(path)?;
    if path.is_file() && files::is_checkpoint(path) && !files::starts_as_model(path) {
        let (path, checkpoint) = (path.display(), files::checkpoint_of(path).display());
        bail!("{path} is no model file; make one of the checkpoint with `rillm convert {checkpoint} model.rillm`");
    }
    let source = ModelSource::open(path, access, card)?;
    let len = source.len();
    open(source, len).with_context(|| format!("in {}", path.display()))
}

/// Opens a model whose file has `len` bytes.
pub fn open<S>(mut source: S, len: u64) -> Result<(Model, S)>
where
    S: WeightSource<Error: std::error::Error + Send + Sync + 'static>,
{
    let model = block_on(Model::open(&mut source))?;
    let expected = model.header().file_len();
    if len < expected {
        bail!("the file has {len} bytes and should have {expected}: it was not copied whole; copy it again");
    }
    Ok((model, source))
}
